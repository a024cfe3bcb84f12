// What becomes of exact i32 sums: f32, or integers for the next layer. Shared by the int8 kernels.
import { clamp } from './isa';
import { N0, N1, N2, N3, put } from './tile';

// `kind`: what Y holds: f32, 16-bit lanes, (2) bytes, or f32 of row-major tokens, whose outputs lie side by side and columns yc
// bytes apart. 16-bit lanes are quantised values less their zero point, as the kernels read them.
const F32 = 0, I16 = 1, TOKENS = 3;
// Bits of `stage`: add to the sums of the block before; keep these sums for the next; zero points to correct, one a column.
export const MORE = 1;
const PART = 2, ZEROS = 4;

/** sum * scale + bias, limited; each step rounded to f32. */
// @ts-expect-error: decorator
@inline function real(sum: v128, scale: v128, bias: v128, lo: v128, hi: v128): v128 {
  return clamp(f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(sum), scale), bias), lo, hi);
}

/** The nearest integer of each lane, ties to even, |f| < 2^22: the sum with 1.5 * 2^23 has it in its low bits. */
// @ts-expect-error: decorator
@inline export function nearest(f: v128): v128 {
  return i32x4.sub(f32x4.add(f, f32x4.splat(12582912)), i32x4.splat(0x4b400000));
}

/** The first n bytes, 1 to 16, and nothing beyond. */
function putBytes(y: usize, v: v128, n: i32): void {
  if (n & 16) {
    v128.store(y, v);
    return;
  }
  if (n & 8) {
    v128.store64_lane(y, v, 0);
    v = v128.shuffle<i64>(v, v, 1, 1);
    y += 8;
  }
  if (n & 4) {
    v128.store32_lane(y, v, 0);
    v = i64x2.shr_u(v, 32);
    y += 4;
  }
  if (n & 2) {
    v128.store16_lane(y, v, 0);
    v = i64x2.shr_u(v, 16);
    y += 2;
  }
  if (n & 1) v128.store8_lane(y, v, 0);
}

/** The table's 16-bit entries for the low bytes of eight lanes. */
function lookUp(v: v128, table: usize): v128 {
  v = i16x8.shl(v128.and(v, i16x8.splat(255)), 1);
  let a = i16x8.splat(load<i16>(table + <usize>i16x8.extract_lane_u(v, 0)));
  a = v128.load16_lane(table + <usize>i16x8.extract_lane_u(v, 1), a, 1);
  a = v128.load16_lane(table + <usize>i16x8.extract_lane_u(v, 2), a, 2);
  a = v128.load16_lane(table + <usize>i16x8.extract_lane_u(v, 3), a, 3);
  a = v128.load16_lane(table + <usize>i16x8.extract_lane_u(v, 4), a, 4);
  a = v128.load16_lane(table + <usize>i16x8.extract_lane_u(v, 5), a, 5);
  a = v128.load16_lane(table + <usize>i16x8.extract_lane_u(v, 6), a, 6);
  return v128.load16_lane(table + <usize>i16x8.extract_lane_u(v, 7), a, 7);
}

/**
 * Eight columns of one output, anywhere. `lanes`: [8 f32 scale] [8 i32 zero point] of the columns; `weight`, `bias`, `count`:
 * the output's scale, its bias and the sum of its weights.
 */
function finish(
  a: v128, b: v128, lanes: usize, weight: f32, bias: f32, count: i32, y: usize, yc: usize, kind: i32, live: i32, min: f32, max: f32,
  zero: i32, table: usize, stage: i32,
): void {
  const w = f32x4.splat(weight), more = f32x4.splat(bias), lo = f32x4.splat(min), hi = f32x4.splat(max);
  if (stage & ZEROS) {
    const n = i32x4.splat(count);
    a = i32x4.sub(a, i32x4.mul(n, v128.load(lanes, 32)));
    b = i32x4.sub(b, i32x4.mul(n, v128.load(lanes, 48)));
  }
  const f = real(a, f32x4.mul(w, v128.load(lanes)), more, lo, hi);
  const g = real(b, f32x4.mul(w, v128.load(lanes, 16)), more, lo, hi);
  if (kind == F32) {
    put<N1, N0, N0>(y, f, min_i32(live, 4));
    if (live > 4) put<N1, N0, N0>(y + 16, g, live - 4);
    return;
  }
  if (kind == TOKENS) {
    for (let v = f; live > 0; v = g, live -= 4) {
      v128.store32_lane(y, v, 0);
      if (live > 1) v128.store32_lane(y + yc, v, 1);
      if (live > 2) v128.store32_lane(y + yc * 2, v, 2);
      if (live > 3) v128.store32_lane(y + yc * 3, v, 3);
      y += yc << 2;
    }
    return;
  }
  // A NaN, which only a NaN scale makes, becomes the least integer.
  const r = nearest(f32x4.pmax(lo, f)), t = nearest(f32x4.pmax(lo, g));
  let q = i16x8.add(i16x8.narrow_i32x4_s(r, t), i16x8.splat(<i16>zero));
  if (table) q = lookUp(q, table);
  if (kind == I16) putBytes(y, q, live << 1);
  else {
    q = v128.and(q, i16x8.splat(255));
    putBytes(y, i8x16.narrow_i16x8_u(q, q), live);
  }
}

/** From one output to the next in Y. */
// @ts-expect-error: decorator
@inline export function outputStep(kind: i32, yc: usize): usize {
  return kind == TOKENS ? 4 : yc;
}

// @ts-expect-error: decorator
@inline export function min_i32(a: i32, b: i32): i32 {
  return a < b ? a : b;
}

/** Sums of output R of a group whose header is at s to reals; t: scales of the columns. */
// @ts-expect-error: decorator
@inline function open<R>(s: usize, a: v128, t: v128): v128 {
  const w = v128.load32_splat(s + (offsetof<R>() << 2), 24), more = v128.load32_splat(s + (offsetof<R>() << 2), 40);
  return f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(a), f32x4.mul(w, t)), more);
}

/** The sums of one output less weight sum x zero point. */
// @ts-expect-error: decorator
@inline function less<R>(s: usize, a: v128, z: v128): v128 {
  return i32x4.sub(a, i32x4.mul(v128.load32_splat(s + (offsetof<R>() << 2), 56), z));
}

/** Four outputs of four columns, turned. */
// @ts-expect-error: decorator
@inline function turn(a: v128, b: v128, c: v128, d: v128, y: usize, yc: usize): void {
  const e = i32x4.shuffle(a, b, 0, 4, 1, 5), f = i32x4.shuffle(c, d, 0, 4, 1, 5);
  const g = i32x4.shuffle(a, b, 2, 6, 3, 7), h = i32x4.shuffle(c, d, 2, 6, 3, 7);
  v128.store(y, i32x4.shuffle(e, f, 0, 1, 4, 5));
  v128.store(y + yc, i32x4.shuffle(e, f, 2, 3, 6, 7));
  v128.store(y + yc * 2, i32x4.shuffle(g, h, 0, 1, 4, 5));
  v128.store(y + yc * 3, i32x4.shuffle(g, h, 2, 3, 6, 7));
}

/** The end of a group: sums to Y, or kept for the next block of inputs. */
// @ts-expect-error: decorator
@inline export function groupEnd(
  a0: v128, a1: v128, b0: v128, b1: v128, c0: v128, c1: v128, d0: v128, d1: v128, head: usize, y: usize, yc: usize,
  rows: i32, kind: i32, live: i32, min: f32, max: f32, zero: i32, table: usize, lanes: usize, sums: usize, stage: i32,
): void {
  if (stage & PART) {
    v128.store(sums, a0);
    v128.store(sums, a1, 16);
    v128.store(sums, b0, 32);
    v128.store(sums, b1, 48);
    v128.store(sums, c0, 64);
    v128.store(sums, c1, 80);
    v128.store(sums, d0, 96);
    v128.store(sums, d1, 112);
  } else if ((kind == F32 || kind == TOKENS) && live == 8 && rows > 3) {
    if (stage & ZEROS) {
      const z0 = v128.load(lanes, 32), z1 = v128.load(lanes, 48);
      a0 = less<N0>(head, a0, z0);
      a1 = less<N0>(head, a1, z1);
      b0 = less<N1>(head, b0, z0);
      b1 = less<N1>(head, b1, z1);
      c0 = less<N2>(head, c0, z0);
      c1 = less<N2>(head, c1, z1);
      d0 = less<N3>(head, d0, z0);
      d1 = less<N3>(head, d1, z1);
    }
    const t = v128.load(lanes), u = v128.load(lanes, 16);
    a0 = open<N0>(head, a0, t);
    a1 = open<N0>(head, a1, u);
    b0 = open<N1>(head, b0, t);
    b1 = open<N1>(head, b1, u);
    c0 = open<N2>(head, c0, t);
    c1 = open<N2>(head, c1, u);
    d0 = open<N3>(head, d0, t);
    d1 = open<N3>(head, d1, u);
    if (min > <f32>-Infinity || max < <f32>Infinity) {
      const lo = f32x4.splat(min), hi = f32x4.splat(max);
      a0 = clamp(a0, lo, hi);
      a1 = clamp(a1, lo, hi);
      b0 = clamp(b0, lo, hi);
      b1 = clamp(b1, lo, hi);
      c0 = clamp(c0, lo, hi);
      c1 = clamp(c1, lo, hi);
      d0 = clamp(d0, lo, hi);
      d1 = clamp(d1, lo, hi);
    }
    if (kind == TOKENS) {
      turn(a0, b0, c0, d0, y, yc);
      turn(a1, b1, c1, d1, y + (yc << 2), yc);
      return;
    }
    v128.store(y, a0);
    v128.store(y, a1, 16);
    const yb = y + yc, yd = yb + yc, ye = yd + yc;
    v128.store(yb, b0);
    v128.store(yb, b1, 16);
    v128.store(yd, c0);
    v128.store(yd, c1, 16);
    v128.store(ye, d0);
    v128.store(ye, d1, 16);
  } else {
    let to = y;
    for (let r = min_i32(rows, 4); r > 0; r--) {
      const w = load<f32>(head, 24), b = load<f32>(head, 40), n = load<i32>(head, 56);
      finish(a0, a1, lanes, w, b, n, to, yc, kind, live, min, max, zero, table, stage);
      a0 = b0;
      a1 = b1;
      b0 = c0;
      b1 = c1;
      c0 = d0;
      c1 = d1;
      head += 4;
      to += outputStep(kind, yc);
    }
  }
}

/** The end of a row: sums to Y, or kept for the next block of inputs. */
// @ts-expect-error: decorator
@inline export function rowEnd<V>(
  a0: v128, a1: v128, b0: v128, b1: v128, head: usize, y: usize, yb: usize, yc: usize, kind: i32, live: i32, min: f32, max: f32,
  zero: i32, table: usize, lanes: usize, lp: usize, sums: usize, sp: usize, stage: i32,
): void {
  const two = offsetof<V>() > 1;
  if (stage & PART) {
    v128.store(sums, a0);
    v128.store(sums, a1, 16);
    if (two) {
      v128.store(sums + sp, b0);
      v128.store(sums + sp, b1, 16);
    }
    return;
  }
  const w = load<f32>(head, 12), b = load<f32>(head, 16), n = load<i32>(head, 20);
  finish(a0, a1, lanes, w, b, n, y, yc, kind, two ? 8 : live, min, max, zero, table, stage);
  if (two) finish(b0, b1, lanes + lp, w, b, n, yb, yc, kind, live, min, max, zero, table, stage);
}
