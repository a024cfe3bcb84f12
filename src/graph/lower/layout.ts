/** Conversions between layouts, inserted where a reader wants another than the writer gave. */
import { packPanelsCalls, unpackPanelsCalls } from '../../kernel/layout.ts';
import type { Lanes, Layout } from '../place.ts';
import type { Lowered } from './types.ts';

/** Plain to panels (from = 0) or panels to plain (to = 0). */
export function convert(name: string, from: Layout, to: Layout): Lowered {
  const calls = to ? packPanelsCalls : unpackPanelsCalls;
  return {
    kernel: to ? 'f32_pack_panels' : 'f32_unpack_panels',
    reads: [{ name, layout: from }],
    writes: [{ name, layout: to }],
    emit: ([x], [y]) =>
      Array.from({ length: x.images }, (_, n) =>
        calls({
          x: x.at + n * x.imageStride,
          y: y.at + n * y.imageStride,
          channels: x.channels,
          pixels: x.pixels,
          lanes: (to || from) as Lanes,
          panelStride: to ? y.panelStride : x.panelStride,
        }),
      ).flat(),
  };
}
