// f32 activations to the quantised panels that the int8 kernels read, and the scales and zero points for it. q = x / s rounded
// to nearest even, plus z, limited; a division, not a product with 1 / s, so that integers equal those of ONNX.
//
// Scales and zero points of eight columns are a block of 64 bytes: [8 f32 s] [8 i32 z].
import { min_i32, nearest } from './int8store';
import { N0, N1, get } from './tile';

// `layout` of a panel of eight columns: rows of i16; of four rows and columns the even rows interleaved, then the odd ones; rows of
// bytes; four rows of them interleaved.
const ROWS = 0, EVEN_ODD = 1, BYTES = 2;

/**
 * Four lanes of x / s, rounded. S = N1, a static scale: not a number made 0, limited. A scale found in these very numbers leaves
 * at most two steps past the range, where it is subnormal, which 16 bits are limited to; one of NaN makes outputs NaN, whatever
 * the integers are.
 */
// @ts-expect-error: decorator
@inline function steps<S>(x: v128, s: v128, lo: v128, hi: v128): v128 {
  const f = f32x4.div(x, s);
  if (!offsetof<S>()) return nearest(f);
  return nearest(f32x4.pmin(f32x4.pmax(v128.and(f, f32x4.eq(f, f)), lo), hi));
}

/** Scales and zero points of four columns from their extremes; z < 0: from the least and the greatest, else from the magnitude. */
function settle(at: usize, least: v128, most: v128, n: f32, z: i32): void {
  const zero = f32x4.splat(0);
  if (z < 0) most = f32x4.pmin(f32x4.sub(most, least), f32x4.splat(f32.MAX_VALUE));
  let s = f32x4.div(most, f32x4.splat(n));
  // Zero to 1; infinite to NaN, which says more than zeros.
  s = v128.bitselect(f32x4.splat(1), f32x4.add(s, f32x4.sub(s, s)), f32x4.eq(s, zero));
  v128.store(at, s);
  if (z >= 0) v128.store(at, i32x4.splat(z), 32);
  else v128.store(at, nearest(f32x4.pmin(f32x4.pmax(zero, f32x4.div(f32x4.neg(least), s)), f32x4.splat(n))), 32);
}

/** The extreme of four lanes in each of them. */
// @ts-expect-error: decorator
@inline function across(v: v128, least: bool): v128 {
  let w = i32x4.shuffle(v, v, 2, 3, 0, 1);
  v = least ? f32x4.min(v, w) : f32x4.max(v, w);
  w = i32x4.shuffle(v, v, 1, 0, 3, 2);
  return least ? f32x4.min(v, w) : f32x4.max(v, w);
}

/** |x| of four lanes as an integer: in order, NaN above infinity. */
// @ts-expect-error: decorator
@inline function magnitude(x: v128): v128 {
  return v128.and(x, i32x4.splat(0x7fffffff));
}

/** Least (at o + 16) and greatest (at o) of n vectors of four lanes, `by` bytes apart, and 0; for magnitudes, only those. */
function extremes(x: usize, by: usize, n: i32, live: i32, signed: bool, o: usize): void {
  let a = f32x4.splat(0), b = a, bad = a;
  if (live < 4) {
    for (; n > 0; n--, x += by) {
      const v = get<N1, N0, N0>(x, live);
      if (signed) {
        a = f32x4.pmax(a, v);
        b = f32x4.pmin(b, v);
        bad = v128.or(bad, f32x4.sub(v, v));
      } else a = i32x4.max_s(a, magnitude(v));
    }
  } else if (signed) {
    for (; n > 0; n--, x += by) {
      const v = v128.load(x);
      a = f32x4.pmax(a, v);
      b = f32x4.pmin(b, v);
      bad = v128.or(bad, f32x4.sub(v, v));
    }
  } else {
    let c = a, d = a, e = a;
    for (; n > 3; n -= 4, x += by << 2) {
      const y = x + (by << 1);
      a = i32x4.max_s(a, magnitude(v128.load(x)));
      c = i32x4.max_s(c, magnitude(v128.load(x + by)));
      d = i32x4.max_s(d, magnitude(v128.load(y)));
      e = i32x4.max_s(e, magnitude(v128.load(y + by)));
    }
    for (; n > 0; n--, x += by) a = i32x4.max_s(a, magnitude(v128.load(x)));
    a = i32x4.max_s(i32x4.max_s(a, c), i32x4.max_s(d, e));
  }
  v128.store(o, f32x4.add(a, bad));
  v128.store(o, b, 16);
}

/**
 * Blocks of scales and zero points of all columns, or with `tensor` one block for all. n: steps of the scale, the greatest
 * integer; z < 0: an asymmetric range from the least and greatest value, and 0, in n steps, with a zero point; else the
 * magnitude in n steps around z. o: 32 bytes of scratch.
 * x: channels of a column xc bytes apart, panels of 16 columns xp bytes.
 */
export function i8_panels_range(
  x: usize, xc: usize, xp: usize, channels: i32, columns: i32, at: usize, tensor: i32, n: f32, z: i32, o: usize,
): void {
  let most = f32x4.splat(0), least = most;
  for (let p = 0; p < columns; p += 4) {
    const from = x + <usize>(p >> 4) * xp + (<usize>(p & 15) << 2);
    extremes(from, xc, channels, min_i32(columns - p, 4), z < 0, o);
    const a = v128.load(o), b = v128.load(o, 16);
    if (tensor) {
      most = f32x4.max(most, a);
      least = f32x4.min(least, b);
    } else settle(at + (<usize>(p >> 3) << 6) + (<usize>(p & 4) << 2), b, a, n, z);
  }
  if (tensor) whole(at, least, most, n, z);
}

/** The same for x row-major, `row` bytes between tokens. */
export function i8_tokens_range(
  x: usize, row: usize, channels: i32, columns: i32, at: usize, tensor: i32, n: f32, z: i32, o: usize,
): void {
  let most = f32x4.splat(0), least = most;
  for (let p = 0; p < columns; p++, x += row) {
    extremes(x, 16, channels >> 2, 4, z < 0, o);
    let a = v128.load(o), b = v128.load(o, 16);
    if (channels & 3) {
      extremes(x + (<usize>(channels & ~3) << 2), 16, 1, channels & 3, z < 0, o);
      a = f32x4.max(a, v128.load(o));
      b = f32x4.min(b, v128.load(o, 16));
    }
    if (tensor) {
      most = f32x4.max(most, a);
      least = f32x4.min(least, b);
    } else {
      settle(o, across(b, true), across(a, false), n, z);
      const to = at + (<usize>(p >> 3) << 6) + (<usize>(p & 7) << 2);
      store<f32>(to, load<f32>(o));
      store<f32>(to, load<f32>(o, 32), 32);
    }
  }
  if (tensor) whole(at, least, most, n, z);
}

/** One block for the whole tensor. */
function whole(at: usize, least: v128, most: v128, n: f32, z: i32): void {
  least = across(least, true);
  most = across(most, false);
  settle(at, least, most, n, z);
  settle(at + 16, least, most, n, z);
}

/** Limits each lane to [-z, n - z]. */
// @ts-expect-error: decorator
@inline function within(v: v128, z: v128, n: v128): v128 {
  return i16x8.max_s(i16x8.min_s(v, i16x8.sub(n, z)), i16x8.neg(z));
}
// @ts-expect-error: decorator
@inline function between(v: v128, lo: v128, hi: v128): v128 {
  return i16x8.max_s(i16x8.min_s(v, hi), lo);
}

/** Four rows of eight columns at q, even and odd rows apart. */
// @ts-expect-error: decorator
@inline function apart(q: usize, a: v128, b: v128, c: v128, d: v128): void {
  v128.store(q, i16x8.shuffle(a, c, 0, 8, 1, 9, 2, 10, 3, 11));
  v128.store(q, i16x8.shuffle(b, d, 0, 8, 1, 9, 2, 10, 3, 11), 16);
  v128.store(q, i16x8.shuffle(a, c, 4, 12, 5, 13, 6, 14, 7, 15), 32);
  v128.store(q, i16x8.shuffle(b, d, 4, 12, 5, 13, 6, 14, 7, 15), 48);
}

/**
 * Panels of 8 columns, yp bytes apart, inputs padded to a multiple of 4. at: the blocks of scales and zero points, lp apart.
 * lo, hi: limits of the quantised values less the zero point; n: 0 for scales that are given, below 0 for those of magnitudes;
 * above it the limits are -z and n - z of each column.
 */
export function i8_panels_quantize(
  x: usize, xc: usize, xp: usize, channels: i32, columns: i32, at: usize, lp: usize, lo: f32, hi: f32, n: i32,
  y: usize, yp: usize, layout: i32,
): void {
  if (n) panelsQuantize<N0>(x, xc, xp, channels, columns, at, lp, lo, hi, n, y, yp, layout);
  else panelsQuantize<N1>(x, xc, xp, channels, columns, at, lp, lo, hi, n, y, yp, layout);
}

function panelsQuantize<S>(
  x: usize, xc: usize, xp: usize, channels: i32, columns: i32, at: usize, lp: usize, lo: f32, hi: f32, n: i32,
  y: usize, yp: usize, layout: i32,
): void {
  const l = f32x4.splat(lo), h = f32x4.splat(hi), limit = i16x8.splat(<i16>n);
  const least = i16x8.splat(<i16>lo), most = i16x8.splat(<i16>hi);
  for (let p = 0; p < columns; p += 8, y += yp, at += lp) {
    let from = x + <usize>(p >> 4) * xp + (<usize>(p & 8) << 2);
    const s = v128.load(at), t = v128.load(at, 16);
    const z = i16x8.narrow_i32x4_s(v128.load(at, 32), v128.load(at, 48));
    const live = columns - p;
    let q = y;
    let left = channels;
    for (; left > 0; left -= 4, from += xc << 2) {
      let a: v128, b: v128 = i16x8.splat(0), c = b, d = b;
      if (live > 7) {
        a = i16x8.narrow_i32x4_s(steps<S>(v128.load(from), s, l, h), steps<S>(v128.load(from, 16), t, l, h));
        if (left > 1) {
          const f = from + xc;
          b = i16x8.narrow_i32x4_s(steps<S>(v128.load(f), s, l, h), steps<S>(v128.load(f, 16), t, l, h));
        }
        if (left > 2) {
          const f = from + (xc << 1);
          c = i16x8.narrow_i32x4_s(steps<S>(v128.load(f), s, l, h), steps<S>(v128.load(f, 16), t, l, h));
        }
        if (left > 3) {
          const f = from + xc * 3;
          d = i16x8.narrow_i32x4_s(steps<S>(v128.load(f), s, l, h), steps<S>(v128.load(f, 16), t, l, h));
        }
      } else {
        a = few<S>(from, live, s, t, l, h);
        if (left > 1) b = few<S>(from + xc, live, s, t, l, h);
        if (left > 2) c = few<S>(from + (xc << 1), live, s, t, l, h);
        if (left > 3) d = few<S>(from + xc * 3, live, s, t, l, h);
      }
      if (n < 0) {
        a = between(a, least, most);
        b = between(b, least, most);
        c = between(c, least, most);
        d = between(d, least, most);
      } else if (n) {
        a = within(a, z, limit);
        b = within(b, z, limit);
        c = within(c, z, limit);
        d = within(d, z, limit);
      }
      if (layout == ROWS) {
        v128.store(q, a);
        v128.store(q, b, 16);
        v128.store(q, c, 32);
        v128.store(q, d, 48);
        q += 64;
      } else if (layout == EVEN_ODD) {
        apart(q, a, b, c, d);
        q += 64;
      } else {
        a = i8x16.narrow_i16x8_u(i16x8.add(a, z), i16x8.add(b, z));
        c = i8x16.narrow_i16x8_u(i16x8.add(c, z), i16x8.add(d, z));
        if (layout == BYTES) {
          v128.store(q, a);
          v128.store(q, c, 16);
        } else {
          a = i8x16.shuffle(a, a, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
          c = i8x16.shuffle(c, c, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
          v128.store(q, i16x8.shuffle(a, c, 0, 8, 1, 9, 2, 10, 3, 11));
          v128.store(q, i16x8.shuffle(a, c, 4, 12, 5, 13, 6, 14, 7, 15), 16);
        }
        q += 32;
      }
    }
  }
}

/** Fewer than eight columns of one input; the others are 0. */
function few<S>(x: usize, live: i32, s: v128, t: v128, lo: v128, hi: v128): v128 {
  const a = steps<S>(get<N1, N0, N0>(x, min_i32(live, 4)), s, lo, hi);
  const b = live > 4 ? steps<S>(get<N1, N0, N0>(x + 16, live - 4), t, lo, hi) : i32x4.splat(0);
  return i16x8.narrow_i32x4_s(a, b);
}

/** Two tokens by four inputs, side by side; the last inputs may be `live`. F = N1: four. */
// @ts-expect-error: decorator
@inline function two<S, F>(p: usize, r: usize, at: usize, live: i32, lo: v128, hi: v128, n: i32, l: v128, h: v128): v128 {
  const a = offsetof<F>() ? v128.load(p) : get<N1, N0, N0>(p, live);
  const b = offsetof<F>() ? v128.load(r) : get<N1, N0, N0>(r, live);
  const v = i16x8.narrow_i32x4_s(steps<S>(a, v128.load32_splat(at), lo, hi), steps<S>(b, v128.load32_splat(at, 4), lo, hi));
  if (offsetof<S>()) return v;
  return n > 0 ? within(v, zeros(at), i16x8.splat(<i16>n)) : between(v, l, h);
}

/** The zero points of two tokens, four lanes each. */
// @ts-expect-error: decorator
@inline function zeros(at: usize): v128 {
  return i16x8.narrow_i32x4_s(v128.load32_splat(at, 32), v128.load32_splat(at, 36));
}

/** Four inputs of eight tokens to q, as `layout` says. */
// @ts-expect-error: decorator
@inline function tokenQuad(a: v128, b: v128, c: v128, d: v128, at: usize, q: usize, layout: i32): void {
  if (layout == EVEN_ODD) {
    v128.store(q, i16x8.shuffle(a, b, 0, 2, 4, 6, 8, 10, 12, 14));
    v128.store(q, i16x8.shuffle(a, b, 1, 3, 5, 7, 9, 11, 13, 15), 16);
    v128.store(q, i16x8.shuffle(c, d, 0, 2, 4, 6, 8, 10, 12, 14), 32);
    v128.store(q, i16x8.shuffle(c, d, 1, 3, 5, 7, 9, 11, 13, 15), 48);
  } else if (layout == ROWS) {
    // Pairs of inputs of tokens 0 to 3 and 4 to 7.
    const e = i32x4.shuffle(a, b, 0, 2, 4, 6), f = i32x4.shuffle(c, d, 0, 2, 4, 6);
    const g = i32x4.shuffle(a, b, 1, 3, 5, 7), i = i32x4.shuffle(c, d, 1, 3, 5, 7);
    v128.store(q, i16x8.shuffle(e, f, 0, 2, 4, 6, 8, 10, 12, 14));
    v128.store(q, i16x8.shuffle(e, f, 1, 3, 5, 7, 9, 11, 13, 15), 16);
    v128.store(q, i16x8.shuffle(g, i, 0, 2, 4, 6, 8, 10, 12, 14), 32);
    v128.store(q, i16x8.shuffle(g, i, 1, 3, 5, 7, 9, 11, 13, 15), 48);
  } else {
    a = i8x16.narrow_i16x8_u(i16x8.add(a, zeros(at)), i16x8.add(b, zeros(at + 8)));
    c = i8x16.narrow_i16x8_u(i16x8.add(c, zeros(at + 16)), i16x8.add(d, zeros(at + 24)));
    if (layout == BYTES) {
      v128.store(q, i8x16.shuffle(a, c, 0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29));
      v128.store(q, i8x16.shuffle(a, c, 2, 6, 10, 14, 18, 22, 26, 30, 3, 7, 11, 15, 19, 23, 27, 31), 16);
    } else {
      v128.store(q, a);
      v128.store(q, c, 16);
    }
  }
}

/** The same for x row-major, `row` bytes between tokens. The lanes of a panel past the last token repeat it. */
export function i8_tokens_quantize(
  x: usize, row: usize, channels: i32, columns: i32, at: usize, lp: usize, lo: f32, hi: f32, n: i32,
  y: usize, yp: usize, layout: i32,
): void {
  if (n) tokensQuantize<N0>(x, row, channels, columns, at, lp, lo, hi, n, y, yp, layout);
  else tokensQuantize<N1>(x, row, channels, columns, at, lp, lo, hi, n, y, yp, layout);
}

function tokensQuantize<S>(
  x: usize, row: usize, channels: i32, columns: i32, at: usize, lp: usize, lo: f32, hi: f32, n: i32,
  y: usize, yp: usize, layout: i32,
): void {
  const l = f32x4.splat(lo), h = f32x4.splat(hi), i = i16x8.splat(<i16>lo), j = i16x8.splat(<i16>hi);
  const bytes: usize = layout < BYTES ? 64 : 32;
  for (; columns > 0; columns -= 8, x += row << 3, y += yp, at += lp) {
    const last = x + row * <usize>(columns - 1);
    let p0 = x, p1 = min_usize(x + row, last), p2 = min_usize(x + row * 2, last), p3 = min_usize(x + row * 3, last);
    let p4 = min_usize(x + row * 4, last), p5 = min_usize(x + row * 5, last), p6 = min_usize(x + row * 6, last);
    let p7 = min_usize(x + row * 7, last);
    let q = y, live = channels;
    for (; live > 3; live -= 4, q += bytes) {
      const a = two<S, N1>(p0, p1, at, 4, l, h, n, i, j);
      const b = two<S, N1>(p2, p3, at + 8, 4, l, h, n, i, j);
      const c = two<S, N1>(p4, p5, at + 16, 4, l, h, n, i, j);
      const d = two<S, N1>(p6, p7, at + 24, 4, l, h, n, i, j);
      tokenQuad(a, b, c, d, at, q, layout);
      p0 += 16;
      p1 += 16;
      p2 += 16;
      p3 += 16;
      p4 += 16;
      p5 += 16;
      p6 += 16;
      p7 += 16;
    }
    if (live > 0) {
      const a = two<S, N0>(p0, p1, at, live, l, h, n, i, j);
      const b = two<S, N0>(p2, p3, at + 8, live, l, h, n, i, j);
      const c = two<S, N0>(p4, p5, at + 16, live, l, h, n, i, j);
      const d = two<S, N0>(p6, p7, at + 24, live, l, h, n, i, j);
      tokenQuad(a, b, c, d, at, q, layout);
    }
  }
}

/**
 * Panels of 8 columns, xp bytes apart, from rows of i16 to even and odd rows apart, where they are. Rows that fill the last four
 * become 0: whoever wrote the panel left there what was in memory.
 */
export function i8_panels_apart(x: usize, xp: usize, columns: i32, inputs: i32): void {
  for (; columns > 0; columns -= 8, x += xp) {
    let q = x;
    for (let left = inputs; left > 0; left -= 4, q += 64) {
      const a = v128.load(q);
      let b = v128.load(q, 16), c = v128.load(q, 32), d = v128.load(q, 48);
      if (left < 4) {
        d = i16x8.splat(0);
        if (left < 3) c = d;
        if (left < 2) b = d;
      }
      apart(q, a, b, c, d);
    }
  }
}

// @ts-expect-error: decorator
@inline function min_usize(a: usize, b: usize): usize {
  return a < b ? a : b;
}
