// int8 weights by quantised activations, exact in i32: groups of 4 outputs, unstructured. Layout: src/pack/int8.ts.
//
// Activations are 16 bits in panels of 8 columns, less their zero point, which then needs no correction. Any two inputs are
// interleaved in the kernel, so whoever prunes need not keep pairs: two unpacks to eight dot products.
import { MORE, groupEnd, min_i32, outputStep, rowEnd } from './int8store';
import { N0, N1, N2, N3 } from './tile';

/** Lane K of w everywhere: the pair of weights of one output. */
// @ts-expect-error: decorator
@inline function pair<K>(w: v128): v128 {
  return i32x4.shuffle(w, w, <u8>offsetof<K>(), <u8>offsetof<K>(), <u8>offsetof<K>(), <u8>offsetof<K>());
}
// @ts-expect-error: decorator
@inline function low(u: v128, v: v128): v128 {
  return i16x8.shuffle(u, v, 0, 8, 1, 9, 2, 10, 3, 11);
}
// @ts-expect-error: decorator
@inline function high(u: v128, v: v128): v128 {
  return i16x8.shuffle(u, v, 4, 12, 5, 13, 6, 14, 7, 15);
}
// @ts-expect-error: decorator
@inline function dot(sum: v128, x: v128, w: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(x, w));
}

/** Eight columns by all groups from s to last. */
function groupTile(
  x: usize, y: usize, yc: usize, rows: i32, s: usize, last: usize, kind: i32, live: i32, min: f32, max: f32, zero: i32,
  table: usize, lanes: usize, sums: usize, stage: i32,
): void {
  while (s < last) {
    const head = s;
    const quads = s + <usize>load<u32>(s);
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
    while (s < quads) {
      let i = x + <usize>load<u16>(s), j = x + <usize>load<u16>(s, 2);
      s += 4;
      let x0 = v128.load(i), x1 = v128.load(j);
      let u = low(x0, x1), v = high(x0, x1);
      let w = v128.load32_splat(s);
      a0 = dot(a0, u, w);
      a1 = dot(a1, v, w);
      w = v128.load32_splat(s, 4);
      b0 = dot(b0, u, w);
      b1 = dot(b1, v, w);
      if (!i) break;
      w = v128.load32_splat(s, 8);
      c0 = dot(c0, u, w);
      c1 = dot(c1, v, w);
      w = v128.load32_splat(s, 12);
      d0 = dot(d0, u, w);
      d1 = dot(d1, v, w);
      s += 16;
      i = x + <usize>load<u16>(s);
      j = x + <usize>load<u16>(s, 2);
      if (!i) break;
      s += 4;
      x0 = v128.load(i);
      x1 = v128.load(j);
      u = low(x0, x1);
      v = high(x0, x1);
      w = v128.load32_splat(s);
      a0 = dot(a0, u, w);
      a1 = dot(a1, v, w);
      w = v128.load32_splat(s, 4);
      b0 = dot(b0, u, w);
      b1 = dot(b1, v, w);
      if (!j) break;
      w = v128.load32_splat(s, 8);
      c0 = dot(c0, u, w);
      c1 = dot(c1, v, w);
      w = v128.load32_splat(s, 12);
      d0 = dot(d0, u, w);
      d1 = dot(d1, v, w);
      s += 16;
    }
    if (s < end) {
      const x0 = v128.load(x + <usize>load<u16>(s)), x1 = v128.load(x + <usize>load<u16>(s, 2));
      s += 4;
      const u = low(x0, x1), v = high(x0, x1);
      let w = v128.load32_splat(s);
      a0 = dot(a0, u, w);
      a1 = dot(a1, v, w);
      w = v128.load32_splat(s, 4);
      b0 = dot(b0, u, w);
      b1 = dot(b1, v, w);
      w = v128.load32_splat(s, 8);
      c0 = dot(c0, u, w);
      c1 = dot(c1, v, w);
      w = v128.load32_splat(s, 12);
      d0 = dot(d0, u, w);
      d1 = dot(d1, v, w);
    }
    s = end;
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
  const two = offsetof<V>() > 1;
  while (s < last) {
    const head = s;
    const octs = s + <usize>load<u32>(s);
    const end = s + <usize>load<u32>(s, 4);
    let a0 = v128.load32_splat(s, 8), a1 = a0, b0 = a0, b1 = a0;
    if (stage & MORE) {
      a0 = v128.load(sums);
      a1 = v128.load(sums, 16);
      if (two) {
        b0 = v128.load(sums + sp);
        b1 = v128.load(sums + sp, 16);
      }
    }
    s += 24;
    while (s < octs) {
      const ww = v128.load_ext<i8>(s, 16);
      let q = load<u64>(s);
      let i = x + <usize>(<u32>q & 0xffff), j = x + <usize>(<u32>q >> 16);
      let w = pair<N0>(ww);
      let x0 = v128.load(i), x1 = v128.load(j);
      a0 = dot(a0, low(x0, x1), w);
      a1 = dot(a1, high(x0, x1), w);
      if (two) {
        x0 = v128.load(i + xp);
        x1 = v128.load(j + xp);
        b0 = dot(b0, low(x0, x1), w);
        b1 = dot(b1, high(x0, x1), w);
      }
      i = x + <usize>(<u32>(q >> 32) & 0xffff);
      j = x + <usize>(q >> 48);
      if (!i) break;
      w = pair<N1>(ww);
      x0 = v128.load(i);
      x1 = v128.load(j);
      a0 = dot(a0, low(x0, x1), w);
      a1 = dot(a1, high(x0, x1), w);
      if (two) {
        x0 = v128.load(i + xp);
        x1 = v128.load(j + xp);
        b0 = dot(b0, low(x0, x1), w);
        b1 = dot(b1, high(x0, x1), w);
      }
      q = load<u64>(s, 8);
      i = x + <usize>(<u32>q & 0xffff);
      j = x + <usize>(<u32>q >> 16);
      if (!i) break;
      w = pair<N2>(ww);
      x0 = v128.load(i);
      x1 = v128.load(j);
      a0 = dot(a0, low(x0, x1), w);
      a1 = dot(a1, high(x0, x1), w);
      if (two) {
        x0 = v128.load(i + xp);
        x1 = v128.load(j + xp);
        b0 = dot(b0, low(x0, x1), w);
        b1 = dot(b1, high(x0, x1), w);
      }
      i = x + <usize>(<u32>(q >> 32) & 0xffff);
      j = x + <usize>(q >> 48);
      if (!i) break;
      w = pair<N3>(ww);
      x0 = v128.load(i);
      x1 = v128.load(j);
      a0 = dot(a0, low(x0, x1), w);
      a1 = dot(a1, high(x0, x1), w);
      if (two) {
        x0 = v128.load(i + xp);
        x1 = v128.load(j + xp);
        b0 = dot(b0, low(x0, x1), w);
        b1 = dot(b1, high(x0, x1), w);
      }
      s += 24;
    }
    for (; s < end; s += 8) {
      const i = x + <usize>load<u16>(s), j = x + <usize>load<u16>(s, 2);
      const w = v128.load32_splat(s, 4);
      let x0 = v128.load(i), x1 = v128.load(j);
      a0 = dot(a0, low(x0, x1), w);
      a1 = dot(a1, high(x0, x1), w);
      if (two) {
        x0 = v128.load(i + xp);
        x1 = v128.load(j + xp);
        b0 = dot(b0, low(x0, x1), w);
        b1 = dot(b1, high(x0, x1), w);
      }
    }
    rowEnd<V>(a0, a1, b0, b1, head, y, yb, yc, kind, live, min, max, zero, table, lanes, lp, sums, sp, stage);
    sums += 32;
    y += outputStep(kind, yc);
    if (two) yb += outputStep(kind, yc);
  }
}

/**
 * All columns. X: quantised panels of 8 columns, xp bytes apart. Column tile t of Y is at y + (t >> 1) yp + (t & 1) yh, its
 * outputs yc bytes apart. Its block of scales and zero points, 64 bytes, is at lanes + t lp, its sums at sums + t sp.
 */
export function i8_group4_qspmm_8x4(
  x: usize, xp: usize, columns: i32, y: usize, yp: usize, yh: usize, yc: usize, rows: i32, s: usize, last: usize, kind: i32,
  min: f32, max: f32, zero: i32, table: usize, lanes: usize, lp: usize, sums: usize, sp: usize, stage: i32,
): void {
  for (let t = 0; columns > 0; columns -= 8, t++, x += xp, lanes += lp, sums += sp) {
    const to = y + <usize>(t >> 1) * yp + (t & 1 ? yh : 0);
    groupTile(x, to, yc, rows, s, last, kind, min_i32(columns, 8), min, max, zero, table, lanes, sums, stage);
  }
}

export function i8_csr_qspmm_16x1(
  x: usize, xp: usize, columns: i32, y: usize, yp: usize, yh: usize, yc: usize, rows: i32, s: usize, last: usize, kind: i32,
  min: f32, max: f32, zero: i32, table: usize, lanes: usize, lp: usize, sums: usize, sp: usize, stage: i32,
): void {
  for (; columns > 8; columns -= 16, x += xp << 1, y += yp, lanes += lp << 1, sums += sp << 1) {
    const live = min_i32(columns - 8, 8);
    rowTile<N2>(x, xp, y, y + yh, yc, s, last, kind, live, min, max, zero, table, lanes, lp, sums, sp, stage);
  }
  if (columns > 0) rowTile<N1>(x, xp, y, y, yc, s, last, kind, columns, min, max, zero, table, lanes, lp, sums, sp, stage);
}
