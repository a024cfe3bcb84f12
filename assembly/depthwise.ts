// Depthwise 3x3 convolutions on plain (CHW) planes; the output goes anywhere the address formula reaches. Others: depthwisekxk.ts.
//
// Strips of four output columns walk down the plane and read it in place. A row is loaded once for a strip, at its
// three column offsets, and feeds every output row it touches; the partial sums of those roll in registers. What was measured
// on MobileNetV1's layers (Zen 4, V8 11.3 and 13.6), all against this form:
// - the loops are bound by the number of instructions, not by memory (touching the next plane ahead cost 5 %), so bias, min
//   and max are loaded once for two rows (stride 1; nine weights and the sums fill the registers), and rows in the
//   padding are kept out of the loop: reading them from a row of zeros cost 12 % with stride 2, unrolling that loop
//   gained 6 % on relaxed SIMD and lost 6 % on V8 11.3;
// - all products of an output in one chain of additions: up to 10 % slower than a row's three first;
// - a zero-padded copy of each plane, bias and clamp in a second pass: 25 to 40 % slower. Instead columns in the
//   padding are shuffled in, or swizzled through a table;
// - panels: strips write a plain scratch plane, which is then spread over the panels. Storing by the address formula
//   from the strip was 5 to 8 % faster on V8 11.3 for widths that are multiples of 4, no faster on V8 13.6, 12 % slower for 14x14,
//   and needed every strip in two more versions.
import { clamp, madd } from './isa';
import { even, odd, spread } from './planes';

// The edges of a strip: EDGE 0 reads no padding, 2 one column on the left, 3 one on the right, 1 anything, through a
// table with a byte offset and a swizzle for each load.
const LOADS: i32 = 6;
const TABLE: i32 = 128;

// @ts-expect-error: decorator
@inline function swizzled(N: i32, s: usize, table: usize): v128 {
  return i8x16.swizzle(v128.load(s + load<i32>(table + LOADS * 16 + N * 4)), v128.load(table + N * 16));
}

/** The four input columns that tap K of a strip multiplies; s is the strip's first column (or the row's, EDGE 1). */
// @ts-expect-error: decorator
@inline function tap(STRIDE: i32, EDGE: i32, K: i32, s: usize, table: usize): v128 {
  if (EDGE == 1) {
    if (STRIDE == 1) return swizzled(K, s, table);
    return v128.or(swizzled(K * 2, s, table), swizzled(K * 2 + 1, s, table));
  }
  const none = i32x4.splat(0);
  if (STRIDE == 1) {
    if (EDGE == 2 && K == 0) return v128.shuffle<i32>(none, v128.load(s, 4), 0, 4, 5, 6);
    if (EDGE == 3 && K == 2) return v128.shuffle<i32>(v128.load(s, 4), none, 1, 2, 3, 4);
    return v128.load(s + K * 4);
  }
  if (EDGE == 2) {
    const a = v128.load(s, 4);
    const b = v128.load(s, 20);
    if (K == 1) return even(a, b);
    return K == 2 ? odd(a, b) : v128.shuffle<i32>(none, odd(a, b), 0, 4, 5, 6);
  }
  if (K < 2 || EDGE == 3) {
    const a = v128.load(s);
    const b = v128.load(s, 16);
    if (K == 1) return odd(a, b);
    return K == 0 ? even(a, b) : v128.shuffle<i32>(even(a, b), none, 1, 2, 3, 4);
  }
  return v128.shuffle<i32>(v128.load(s, 8), v128.load(s, 20), 0, 2, 5, 7);
}

// @ts-expect-error: decorator
@inline function dot3(a: v128, b: v128, c: v128, u: v128, v: v128, w: v128): v128 {
  return madd(madd(f32x4.mul(a, u), b, v), c, w);
}

/** limits: splats of bias, min and max. */
// @ts-expect-error: decorator
@inline function finish(x: v128, limits: usize): v128 {
  return clamp(f32x4.add(x, v128.load(limits)), v128.load(limits, 16), v128.load(limits, 32));
}

/** One strip of a 3x3 kernel with stride 1, from the plane's first row at s to the output rows from t on. */
// @ts-expect-error: decorator
@inline function strip1(
  EDGE: i32, s: usize, table: usize, limits: usize, w: usize, t: usize, height: i32, pitch: i32, outHeight: i32,
  outPitch: i32, padTop: i32,
): void {
  const w0 = v128.load32_splat(w);
  const w1 = v128.load32_splat(w, 4);
  const w2 = v128.load32_splat(w, 8);
  const w3 = v128.load32_splat(w, 12);
  const w4 = v128.load32_splat(w, 16);
  const w5 = v128.load32_splat(w, 20);
  const w6 = v128.load32_splat(w, 24);
  const w7 = v128.load32_splat(w, 28);
  const w8 = v128.load32_splat(w, 32);
  // q1 misses the last kernel row of output row o, q0 the last two of row o + 1.
  let q0 = f32x4.splat(0);
  let q1 = f32x4.splat(0);
  let o = padTop - 2;
  const end = s + height * pitch;
  let a: v128, b: v128, c: v128;
  while (o < 0 && s < end) {
    a = tap(1, EDGE, 0, s, table);
    b = tap(1, EDGE, 1, s, table);
    c = tap(1, EDGE, 2, s, table);
    q1 = f32x4.add(q0, dot3(a, b, c, w3, w4, w5));
    q0 = dot3(a, b, c, w0, w1, w2);
    s += pitch;
    o++;
  }
  while (s < end) {
    a = tap(1, EDGE, 0, s, table);
    b = tap(1, EDGE, 1, s, table);
    c = tap(1, EDGE, 2, s, table);
    const u = f32x4.add(q1, dot3(a, b, c, w6, w7, w8));
    q1 = f32x4.add(q0, dot3(a, b, c, w3, w4, w5));
    q0 = dot3(a, b, c, w0, w1, w2);
    s += pitch;
    if (s >= end) {
      v128.store(t, finish(u, limits));
      t += outPitch;
      o++;
      break;
    }
    a = tap(1, EDGE, 0, s, table);
    b = tap(1, EDGE, 1, s, table);
    c = tap(1, EDGE, 2, s, table);
    const v = f32x4.add(q1, dot3(a, b, c, w6, w7, w8));
    q1 = f32x4.add(q0, dot3(a, b, c, w3, w4, w5));
    q0 = dot3(a, b, c, w0, w1, w2);
    s += pitch;
    const bias = v128.load(limits);
    const lo = v128.load(limits, 16);
    const hi = v128.load(limits, 32);
    v128.store(t, clamp(f32x4.add(u, bias), lo, hi));
    t += outPitch;
    v128.store(t, clamp(f32x4.add(v, bias), lo, hi));
    t += outPitch;
    o += 2;
  }
  for (; o < outHeight; o++) {
    if (o >= 0) {
      v128.store(t, finish(q1, limits));
      t += outPitch;
    }
    q1 = q0;
    q0 = f32x4.splat(0);
  }
}

/** One strip of a 3x3 kernel with stride 2 and at most one row of padding on top. */
// @ts-expect-error: decorator
@inline function strip2(
  EDGE: i32, s: usize, table: usize, limits: usize, w: usize, t: usize, height: i32, pitch: i32, outHeight: i32,
  outPitch: i32, padTop: i32,
): void {
  const w0 = v128.load32_splat(w);
  const w1 = v128.load32_splat(w, 4);
  const w2 = v128.load32_splat(w, 8);
  const w3 = v128.load32_splat(w, 12);
  const w4 = v128.load32_splat(w, 16);
  const w5 = v128.load32_splat(w, 20);
  const w6 = v128.load32_splat(w, 24);
  const w7 = v128.load32_splat(w, 28);
  const w8 = v128.load32_splat(w, 32);
  const end = s + height * pitch;
  const last = t + outHeight * outPitch;
  // q holds the first kernel row of the output row at t.
  let q = f32x4.splat(0);
  let a: v128, b: v128, c: v128;
  if (padTop == 0) {
    q = dot3(tap(2, EDGE, 0, s, table), tap(2, EDGE, 1, s, table), tap(2, EDGE, 2, s, table), w0, w1, w2);
    s += pitch;
  }
  while (s + pitch < end) {
    q = f32x4.add(q, dot3(tap(2, EDGE, 0, s, table), tap(2, EDGE, 1, s, table), tap(2, EDGE, 2, s, table), w3, w4, w5));
    s += pitch;
    a = tap(2, EDGE, 0, s, table);
    b = tap(2, EDGE, 1, s, table);
    c = tap(2, EDGE, 2, s, table);
    v128.store(t, finish(f32x4.add(q, dot3(a, b, c, w6, w7, w8)), limits));
    q = dot3(a, b, c, w0, w1, w2);
    s += pitch;
    t += outPitch;
  }
  // At most one input row is left, the middle one of an output row.
  if (t < last && s < end) {
    q = f32x4.add(q, dot3(tap(2, EDGE, 0, s, table), tap(2, EDGE, 1, s, table), tap(2, EDGE, 2, s, table), w3, w4, w5));
  }
  for (; t < last; t += outPitch) {
    v128.store(t, finish(q, limits));
    q = f32x4.splat(0);
  }
}

/** Fills the tables of the strips at an edge that no shuffle covers, in their order. */
function tables(table: usize, stride: i32, width: i32, outWidth: i32, padLeft: i32): void {
  for (let i = 0; i < outWidth; i += 4) {
    const column = max(0, min(i, outWidth - 4)) * stride - padLeft;
    if (edgeOf(column, stride, width) != 1) continue;
    for (let n = 0; n < 3 * stride; n++) {
      const first = stride == 1 ? column + n : column + (n >> 1) + (n & 1) * 3;
      const at = max(0, min(first, width - 4));
      i32.store(table + LOADS * 16 + n * 4, at << 2);
      for (let l = 0; l < 4; l++) {
        const c = stride == 1 ? first + l : first - (n & 1) * 3 + 2 * l;
        const mine = stride == 1 || l >> 1 == (n & 1);
        const inside = mine && c >= 0 && c < width;
        i32.store(table + n * 16 + l * 4, inside ? 0x03020100 + (c - at) * 0x04040404 : -1);
      }
    }
    table += TABLE;
  }
}

// @ts-expect-error: decorator
@inline function edgeOf(column: i32, stride: i32, width: i32): i32 {
  const reach = column + (stride == 1 ? 6 : 9);
  if (column >= 0) return reach <= width ? 0 : reach - 1 == width ? 3 : 1;
  return column == -1 && reach <= width ? 2 : 1;
}

// @ts-expect-error: decorator
@inline function depthwise3(
  STRIDE: i32, x: usize, w: usize, y: usize, channelStride: usize, panelStride: i32, lanes: i32, channels: i32,
  height: i32, width: i32, outHeight: i32, outWidth: i32, padTop: i32, padLeft: i32, lo: f32, hi: f32,
  scratch: usize,
): void {
  const limits = scratch;
  v128.store(limits, f32x4.splat(lo), 16);
  v128.store(limits, f32x4.splat(hi), 32);
  const table = scratch + 64;
  tables(table, STRIDE, width, outWidth, padLeft);
  const plane = table + ((outWidth + 3) >> 2) * TABLE;
  // A strip of a plane narrower than 4 runs over into the next row, which is written later: it needs the slack of scratch.
  const direct = lanes == 0 && outWidth >= 4;
  const pitch = width << 2;
  const outPitch = outWidth << 2;
  for (let c = 0; c < channels; c++) {
    const t = direct ? y : plane;
    let mine = table;
    v128.store(limits, v128.load32_splat(w, 36));
    for (let i = 0; i < outWidth; i += 4) {
      const at = max(0, min(i, outWidth - 4));
      const column = at * STRIDE - padLeft;
      const edge = edgeOf(column, STRIDE, width);
      const s = x + (column << 2);
      const to = t + (at << 2);
      if (STRIDE == 1) {
        if (edge == 0) strip1(0, s, 0, limits, w, to, height, pitch, outHeight, outPitch, padTop);
        else if (edge == 2) strip1(2, s, 0, limits, w, to, height, pitch, outHeight, outPitch, padTop);
        else if (edge == 3) strip1(3, s, 0, limits, w, to, height, pitch, outHeight, outPitch, padTop);
        else strip1(1, x, mine, limits, w, to, height, pitch, outHeight, outPitch, padTop);
      } else {
        if (edge == 0) strip2(0, s, 0, limits, w, to, height, pitch, outHeight, outPitch, padTop);
        else if (edge == 2) strip2(2, s, 0, limits, w, to, height, pitch, outHeight, outPitch, padTop);
        else if (edge == 3) strip2(3, s, 0, limits, w, to, height, pitch, outHeight, outPitch, padTop);
        else strip2(1, x, mine, limits, w, to, height, pitch, outHeight, outPitch, padTop);
      }
      if (edge == 1) mine += TABLE;
    }
    if (!direct) spread(t, outHeight * outWidth, y, lanes, panelStride);
    x += height * pitch;
    w += 40;
    y += channelStride;
  }
}

/** Depthwise 3x3, stride 1, at most 2 rows of padding on top, rows of 4 and more. w: [channels][9 taps, bias]. lanes 0: plain output. */
export function f32_depthwise_3x3s1(
  x: usize, w: usize, y: usize, channelStride: usize, panelStride: i32, lanes: i32, channels: i32, height: i32,
  width: i32, outHeight: i32, outWidth: i32, padTop: i32, padLeft: i32, lo: f32, hi: f32, scratch: usize,
): void {
  depthwise3(
    1, x, w, y, channelStride, panelStride, lanes, channels, height, width, outHeight, outWidth, padTop, padLeft, lo, hi, scratch,
  );
}

/** Depthwise 3x3, stride 2, at most 1 row of padding on top; otherwise as f32_depthwise_3x3s1. */
export function f32_depthwise_3x3s2(
  x: usize, w: usize, y: usize, channelStride: usize, panelStride: i32, lanes: i32, channels: i32, height: i32,
  width: i32, outHeight: i32, outWidth: i32, padTop: i32, padLeft: i32, lo: f32, hi: f32, scratch: usize,
): void {
  depthwise3(
    2, x, w, y, channelStride, panelStride, lanes, channels, height, width, outHeight, outWidth, padTop, padLeft, lo, hi, scratch,
  );
}
