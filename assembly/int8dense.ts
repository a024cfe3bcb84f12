// Dense int8 weights by quantised activations, exact in i32, by Winograd's inner product (S. Winograd, "A new algorithm for inner
// product", IEEE Transactions on Computers C-17, 1968): for inputs 0 and 1
//
//     x0 w0 + x1 w1 = (x0 + w1) (x1 + w0) - x0 x1 - w0 w1
//
// so that half the multiplications do. The sum of x0 x1 is one for a column, that of w0 w1 is in the packed `start`; in integers
// that wrap, nothing is lost. Layout: src/pack/int8.ts.
//
// A machine with four vector units, two of which multiply (Zen), does 16 multiply-adds in four instructions either way, but can
// spread these over all four. Zen 5, whole operators of 768x768x128, 3072x768x128 and 768x3072x128, products of pairs and this:
// 111, 111, 109 -> 117, 119, 117 GOP/s, the same on V8 11.3 and 13.6. Where i32x4.dot_i16x8_s is three instructions (ARM), it is 6
// in place of 8. In groups of 4 it would gain nothing: which inputs are multiplied differs from group to group.
// - Two outputs at a time have 14 vectors in use. The branch that is never taken keeps V8 11.3 from hoisting all loads of a round.
// - Lost: 12 columns by 2 outputs, sums in memory (2 % faster in V8 13.6, slower in 11.3, and for short rows; with a third
//   pointer 8 % slower in 13.6), 8x3, 8x4 (spills), 16x2. Rows in blocks that stay in a cache: nothing, weights are read fast enough.
import { MORE, groupEnd, min_i32, outputStep } from './int8store';

// @ts-expect-error: decorator
@inline function dot(sum: v128, e: v128, o: v128, we: v128, wo: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(i16x8.add(e, wo), i16x8.add(o, we)));
}

/** Sums of x0 x1 of four columns, negated, over a panel that ends at `end`. */
function own(x: usize, end: usize): v128 {
  let sum = i32x4.splat(0);
  for (; x < end; x += 64) sum = i32x4.sub(sum, i32x4.dot_i16x8_s(v128.load(x), v128.load(x, 16)));
  return sum;
}

/** Eight columns by all groups from s to last. Both pairs of outputs by the same lines: a function returns no four vectors. */
function tile(
  x: usize, y: usize, yc: usize, rows: i32, s: usize, last: usize, kind: i32, live: i32, min: f32, max: f32, zero: i32,
  table: usize, lanes: usize, sums: usize, stage: i32,
): void {
  const size = <usize>load<u32>(s, 4), pair = (size - 72) >> 1;
  const u = own(x, x + (pair << 2)), v = own(x + 32, x + (pair << 2));
  for (; s < last; s += size, sums += 128, rows -= 4, y += outputStep(kind, yc) << 2) {
    let a0: v128, a1: v128, b0: v128, b1: v128, c0: v128, c1: v128, d0: v128, d1: v128;
    if (stage & MORE) {
      a0 = v128.load(sums);
      a1 = v128.load(sums, 16);
      b0 = v128.load(sums, 32);
      b1 = v128.load(sums, 48);
    } else {
      a1 = a0 = v128.load32_splat(s, 8);
      b1 = b0 = v128.load32_splat(s, 12);
    }
    a0 = i32x4.add(a0, u);
    a1 = i32x4.add(a1, v);
    b0 = i32x4.add(b0, u);
    b1 = i32x4.add(b1, v);
    let w = s + 72;
    for (let p = x, end = w + pair; w < end; p += 64, w += 16) {
      const we = v128.load32_splat(w), wo = v128.load32_splat(w, 4);
      const ue = v128.load32_splat(w, 8), uo = v128.load32_splat(w, 12);
      let e = v128.load(p), o = v128.load(p, 16);
      a0 = dot(a0, e, o, we, wo);
      b0 = dot(b0, e, o, ue, uo);
      if (!p) break;
      e = v128.load(p, 32);
      o = v128.load(p, 48);
      a1 = dot(a1, e, o, we, wo);
      b1 = dot(b1, e, o, ue, uo);
    }
    if (stage & MORE) {
      c0 = v128.load(sums, 64);
      c1 = v128.load(sums, 80);
      d0 = v128.load(sums, 96);
      d1 = v128.load(sums, 112);
    } else {
      c1 = c0 = v128.load32_splat(s, 16);
      d1 = d0 = v128.load32_splat(s, 20);
    }
    c0 = i32x4.add(c0, u);
    c1 = i32x4.add(c1, v);
    d0 = i32x4.add(d0, u);
    d1 = i32x4.add(d1, v);
    for (let p = x, end = w + pair; w < end; p += 64, w += 16) {
      const we = v128.load32_splat(w), wo = v128.load32_splat(w, 4);
      const ue = v128.load32_splat(w, 8), uo = v128.load32_splat(w, 12);
      let e = v128.load(p), o = v128.load(p, 16);
      c0 = dot(c0, e, o, we, wo);
      d0 = dot(d0, e, o, ue, uo);
      if (!p) break;
      e = v128.load(p, 32);
      o = v128.load(p, 48);
      c1 = dot(c1, e, o, we, wo);
      d1 = dot(d1, e, o, ue, uo);
    }
    groupEnd(a0, a1, b0, b1, c0, c1, d0, d1, s, y, yc, rows, kind, live, min, max, zero, table, lanes, sums, stage);
  }
}

/** As i8_group4_qspmm_8x4 (int8.ts). X: of four inputs and four columns the even inputs, interleaved, then the odd ones. */
export function i8_dense_qspmm_8x4(
  x: usize, xp: usize, columns: i32, y: usize, yp: usize, yh: usize, yc: usize, rows: i32, s: usize, last: usize, kind: i32,
  min: f32, max: f32, zero: i32, table: usize, lanes: usize, lp: usize, sums: usize, sp: usize, stage: i32,
): void {
  for (let t = 0; columns > 0; columns -= 8, t++, x += xp, lanes += lp, sums += sp) {
    const to = y + <usize>(t >> 1) * yp + (t & 1 ? yh : 0);
    tile(x, to, yc, rows, s, last, kind, min_i32(columns, 8), min, max, zero, table, lanes, sums, stage);
  }
}
