/** Calls of the kernels for one to eight tokens. */
import { ArgumentRangeError } from '../errors.ts';
import { type Dynamic, stepsOf } from '../pack/quantize.ts';
import { listsOf, type PackedSpmv } from '../pack/spmv.ts';
import type { KernelCall } from './call.ts';

export interface SpmvIo {
  /** [tokens][cols] f32 */
  readonly x: number;
  /** [tokens][rows] f32 */
  readonly y: number;
  readonly tokens: number;
  readonly min: number;
  readonly max: number;
  /** {@link spmvScratch} bytes, a multiple of 16, that hold X as the kernel wants it. */
  readonly scratch: number;
  /** How int8 weights have each token quantised; left out, as ONNX's DynamicQuantizeLinear does. */
  readonly input?: Dynamic;
}

/** Bytes of a byte plane of X, or of its int8 form without the header: a window of 16 may start at the last input. */
const padded = (cols: number): number => (cols + 31) & ~15;
const quantized = (cols: number): number => 16 + padded(cols);

/** Bytes of scratch memory that {@link spmvCalls} needs. */
export function spmvScratch(p: Pick<PackedSpmv, 'format' | 'type' | 'cols'>, tokens: number): number {
  if (p.format !== 'window') return 0;
  return tokens * (p.type === 'i8' ? quantized(p.cols) : 4 * padded(p.cols));
}

/**
 * Y[tokens][rows] = clamp(X[tokens][cols] W^T + bias), row-major; int8 weights meet activations quantised a token at a time.
 * Any number of tokens; every weight comes from memory once.
 * @param at address the packed data was copied to, a multiple of 64
 */
export function spmvCalls(p: PackedSpmv, at: number, io: SpmvIo): KernelCall[] {
  const { x, y, tokens, min, max, scratch } = io;
  const { rows, cols, kernel } = p;
  if (!tokens) return [];
  // What expands f16 and int8 weights stands before the first block.
  const constants = p.type === 'f16' || p.type === 'i8' ? 32 : 0;
  const rest = [y, 4 * rows, at + constants, tokens, rows, listsOf(cols), min, max];
  if (constants) rest.push(at);
  if (p.format !== 'window') return [{ kernel, args: [x, 4 * cols, ...rest] }];
  if (p.type === 'i8') {
    const stride = quantized(cols);
    const { range, bits = 8 } = io.input ?? { range: 'extremes' };
    if (kernel === 'i8_quads_q7spmv' && bits !== 7) throw new ArgumentRangeError('bits', '7 for this kernel', bits);
    const steps = stepsOf(range, bits);
    const zero = range === 'extremes' ? -1 : steps + 1;
    const flip = kernel === 'i8_signs_spmv' ? 0x80808080 | 0 : 0;
    return [
      { kernel: 'i8_window_quantize', args: [x, scratch, stride, tokens, cols, steps, zero, flip] },
      { kernel, args: [scratch, stride, ...rest] },
    ];
  }
  const plane = padded(cols);
  return [
    { kernel: 'f32_window_split', args: [x, scratch, plane, tokens, cols] },
    { kernel, args: [scratch, 4 * plane, ...rest, plane] },
  ];
}
