// int8 weights by quantised activations, exact in i32: SpMM for groups of 4 output channels and dense. Layout: src/pack/int8.ts.
//
// Two inputs, any two, are interleaved in the kernel: unpacking costs 12 % of a pair's eight dot products, and no pattern of
// pairs is asked of whoever prunes. Activations are 16 bits in panels of 8 tokens, so a zero point is subtracted when they are
// quantised and needs no correction later; weights widen from 8 bits as they are loaded.
import { N0, N1, get, put } from './tile';
import { clamp } from './isa';

/** Lane K of w everywhere: the pair of weights of one output. */
// @ts-expect-error: decorator
@inline function pair<K>(w: v128): v128 {
  return i32x4.shuffle(w, w, <u8>offsetof<K>(), <u8>offsetof<K>(), <u8>offsetof<K>(), <u8>offsetof<K>());
}
class L0 {}
class L1 { a: u8; }
class L2 { a: u8; b: u8; }
class L3 { a: u8; b: u8; c: u8; }

/** Eight tokens of one output to f32: sum x scale of the row x scale of the token + bias, limited. */
// @ts-expect-error: decorator
@inline function toFloat(y: usize, lo4: v128, hi4: v128, s: v128, b: v128, t0: v128, t1: v128, live: i32, lo: v128, hi: v128): void {
  const a = clamp(f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(lo4), f32x4.mul(s, t0)), b), lo, hi);
  put<N1, N0, N0>(y, a, min(live, 4));
  if (live > 4) put<N1, N0, N0>(y + 16, clamp(f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(hi4), f32x4.mul(s, t1)), b), lo, hi), live - 4);
}

/** The same to the next layer's 16-bit panel: rounded to nearest even, limited, through a table of 16-bit entries if there is one. */
// @ts-expect-error: decorator
@inline function toPanel(y: usize, lo4: v128, hi4: v128, s: v128, b: v128, t0: v128, t1: v128, lo: v128, hi: v128, table: usize): void {
  const a = clamp(f32x4.nearest(f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(lo4), f32x4.mul(s, t0)), b)), lo, hi);
  const c = clamp(f32x4.nearest(f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(hi4), f32x4.mul(s, t1)), b)), lo, hi);
  v128.store(y, i16x8.narrow_i32x4_s(i32x4.trunc_sat_f32x4_s(a), i32x4.trunc_sat_f32x4_s(c)));
  if (table) for (let i: usize = 0; i < 16; i += 2) store<i16>(y + i, load<i16>(table + ((<usize>load<i16>(y + i)) << 1)));
}

/** toFloat of row R of a group, for eight tokens. */
// @ts-expect-error: decorator
@inline function whole<R>(y: usize, head: usize, lo4: v128, hi4: v128, t0: v128, t1: v128, lo: v128, hi: v128): void {
  const s = v128.load32_splat(head + (offsetof<R>() << 2), 8), b = v128.load32_splat(head + (offsetof<R>() << 2), 24);
  v128.store(y, clamp(f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(lo4), f32x4.mul(s, t0)), b), lo, hi));
  v128.store(y, clamp(f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(hi4), f32x4.mul(s, t1)), b), lo, hi), 16);
}

/** Eight tokens by all groups between s and last. D: every input in turn. */
// @ts-expect-error: decorator
@inline function tile<D>(
  x: usize, y: usize, yc: usize, s: usize, last: usize, scales: usize, live: i32, panel: i32, min: f32, max: f32, table: usize,
): void {
  const t0 = v128.load(scales), t1 = v128.load(scales, 16);
  const lo = f32x4.splat(min), hi = f32x4.splat(max);
  while (s < last) {
    const n = <usize>load<u32>(s);
    const rows = load<i32>(s, 4);
    const head = s;
    let i = s + 40;
    let w = i;
    if (!offsetof<D>()) w = (i + (n << 2) + 15) & ~15;
    else w = (i + 15) & ~15;
    const end = w + (n << 4);
    let a0 = i32x4.splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
    if (offsetof<D>()) {
      for (let p = x; w < end; w += 16, p += 32) {
        const ww = v128.load(w);
        // Pairs lie interleaved.
        const u = v128.load(p), v = v128.load(p, 16);
        let q: v128;
        q = pair<L0>(ww);
        a0 = i32x4.add(a0, i32x4.dot_i16x8_s(q, u));
        a1 = i32x4.add(a1, i32x4.dot_i16x8_s(q, v));
        q = pair<L1>(ww);
        b0 = i32x4.add(b0, i32x4.dot_i16x8_s(q, u));
        b1 = i32x4.add(b1, i32x4.dot_i16x8_s(q, v));
        q = pair<L2>(ww);
        c0 = i32x4.add(c0, i32x4.dot_i16x8_s(q, u));
        c1 = i32x4.add(c1, i32x4.dot_i16x8_s(q, v));
        q = pair<L3>(ww);
        d0 = i32x4.add(d0, i32x4.dot_i16x8_s(q, u));
        d1 = i32x4.add(d1, i32x4.dot_i16x8_s(q, v));
      }
    } else {
      for (; w < end; w += 16) {
        const k = load<u32>(i);
        i += 4;
        const x0 = v128.load(x + <usize>(k & 0xffff)), x1 = v128.load(x + <usize>(k >> 16));
        const ww = v128.load(w);
        const u = i16x8.shuffle(x0, x1, 0, 8, 1, 9, 2, 10, 3, 11);
        const v = i16x8.shuffle(x0, x1, 4, 12, 5, 13, 6, 14, 7, 15);
        let q: v128;
        q = pair<L0>(ww);
        a0 = i32x4.add(a0, i32x4.dot_i16x8_s(q, u));
        a1 = i32x4.add(a1, i32x4.dot_i16x8_s(q, v));
        q = pair<L1>(ww);
        b0 = i32x4.add(b0, i32x4.dot_i16x8_s(q, u));
        b1 = i32x4.add(b1, i32x4.dot_i16x8_s(q, v));
        if (!i) break;
        q = pair<L2>(ww);
        c0 = i32x4.add(c0, i32x4.dot_i16x8_s(q, u));
        c1 = i32x4.add(c1, i32x4.dot_i16x8_s(q, v));
        q = pair<L3>(ww);
        d0 = i32x4.add(d0, i32x4.dot_i16x8_s(q, u));
        d1 = i32x4.add(d1, i32x4.dot_i16x8_s(q, v));
      }
    }
    s = end;
    if (rows == 4 && live == 8 && !panel) {
      whole<L0>(y, head, a0, a1, t0, t1, lo, hi);
      y += yc;
      whole<L1>(y, head, b0, b1, t0, t1, lo, hi);
      y += yc;
      whole<L2>(y, head, c0, c1, t0, t1, lo, hi);
      y += yc;
      whole<L3>(y, head, d0, d1, t0, t1, lo, hi);
      y += yc;
      continue;
    }
    for (let r = 0; r < rows; r++) {
      const sr = v128.load32_splat(head + 8 + (<usize>r << 2));
      const br = v128.load32_splat(head + 24 + (<usize>r << 2));
      if (panel) toPanel(y, a0, a1, sr, br, t0, t1, lo, hi, table);
      else toFloat(y, a0, a1, sr, br, t0, t1, live, lo, hi);
      a0 = b0;
      a1 = b1;
      b0 = c0;
      b1 = c1;
      c0 = d0;
      c1 = d1;
      y += yc;
    }
  }
}

// @ts-expect-error: decorator
@inline function product<D>(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, scales: usize, panel: i32,
  min: f32, max: f32, table: usize,
): void {
  for (let p = 0; p < columns; p += 8, x += xp, scales += 32) {
    // f32 panels have 16 lanes, two tiles each.
    const to = panel ? y + <usize>(p >> 3) * yp : y + <usize>(p >> 4) * yp + (<usize>(p & 8) << 2);
    tile<D>(x, to, yc, s, last, scales, min_i32(columns - p, 8), panel, min, max, table);
  }
}
// @ts-expect-error: decorator
@inline function min_i32(a: i32, b: i32): i32 {
  return a < b ? a : b;
}

/**
 * Y = clamp(W X + bias): X in panels of 8 tokens [K][8] i16, xp bytes apart; scales: f32 for each token, to a multiple of 8.
 * panel 0: Y is f32, plain or in panels of 16 lanes; 1: Y is i16 panels of 8, yp bytes apart, for the next layer: scales then
 * hold scale of the token / scale of Y, the packed biases count in steps of Y, and an entry of `table` (or 0), at byte
 * 2 q for q from min to max, replaces q.
 */
export function i8_group4_spmm_8x4(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, scales: usize, panel: i32,
  min: f32, max: f32, table: usize,
): void {
  product<L0>(x, xp, y, yp, yc, columns, s, last, scales, panel, min, max, table);
}
export function i8_dense_spmm_8x4(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, scales: usize, panel: i32,
  min: f32, max: f32, table: usize,
): void {
  product<L1>(x, xp, y, yp, yc, columns, s, last, scales, panel, min, max, table);
}

/** Largest magnitudes to scales. An infinite scale would make zeros of numbers: NaN says it. */
function scaleOf(most: v128): v128 {
  const s = f32x4.div(most, f32x4.splat(127));
  return v128.bitselect(f32x4.splat(1), f32x4.add(s, f32x4.sub(s, s)), f32x4.eq(s, f32x4.splat(0)));
}

/**
 * The scale of each token, largest magnitude / 127 (1 where all are zero; NaN where one is NaN or infinite), or with `tensor`
 * the largest of all. x as in assembly/README.md with panels of 16; writes a multiple of 8 scales.
 */
export function i8_panels_scales(
  x: usize, xc: usize, xp: usize, channels: i32, columns: i32, scales: usize, tensor: i32,
): void {
  let all = f32x4.splat(0);
  const end = scales + (<usize>((columns + 7) & ~7) << 2);
  let t = scales;
  for (let p = 0; t < end; p += 4, t += 16) {
    let from = x + <usize>(p >> 4) * xp + (<usize>(p & 15) << 2);
    const live = columns - p;
    let most = f32x4.splat(0);
    if (live > 12) {
      // The whole of a panel's row, for its four scales.
      let m1 = most, m2 = most, m3 = most;
      for (let c = 0; c < channels; c++, from += xc) {
        most = f32x4.max(most, f32x4.abs(v128.load(from)));
        m1 = f32x4.max(m1, f32x4.abs(v128.load(from, 16)));
        m2 = f32x4.max(m2, f32x4.abs(v128.load(from, 32)));
        m3 = f32x4.max(m3, f32x4.abs(live > 15 ? v128.load(from, 48) : get<N1, N0, N0>(from + 48, live - 12)));
      }
      all = f32x4.max(f32x4.max(all, most), f32x4.max(m1, f32x4.max(m2, m3)));
      v128.store(t, scaleOf(most));
      v128.store(t, scaleOf(m1), 16);
      v128.store(t, scaleOf(m2), 32);
      p += 12;
      t += 48;
      v128.store(t, scaleOf(m3));
      continue;
    }
    const four = min_i32(live, 4);
    if (four == 4) for (let c = 0; c < channels; c++, from += xc) most = f32x4.max(most, f32x4.abs(v128.load(from)));
    else if (four > 0) for (let c = 0; c < channels; c++, from += xc) most = f32x4.max(most, f32x4.abs(get<N1, N0, N0>(from, four)));
    all = f32x4.max(all, most);
    v128.store(t, scaleOf(most));
  }
  if (!tensor) return;
  all = f32x4.max(all, i32x4.shuffle(all, all, 2, 3, 0, 1));
  all = scaleOf(f32x4.max(all, i32x4.shuffle(all, all, 1, 0, 3, 2)));
  for (t = scales; t < end; t += 16) v128.store(t, all);
}

/**
 * f32 to i16 panels of 8: x times the reciprocal of the token's scale, rounded to nearest even, limited to [lo, hi] (the range of the quantised
 * type less the zero point); NaN becomes 0. y: [channels][8] a panel, yp bytes apart.
 */
export function i8_panels_quantize(
  x: usize, xc: usize, xp: usize, channels: i32, columns: i32, scales: usize, y: usize, yp: usize, lo: f32, hi: f32, pairs: i32,
): void {
  const low = f32x4.splat(lo), high = f32x4.splat(hi);
  for (let p = 0; p < columns; p += 8, y += yp, scales += 32) {
    let from = x + <usize>(p >> 4) * xp + (<usize>(p & 8) << 2);
    const one = f32x4.splat(1);
    const s0 = f32x4.div(one, v128.load(scales)), s1 = f32x4.div(one, v128.load(scales, 16));
    const live = min_i32(columns - p, 8);
    let q = y;
    for (let c = 0; c < channels; c++, from += xc, q += 16) {
      let a: v128, b: v128 = f32x4.splat(0);
      if (live == 8) {
        a = v128.load(from);
        b = v128.load(from, 16);
      } else {
        a = get<N1, N0, N0>(from, min_i32(live, 4));
        if (live > 4) b = get<N1, N0, N0>(from + 16, live - 4);
      }
      a = f32x4.pmin(f32x4.pmax(f32x4.nearest(f32x4.mul(a, s0)), low), high);
      b = f32x4.pmin(f32x4.pmax(f32x4.nearest(f32x4.mul(b, s1)), low), high);
      const v = i16x8.narrow_i32x4_s(i32x4.trunc_sat_f32x4_s(a), i32x4.trunc_sat_f32x4_s(b));
      if (pairs && c & 1) {
        const u = v128.load(q - 16);
        v128.store(q - 16, i16x8.shuffle(u, v, 0, 8, 1, 9, 2, 10, 3, 11));
        v128.store(q, i16x8.shuffle(u, v, 4, 12, 5, 13, 6, 14, 7, 15));
      } else v128.store(q, v);
    }
    if (pairs && channels & 1) {
      const u = v128.load(q - 16), zero = i16x8.splat(0);
      v128.store(q - 16, i16x8.shuffle(u, zero, 0, 8, 1, 9, 2, 10, 3, 11));
      v128.store(q, i16x8.shuffle(u, zero, 4, 12, 5, 13, 6, 14, 7, 15));
    }
  }
}
