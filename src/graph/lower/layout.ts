/** What is inserted where a reader wants a value in another layout than the writer gave, or in memory. */
import { packPanelsCalls, unpackPanelsCalls } from '../../kernel/layout.ts';
import type { Tensor } from '../../tensor.ts';
import type { Lanes, Layout } from '../place.ts';
import type { LowerContext, Lowered } from './types.ts';

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

/** A value known before the run, copied in each time: the workspace is used again and again. */
export const fixed = (name: string, { type, data }: Tensor, ctx: LowerContext): Lowered => ({
  kernel: 'copy',
  reads: [],
  writes: [{ name, layout: 0 }],
  emit:
    (_, [y]) =>
    () => {
      (ctx.view(type, y.at, data.length).set as (from: ArrayLike<number | bigint>) => void)(data);
    },
});
