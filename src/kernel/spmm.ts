/** Turns packed weights and addresses into kernel calls. */
import type { PackedSpmm } from '../pack/spmm.ts';
import type { KernelCall } from './call.ts';

/** Where X and Y are; strides in bytes, see assembly/README.md. */
export interface SpmmIo {
  /** Address of X, in panels of 16 lanes, whose channel stride is 64. */
  readonly x: number;
  readonly xPanelStride: number;
  readonly y: number;
  readonly yPanelStride: number;
  readonly yChannelStride: number;
  /** Pixels or tokens. */
  readonly columns: number;
  readonly min: number;
  readonly max: number;
  /** Adds to what Y holds; the bias is then left out. */
  readonly add?: boolean;
}

/**
 * The calls that compute Y = clamp(W X + bias), to be run in order.
 * @param at address the packed data was copied to, a multiple of 64
 */
export function spmmCalls(p: PackedSpmm, at: number, io: SpmmIo): KernelCall[] {
  if (!io.columns) return [];
  return p.segments.map((s) => ({
    kernel: s.kernel,
    args: [
      io.x + s.input * 4 * p.lanes,
      io.xPanelStride,
      io.y + s.row * io.yChannelStride,
      io.yPanelStride,
      io.yChannelStride,
      io.columns,
      at + s.from,
      at + s.to,
      s.clamp ? io.min : -Infinity,
      s.clamp ? io.max : Infinity,
      Number(s.input > 0 || (io.add ?? false)),
    ],
  }));
}
