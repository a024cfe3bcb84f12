/** Calls of sparse k×k convolutions over padded rows. */
import type { RowConv, RowLayout } from '../pack/rowconv.ts';
import type { PackedSpmm } from '../pack/spmm.ts';
import type { KernelCall } from './call.ts';

/**
 * One image: the input into rows, then for each block of channels one product an output row.
 * @param at address of the packed weights
 * @param io x and y: plain CHW; scratch: layout.bytes, 64-byte aligned. Addresses in bytes
 */
export function rowConvCalls(
  p: PackedSpmm,
  at: number,
  c: RowConv,
  layout: RowLayout,
  io: { x: number; y: number; scratch: number; min: number; max: number },
): KernelCall[] {
  const calls: KernelCall[] = [];
  const taps = c.kernel[0] * c.kernel[1];
  const yStep = 4 * c.outWidth;
  const yChannelStride = yStep * c.outHeight;
  for (let b = 0; b < layout.blocks; b++) {
    const first = b * layout.block;
    const rows = io.scratch + b * layout.blockStride;
    calls.push({
      kernel: 'f32_plain_rows',
      args: [
        ...[io.x + 4 * first * c.height * c.width, rows, layout.rowStride],
        ...[Math.min(layout.block, c.channels - first), c.height, c.width],
        ...[layout.rows, layout.phases, layout.columns, c.pad[0], c.pad[1]],
      ],
    });
    const segments = p.segments.filter((s) => s.input === first * taps);
    for (let r = 0; r < c.outHeight; r++) {
      const x = rows + r * c.stride[0] * layout.rowStride;
      for (const s of segments) {
        calls.push({
          kernel: s.kernel,
          args: [
            ...[
              x,
              64,
              io.y + r * yStep + s.row * yChannelStride,
              64,
              yChannelStride,
              c.outWidth,
              at + s.from,
              at + s.to,
            ],
            ...[s.clamp ? io.min : -Infinity, s.clamp ? io.max : Infinity, Number(b > 0)],
          ],
        });
      }
    }
  }
  return calls;
}
