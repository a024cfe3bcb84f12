/** Turns packed weights and addresses into kernel calls. */
import type { PackedSpmm, SpmmSegment } from '../pack/spmm.ts';
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

/** Bytes of X and Y that a core's own caches may hold: 3072x768x128, 2 MB, gains 2 %. */
const OWN_CACHES = 1.5 * 2 ** 20;
/** Rows, and inputs, from which a panel is read often enough. */
const MANY = 512;

/**
 * Inputs of each panel that a sparse kernel reads in turn before its rows pick among them at random: a block, where X and Y are
 * so large that X lies beyond a core's own caches, and a panel has enough rows to earn it back. 768x3072x384, relaxed, Zen 5: groups
 * of 4 at 80, 90 and 95 % take 9, 13 and up to 28 % less, csr up to 21 where the host's other guests take the shared cache and
 * nothing otherwise; 768x768x384 0 to 2 %. Smaller ones lose 2 to 3 %, 32x144x784 20.
 */
function broughtIn(p: PackedSpmm, s: SpmmSegment, columns: number): number {
  const bytes = 4 * (p.rows + p.cols) * columns;
  if (p.format === 'dense' || p.place || s.rows < MANY || p.cols < MANY || bytes < OWN_CACHES) return 0;
  const block = p.segments.find(({ input }) => input > 0)?.input ?? p.cols;
  return Math.min(block, p.cols - s.input);
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
      Number(s.input > 0 || (io.add ?? false)) + 2 * broughtIn(p, s, io.columns),
    ],
  }));
}
