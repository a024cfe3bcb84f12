// int8 weights in windows by quantised activations, with the dot products of relaxed SIMD. Layout: src/pack/spmv.ts.
//
// These may differ between machines only where their second operand is negative, or where the sum of two products leaves 16
// bits. Neither happens: signs_spmv has magnitudes of weights there, 0 to 127, by activations of -128 to 127; q7spmv activations
// of 7 bits by weights of -127 to 127. Node 24, 3072x768 at 70 % zeros, one token: 37 and 28 us, i8_window_spmv 46.
import { dequantise, pick, scatter } from './spmvwindow';
import { N0, N1, N4 } from './tile';

/** Pairs of products, each pair of one sign, to i32. */
// @ts-expect-error: decorator
@inline function pairs(sum: v128, x: v128, w: v128, signs: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(i16x8.relaxed_dot_i8x16_i7x16_s(x, w), signs));
}
/** Four products each, to i32: one instruction where a machine has dot products of bytes. */
// @ts-expect-error: decorator
@inline function quads(sum: v128, w: v128, x: v128): v128 {
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(w, x, sum);
}

/** Four sums of a block, of which `left` are outputs. */
// @ts-expect-error: decorator
@inline function store4(token: usize, block: usize, y: usize, left: i32, sum: v128, lo: v128, hi: v128): void {
  const v = dequantise<N4>(sum, block, v128.load32_splat(token), v128.load32_splat(token, 4));
  scatter<N0>(y, block + 48, left, v, lo, hi);
}

/** Blocks of four outputs, of quads (Q) or of signs. k: the mask of indices, and the signs. */
// @ts-expect-error: decorator
@inline function windows<Q>(
  q: usize, sq: usize, y: usize, sy: usize, w: usize, tokens: i32, rows: i32, lists: i32, min: f32, max: f32, k: usize,
): void {
  const lo = f32x4.splat(min), hi = f32x4.splat(max);
  const low = v128.load(k), signs = v128.load(k, 16);
  for (let j = 0; j < rows; j += 4) {
    const block = w;
    for (let t = 0; t < tokens; t++) {
      const token = q + <usize>t * sq;
      let p = token + 16;
      let s = block + 64;
      let a0: v128 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
      for (let l = 0; l < lists; l++) {
        const n = <usize>load<u32>(s);
        let b = s + 4;
        s = (b + n * 2 + 15) & ~15;
        const end = s + n * 24;
        if (offsetof<Q>()) {
          while (s + 48 < end) {
            let i = v128.load(s);
            a0 = quads(a0, v128.load(s, 16), pick(p + <usize>load<u16>(b), v128.and(i, low)));
            a1 = quads(a1, v128.load(s, 32), pick(p + <usize>load<u16>(b, 2), v128.and(i16x8.shr_u(i, 4), low)));
            i = v128.load(s, 48);
            a2 = quads(a2, v128.load(s, 64), pick(p + <usize>load<u16>(b, 4), v128.and(i, low)));
            a3 = quads(a3, v128.load(s, 80), pick(p + <usize>load<u16>(b, 6), v128.and(i16x8.shr_u(i, 4), low)));
            s += 96;
            b += 8;
          }
        }
        // Of quads, one pair of steps may be left.
        while (s < end) {
          const i = v128.load(s);
          const x0 = pick(p + <usize>load<u16>(b), v128.and(i, low));
          const x1 = pick(p + <usize>load<u16>(b, 2), v128.and(i16x8.shr_u(i, 4), low));
          if (offsetof<Q>()) {
            a0 = quads(a0, v128.load(s, 16), x0);
            a1 = quads(a1, v128.load(s, 32), x1);
          } else {
            a0 = pairs(a0, x0, v128.load(s, 16), signs);
            a1 = pairs(a1, x1, v128.load(s, 32), signs);
          }
          s += 48;
          b += 4;
        }
        p += 65536;
      }
      let sum = i32x4.add(a0, a1);
      if (offsetof<Q>()) sum = i32x4.add(sum, i32x4.add(a2, a3));
      store4(token, block, y + <usize>t * sy, rows - j, sum, lo, hi);
      w = s;
    }
  }
}

/**
 * As i8_window_spmv, exact on 8 bits of activations, which are read as i8: a step gives each of 4 outputs two products by positive
 * weights and two by negative ones, whose magnitudes are stored. Four steps a round instead of two: 3 % slower.
 */
export function i8_signs_spmv(
  q: usize, sq: usize, y: usize, sy: usize, w: usize, tokens: i32, rows: i32, lists: i32, min: f32, max: f32, k: usize,
): void {
  windows<N0>(q, sq, y, sy, w, tokens, rows, lists, min, max, k);
}

/**
 * As i8_window_spmv, on activations of 7 bits: a step gives each of 4 outputs four products. Four sums, so that they do not wait
 * for each other: 8 % faster than two.
 */
export function i8_quads_q7spmv(
  q: usize, sq: usize, y: usize, sy: usize, w: usize, tokens: i32, rows: i32, lists: i32, min: f32, max: f32, k: usize,
): void {
  windows<N1>(q, sq, y, sy, w, tokens, rows, lists, min, max, k);
}
