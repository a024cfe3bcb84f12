// What kernels of the window formats share.
import { clamp } from './isa';

/** Stores outputs 4 I to 4 I + 3 of a block, of which n are left, where each lies: byte offsets at `to`. */
// @ts-expect-error: decorator
@inline export function scatter<I>(y: usize, to: usize, n: i32, a: v128, lo: v128, hi: v128): void {
  const left = n - <i32>(offsetof<I>() * 4), at = to + offsetof<I>() * 16;
  const v = clamp(a, lo, hi);
  if (left > 3) {
    v128.store32_lane(y + <usize>load<u32>(at), v, 0);
    v128.store32_lane(y + <usize>load<u32>(at, 4), v, 1);
    v128.store32_lane(y + <usize>load<u32>(at, 8), v, 2);
    v128.store32_lane(y + <usize>load<u32>(at, 12), v, 3);
  } else {
    if (left > 0) v128.store32_lane(y + <usize>load<u32>(at), v, 0);
    if (left > 1) v128.store32_lane(y + <usize>load<u32>(at, 4), v, 1);
    if (left > 2) v128.store32_lane(y + <usize>load<u32>(at, 8), v, 2);
  }
}

/** Bytes of `window` at p, picked by indices; 0 where the index is 128. */
// @ts-expect-error: decorator
@inline export function pick(p: usize, indices: v128): v128 {
  const window = v128.load(p);
  if (ASC_FEATURE_RELAXED_SIMD) return i8x16.relaxed_swizzle(window, indices);
  return i8x16.swizzle(window, indices);
}

/**
 * Four outputs of an exact product by quantised activations: scales (a - zero sums) + bias. A block of H outputs has their
 * numbers one kind after the other, scales, bias, sums of weights; those of these four begin at `at`.
 */
// @ts-expect-error: decorator
@inline export function dequantise<H>(a: v128, at: usize, scale: v128, zero: v128): v128 {
  a = i32x4.sub(a, i32x4.mul(zero, v128.load(at + offsetof<H>() * 8)));
  // Never in one step, so that results are those of the kernels for many columns, on every machine.
  a = f32x4.mul(f32x4.convert_i32x4_s(a), f32x4.mul(scale, v128.load(at)));
  return f32x4.add(a, v128.load(at + offsetof<H>() * 4));
}
