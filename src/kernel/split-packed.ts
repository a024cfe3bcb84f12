/**
 * Kernels for few tokens, whose packed weights tell where their work can be cut: between blocks of outputs, each as heavy as its
 * bytes (src/pack/spmv.ts). A block's outputs are added up as they are without a cut.
 */
import type { KernelCall } from './call.ts';

/** A call of blocks that do not depend on each other. */
export interface BlockCall {
  readonly ns: number;
  /** Outputs of different blocks lie in one cache line. */
  readonly scatters: boolean;
  /** What each block weighs. */
  readonly weights: readonly number[];
  /** Arguments for blocks `from` to `to`. */
  part(from: number, to: number): number[];
}

interface Blocks {
  /** Outputs of a block. */
  readonly height: number;
  /** Bytes before its lists. */
  readonly head: number;
  /** Bytes of a record after the lists' indices. */
  readonly record: number;
  /** One token, ns a byte; one core of Zen 4, weights in its caches. */
  readonly ns: number;
  /** Blocks say themselves where in Y their outputs go. */
  readonly scatters?: boolean;
}

/** By kernel name. */
const BLOCKS: Readonly<Record<string, Blocks>> = {
  f32_group16_spmv: { height: 16, head: 64, record: 64, ns: 0.016 },
  f32_group8_spmv: { height: 8, head: 32, record: 32, ns: 0.018 },
  f32_group4_spmv: { height: 4, head: 16, record: 16, ns: 0.023 },
  f16_group16_spmv: { height: 16, head: 64, record: 32, ns: 0.06 },
  f32_window_spmv: { height: 16, head: 128, record: 80, ns: 0.034, scatters: true },
  i8_window_f32spmv: { height: 16, head: 192, record: 32, ns: 0.1, scatters: true },
  i8_window_spmv: { height: 8, head: 128, record: 24, ns: 0.038, scatters: true },
  i8_bytes_spmv: { height: 8, head: 128, record: 32, ns: 0.027, scatters: true },
  i8_signs_spmv: { height: 4, head: 64, record: 24, ns: 0.021, scatters: true },
  i8_quads_q7spmv: { height: 4, head: 64, record: 24, ns: 0.02, scatters: true },
};

/** Kernels that {@link blockCall} cuts. */
export const cutByBlocks = (): string[] => Object.keys(BLOCKS);

/** No list has as many records, 65536 inputs times 16 outputs; what says so is not packed weights. */
const MOST = 2 ** 20;
/** A list's count and indices: importing this from where lists are packed would cut the core's bundle in two. */
const headOf = (n: number): number => (4 + 2 * n + 15) & ~15;

/**
 * Undefined for other kernels, and when the weights are not what packed ones look like.
 * @param view the memory that they are in
 */
export function blockCall(
  { kernel, args }: KernelCall,
  view: (at: number, bytes: number) => Uint8Array,
): BlockCall | undefined {
  const b = BLOCKS[kernel];
  if (!b) return undefined;
  const [, , y, , w, tokens, rows, lists] = args;
  const starts = [w];
  for (let row = 0; row < rows; row += b.height) {
    let at = starts[starts.length - 1] + b.head;
    for (let l = 0; l < lists; l++) {
      const [b0, b1, b2, b3] = view(at, 4);
      const n = b0 + 256 * (b1 + 256 * (b2 + 256 * b3));
      if (n > MOST) return undefined;
      at += headOf(n) + n * b.record;
    }
    starts.push(at);
  }
  return {
    ns: (starts[starts.length - 1] - w) * b.ns * tokens,
    scatters: b.scatters ?? false,
    weights: starts.slice(1).map((end, i) => end - starts[i]),
    part(from, to) {
      const part = [...args];
      if (!b.scatters) part[2] = y + 4 * b.height * from;
      part[4] = starts[from];
      part[6] = Math.min(to * b.height, rows) - from * b.height;
      return part;
    },
  };
}
