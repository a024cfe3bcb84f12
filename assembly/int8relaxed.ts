// int8 weights by activations of 7 bits, exact in i32, with the dot product of relaxed SIMD. Layout: src/pack/int8.ts.
//
// i16x8.relaxed_dot_i8x16_i7x16_s may differ between machines only where its second operand is negative, or where the sum of two
// products leaves 16 bits. Here that operand is 0 to 127 and 2 * 127 * 127 < 2^15, so it is exact everywhere. Two dot products
// are then added in 16 bits before they widen, where the packer has proved from the weights that no activations overflow: of
// trained weights in all but one of some hundreds; the others follow one by one. No weight loses a bit for it.
import { MORE, groupEnd, min_i32, outputStep, rowEnd } from './int8store';
import { N0, N1, N2 } from './tile';

// @ts-expect-error: decorator
@inline function dot(w: v128, x: v128): v128 {
  return i16x8.relaxed_dot_i8x16_i7x16_s(w, x);
}
/** sum + both dot products, added in 16 bits. */
// @ts-expect-error: decorator
@inline function two(sum: v128, w: v128, x: v128, v: v128, z: v128): v128 {
  return i32x4.add(sum, i32x4.extadd_pairwise_i16x8_s(i16x8.add(dot(w, x), dot(v, z))));
}
// @ts-expect-error: decorator
@inline function one(sum: v128, w: v128, x: v128): v128 {
  return i32x4.add(sum, i32x4.extadd_pairwise_i16x8_s(dot(w, x)));
}
/** Eight bytes of each of two inputs, one after the other. */
// @ts-expect-error: decorator
@inline function pair(x: usize, i: u32, j: u32): v128 {
  const a = v128.load64_zero(x + <usize>i), b = v128.load64_zero(x + <usize>j);
  return i8x16.shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
/** Columns 0 to 3 and 4 to 7 of four inputs. */
// @ts-expect-error: decorator
@inline function low(a: v128, b: v128): v128 {
  return i16x8.shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}
// @ts-expect-error: decorator
@inline function high(a: v128, b: v128): v128 {
  return i16x8.shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

/** Eight columns by all groups from s to last. D = N1: quads of inputs lie interleaved in the panel. */
function groupTile<D>(
  x: usize, y: usize, yc: usize, rows: i32, s: usize, last: usize, kind: i32, live: i32, min: f32, max: f32, zero: i32,
  table: usize, lanes: usize, sums: usize, stage: i32,
): void {
  const dense = offsetof<D>() > 0;
  while (s < last) {
    const head = s;
    const octs = s + <usize>load<u32>(s);
    const end = s + <usize>load<u32>(s, 4);
    let a0: v128, a1: v128, b0: v128, b1: v128, c0: v128, c1: v128, d0: v128, d1: v128;
    if (stage & MORE) {
      a0 = v128.load(sums);
      a1 = v128.load(sums, 16);
      b0 = v128.load(sums, 32);
      b1 = v128.load(sums, 48);
      c0 = v128.load(sums, 64);
      c1 = v128.load(sums, 80);
      d0 = v128.load(sums, 96);
      d1 = v128.load(sums, 112);
    } else {
      a1 = a0 = v128.load32_splat(s, 8);
      b1 = b0 = v128.load32_splat(s, 12);
      c1 = c0 = v128.load32_splat(s, 16);
      d1 = d0 = v128.load32_splat(s, 20);
    }
    s += 72;
    while (s < octs) {
      let u: v128, v: v128, U: v128, V: v128;
      if (dense) {
        const i = x + <usize>load<u16>(s), j = x + <usize>load<u16>(s, 2);
        u = v128.load(i);
        v = v128.load(i, 16);
        U = v128.load(j);
        V = v128.load(j, 16);
        s += 4;
      } else {
        const a = pair(x, load<u16>(s), load<u16>(s, 2)), b = pair(x, load<u16>(s, 4), load<u16>(s, 6));
        u = low(a, b);
        v = high(a, b);
        const A = pair(x, load<u16>(s, 8), load<u16>(s, 10)), B = pair(x, load<u16>(s, 12), load<u16>(s, 14));
        U = low(A, B);
        V = high(A, B);
        s += 16;
      }
      let w = v128.load32_splat(s), W = v128.load32_splat(s, 16);
      a0 = two(a0, w, u, W, U);
      a1 = two(a1, w, v, W, V);
      w = v128.load32_splat(s, 4);
      W = v128.load32_splat(s, 20);
      b0 = two(b0, w, u, W, U);
      b1 = two(b1, w, v, W, V);
      w = v128.load32_splat(s, 8);
      W = v128.load32_splat(s, 24);
      c0 = two(c0, w, u, W, U);
      c1 = two(c1, w, v, W, V);
      w = v128.load32_splat(s, 12);
      W = v128.load32_splat(s, 28);
      d0 = two(d0, w, u, W, U);
      d1 = two(d1, w, v, W, V);
      s += 32;
    }
    while (s < end) {
      let u: v128, v: v128;
      if (dense) {
        const i = x + <usize>load<u16>(s);
        u = v128.load(i);
        v = v128.load(i, 16);
        s += 2;
      } else {
        const a = pair(x, load<u16>(s), load<u16>(s, 2)), b = pair(x, load<u16>(s, 4), load<u16>(s, 6));
        u = low(a, b);
        v = high(a, b);
        s += 8;
      }
      let w = v128.load32_splat(s);
      a0 = one(a0, w, u);
      a1 = one(a1, w, v);
      w = v128.load32_splat(s, 4);
      b0 = one(b0, w, u);
      b1 = one(b1, w, v);
      w = v128.load32_splat(s, 8);
      c0 = one(c0, w, u);
      c1 = one(c1, w, v);
      w = v128.load32_splat(s, 12);
      d0 = one(d0, w, u);
      d1 = one(d1, w, v);
      s += 16;
    }
    groupEnd(a0, a1, b0, b1, c0, c1, d0, d1, head, y, yc, rows, kind, live, min, max, zero, table, lanes, sums, stage);
    sums += 128;
    rows -= 4;
    y += outputStep(kind, yc) << 2;
  }
}

/** One row at a time: eight columns of each of V panels. */
function rowTile<V>(
  x: usize, xp: usize, y: usize, yb: usize, yc: usize, s: usize, last: usize, kind: i32, live: i32, min: f32, max: f32,
  zero: i32, table: usize, lanes: usize, lp: usize, sums: usize, sp: usize, stage: i32,
): void {
  const both = offsetof<V>() > 1;
  const z = x + xp;
  while (s < last) {
    const head = s;
    const long = s + <usize>load<u32>(s);
    const end = s + <usize>load<u32>(s, 4);
    let a0 = v128.load32_splat(s, 8), a1 = a0, b0 = a0, b1 = a0;
    if (stage & MORE) {
      a0 = v128.load(sums);
      a1 = v128.load(sums, 16);
      if (both) {
        b0 = v128.load(sums + sp);
        b1 = v128.load(sums + sp, 16);
      }
    }
    s += 24;
    for (; s < long; s += 24) {
      const w = v128.load32_splat(s, 16), W = v128.load32_splat(s, 20);
      const i0 = load<u16>(s), i1 = load<u16>(s, 2), i2 = load<u16>(s, 4), i3 = load<u16>(s, 6);
      const j0 = load<u16>(s, 8), j1 = load<u16>(s, 10), j2 = load<u16>(s, 12), j3 = load<u16>(s, 14);
      let a = pair(x, i0, i1), b = pair(x, i2, i3), A = pair(x, j0, j1), B = pair(x, j2, j3);
      a0 = two(a0, w, low(a, b), W, low(A, B));
      a1 = two(a1, w, high(a, b), W, high(A, B));
      if (both) {
        a = pair(z, i0, i1);
        b = pair(z, i2, i3);
        A = pair(z, j0, j1);
        B = pair(z, j2, j3);
        b0 = two(b0, w, low(a, b), W, low(A, B));
        b1 = two(b1, w, high(a, b), W, high(A, B));
      }
    }
    for (; s < end; s += 12) {
      const w = v128.load32_splat(s, 8);
      const i0 = load<u16>(s), i1 = load<u16>(s, 2), i2 = load<u16>(s, 4), i3 = load<u16>(s, 6);
      let a = pair(x, i0, i1), b = pair(x, i2, i3);
      a0 = one(a0, w, low(a, b));
      a1 = one(a1, w, high(a, b));
      if (both) {
        a = pair(z, i0, i1);
        b = pair(z, i2, i3);
        b0 = one(b0, w, low(a, b));
        b1 = one(b1, w, high(a, b));
      }
    }
    rowEnd<V>(a0, a1, b0, b1, head, y, yb, yc, kind, live, min, max, zero, table, lanes, lp, sums, sp, stage);
    sums += 32;
    y += outputStep(kind, yc);
    if (both) yb += outputStep(kind, yc);
  }
}

/** Arguments: see groups in int8.ts; X: panels of bytes, 0 to 127. */
// @ts-expect-error: decorator
@inline function groups<D>(
  x: usize, xp: usize, columns: i32, y: usize, yp: usize, yh: usize, yc: usize, rows: i32, s: usize, last: usize, kind: i32,
  min: f32, max: f32, zero: i32, table: usize, lanes: usize, lp: usize, sums: usize, sp: usize, stage: i32,
): void {
  for (let t = 0; columns > 0; columns -= 8, t++, x += xp, lanes += lp, sums += sp) {
    const to = y + <usize>(t >> 1) * yp + (t & 1 ? yh : 0);
    groupTile<D>(x, to, yc, rows, s, last, kind, min_i32(columns, 8), min, max, zero, table, lanes, sums, stage);
  }
}

export function i8_group4_q7spmm_8x4(
  x: usize, xp: usize, columns: i32, y: usize, yp: usize, yh: usize, yc: usize, rows: i32, s: usize, last: usize, kind: i32,
  min: f32, max: f32, zero: i32, table: usize, lanes: usize, lp: usize, sums: usize, sp: usize, stage: i32,
): void {
  groups<N0>(x, xp, columns, y, yp, yh, yc, rows, s, last, kind, min, max, zero, table, lanes, lp, sums, sp, stage);
}

/** X: quads of inputs interleaved. */
export function i8_dense_q7spmm_8x4(
  x: usize, xp: usize, columns: i32, y: usize, yp: usize, yh: usize, yc: usize, rows: i32, s: usize, last: usize, kind: i32,
  min: f32, max: f32, zero: i32, table: usize, lanes: usize, lp: usize, sums: usize, sp: usize, stage: i32,
): void {
  groups<N1>(x, xp, columns, y, yp, yh, yc, rows, s, last, kind, min, max, zero, table, lanes, lp, sums, sp, stage);
}

export function i8_csr_q7spmm_16x1(
  x: usize, xp: usize, columns: i32, y: usize, yp: usize, yh: usize, yc: usize, rows: i32, s: usize, last: usize, kind: i32,
  min: f32, max: f32, zero: i32, table: usize, lanes: usize, lp: usize, sums: usize, sp: usize, stage: i32,
): void {
  for (; columns > 8; columns -= 16, x += xp << 1, y += yp, lanes += lp << 1, sums += sp << 1) {
    const live = min_i32(columns - 8, 8);
    rowTile<N2>(x, xp, y, y + yh, yc, s, last, kind, live, min, max, zero, table, lanes, lp, sums, sp, stage);
  }
  if (columns > 0) rowTile<N1>(x, xp, y, y, yc, s, last, kind, columns, min, max, zero, table, lanes, lp, sums, sp, stage);
}
