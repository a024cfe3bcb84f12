// One to eight tokens: outputs lie in the lanes, every weight comes from memory once. Layouts: src/pack/spmv.ts.
//
// What was learned of unstructured weights (3072x768 at 70 % zeros, one token, Zen 4, Node 20 / 24 / 24 relaxed, us):
// - A shuffle is a gather of 16 bytes. A window of 16 inputs that slides over the rows of a block leaves 13 to 18 % of the
//   lanes idle: int8 54 / 52 / 46, f32 (four planes of bytes) 142 / 140 / 104. Indices of 4 bits cost int8 1 to 2 % and
//   save a quarter of the bytes.
// - A bit mask whose values a table and a shuffle expand does the work of a dense kernel and more: int8 221 / 208 / 194,
//   f32 406 / 426 / 348, where dense f32 takes 137 / 130 / 112. It has the fewest bytes (int8 0.43 a weight against 0.58), but
//   expands 11 weights a ns, and dense int8 from memory at 30 GB/s brings 30: a storage format only (src/pack/bitmask.ts).
// - Lane by lane loads, four rows in lanes: f32 210 / 260 / 227; scalar compressed rows 291 / 278 / 275.
// - Relaxed dot products: spmvint8relaxed.ts.
// - Unrolling int8 by two pairs more: nothing. f16 with infinities and NaN: 119 us instead of 58 (groups of 16, 80 %).
import { clamp, madd } from './isa';
import { pick, scatter } from './spmvwindow';
import { N0, N1, N2, N3, N4, put } from './tile';

/** Stores the first n of 4 V outputs. */
// @ts-expect-error: decorator
@inline function putOutputs<V>(y: usize, n: i32, a: v128, b: v128, c: v128, d: v128, lo: v128, hi: v128): void {
  put<N1, N0, N0>(y, clamp(a, lo, hi), min(n, 4));
  if (offsetof<V>() > 1 && n > 4) put<N1, N0, N0>(y + 16, clamp(b, lo, hi), min(n - 4, 4));
  if (offsetof<V>() > 2 && n > 8) put<N1, N0, N0>(y + 32, clamp(c, lo, hi), min(n - 8, 4));
  if (offsetof<V>() > 2 && n > 12) put<N1, N0, N0>(y + 48, clamp(d, lo, hi), min(n - 12, 4));
}

/**
 * Weights 4 K to 4 K + 3 of a record at q. Of half precision (H), from 16 bits of each lane of `u` (the low ones are of
 * output i, the high of i + 4), exactly unless they are infinite or NaN: a shift moves exponent and fraction to where a float
 * has them, and the multiplication by 2^112 corrects the exponent, of subnormal numbers too. One load for eight.
 */
// @ts-expect-error: decorator
@inline function four<K, H>(q: usize, u: v128, mask: v128, correction: v128): v128 {
  if (!offsetof<H>()) return v128.load(q, (offsetof<K>() & 3) << 4);
  return f32x4.mul(v128.and(i32x4.shr_s(offsetof<K>() & 1 ? u : i32x4.shl(u, 16), 3), mask), correction);
}

/**
 * Groups of 4 V outputs that share their inputs. Eight sums at most: two or four sets of a token's, so that no addition waits
 * for the one before, or those of two tokens.
 */
// @ts-expect-error: decorator
@inline function group<V, H>(
  x: usize, sx: usize, y: usize, sy: usize, w: usize, tokens: i32, rows: i32, lists: i32, min: f32, max: f32, k: usize,
): void {
  const v = offsetof<V>();
  const half = offsetof<H>() > 0;
  const row: usize = half ? v * 8 : v * 16;
  const lo = f32x4.splat(min), hi = f32x4.splat(max);
  let m: v128 = f32x4.splat(0), c = m;
  if (half) {
    m = v128.load(k);
    c = v128.load(k, 16);
  }
  for (let j = 0; j < rows; j += <i32>v * 4) {
    const block = w;
    let t = 0;
    do {
      const two = tokens - t > 1;
      let p = x + <usize>t * sx;
      let q = block;
      let a0 = v128.load(q), a1 = a0, a2 = a0, a3 = a0;
      if (v > 1) a1 = v128.load(q, 16);
      if (v > 2) a2 = v128.load(q, 32);
      if (v > 2) a3 = v128.load(q, 48);
      let b0 = a0, b1 = a1, b2 = a2, b3 = a3;
      // Second sets of sums.
      let c0 = f32x4.splat(0), c1 = c0, d0 = c0, d1 = c0;
      let h0 = c0, h1 = c0;
      if (!two) {
        b0 = c0;
        b1 = c0;
        b2 = c0;
        b3 = c0;
      }
      q += v * 16;
      for (let l = 0; l < lists; l++) {
        const n = <usize>load<u32>(q);
        let i = q + 4;
        q = (i + n * 2 + 15) & ~15;
        const end = q + n * row;
        if (two) {
          const r = p + sx;
          while (q < end) {
            let k = <usize>load<u16>(i) << 2;
            let u0 = v128.load32_splat(p + k);
            let u1 = v128.load32_splat(r + k);
            if (half) {
              h0 = v128.load(q);
              h1 = v128.load(q, 16);
            }
            let w0 = four<N0, H>(q, h0, m, c);
            a0 = madd(a0, u0, w0);
            b0 = madd(b0, u1, w0);
            if (v > 1) {
              w0 = four<N1, H>(q, h0, m, c);
              a1 = madd(a1, u0, w0);
              b1 = madd(b1, u1, w0);
            }
            if (v > 2) {
              w0 = four<N2, H>(q, h1, m, c);
              a2 = madd(a2, u0, w0);
              b2 = madd(b2, u1, w0);
              w0 = four<N3, H>(q, h1, m, c);
              a3 = madd(a3, u0, w0);
              b3 = madd(b3, u1, w0);
            }
            q += row;
            i += 2;
            if (v < 4) {
              if (q >= end) break;
              k = <usize>load<u16>(i) << 2;
              u0 = v128.load32_splat(p + k);
              u1 = v128.load32_splat(r + k);
              w0 = four<N0, H>(q, h0, m, c);
              c0 = madd(c0, u0, w0);
              d0 = madd(d0, u1, w0);
              if (v > 1) {
                w0 = four<N1, H>(q, h0, m, c);
                c1 = madd(c1, u0, w0);
                d1 = madd(d1, u1, w0);
              }
              q += row;
              i += 2;
            }
          }
        } else {
          // Four indices a load, since loads bind: 3 to 13 % in V8 13.6 with relaxed SIMD, nothing without; V8 11.3 loads all sixteen
          // vectors first and spills, 20 % slower.
          if (ASC_FEATURE_RELAXED_SIMD && v > 3 && !half) {
            while (q + 3 * row < end) {
              const k = load<u64>(i);
              let u = v128.load32_splat(p + ((<usize>k & 0xffff) << 2));
              a0 = madd(a0, u, v128.load(q));
              a1 = madd(a1, u, v128.load(q, 16));
              a2 = madd(a2, u, v128.load(q, 32));
              a3 = madd(a3, u, v128.load(q, 48));
              u = v128.load32_splat(p + ((<usize>k >> 14) & 0x3fffc));
              b0 = madd(b0, u, v128.load(q, 64));
              b1 = madd(b1, u, v128.load(q, 80));
              b2 = madd(b2, u, v128.load(q, 96));
              b3 = madd(b3, u, v128.load(q, 112));
              u = v128.load32_splat(p + (<usize>(k >> 30) & 0x3fffc));
              a0 = madd(a0, u, v128.load(q, 128));
              a1 = madd(a1, u, v128.load(q, 144));
              a2 = madd(a2, u, v128.load(q, 160));
              a3 = madd(a3, u, v128.load(q, 176));
              u = v128.load32_splat(p + (<usize>(k >> 46) & 0x3fffc));
              b0 = madd(b0, u, v128.load(q, 192));
              b1 = madd(b1, u, v128.load(q, 208));
              b2 = madd(b2, u, v128.load(q, 224));
              b3 = madd(b3, u, v128.load(q, 240));
              q += 256;
              i += 8;
            }
          }
          while (q < end) {
            let u = v128.load32_splat(p + (<usize>load<u16>(i) << 2));
            if (half) {
              h0 = v128.load(q);
              h1 = v128.load(q, 16);
            }
            a0 = madd(a0, u, four<N0, H>(q, h0, m, c));
            if (v > 1) a1 = madd(a1, u, four<N1, H>(q, h0, m, c));
            if (v > 2) a2 = madd(a2, u, four<N2, H>(q, h1, m, c));
            if (v > 2) a3 = madd(a3, u, four<N3, H>(q, h1, m, c));
            q += row;
            if (q >= end) break;
            u = v128.load32_splat(p + (<usize>load<u16>(i, 2) << 2));
            if (half) {
              h0 = v128.load(q);
              h1 = v128.load(q, 16);
            }
            b0 = madd(b0, u, four<N0, H>(q, h0, m, c));
            if (v > 1) b1 = madd(b1, u, four<N1, H>(q, h0, m, c));
            if (v > 2) b2 = madd(b2, u, four<N2, H>(q, h1, m, c));
            if (v > 2) b3 = madd(b3, u, four<N3, H>(q, h1, m, c));
            q += row;
            if (v < 4) {
              if (q >= end) break;
              u = v128.load32_splat(p + (<usize>load<u16>(i, 4) << 2));
              c0 = madd(c0, u, four<N0, H>(q, h0, m, c));
              if (v > 1) c1 = madd(c1, u, four<N1, H>(q, h0, m, c));
              q += row;
              if (q >= end) break;
              u = v128.load32_splat(p + (<usize>load<u16>(i, 6) << 2));
              d0 = madd(d0, u, four<N0, H>(q, h0, m, c));
              if (v > 1) d1 = madd(d1, u, four<N1, H>(q, h0, m, c));
              q += row;
              i += 4;
            }
            i += 4;
          }
        }
        // Indices are 16 bits; the next list starts 65536 inputs on.
        p += 1 << 18;
      }
      if (v < 4) {
        a0 = f32x4.add(a0, c0);
        b0 = f32x4.add(b0, d0);
        if (v > 1) {
          a1 = f32x4.add(a1, c1);
          b1 = f32x4.add(b1, d1);
        }
      }
      const out = y + <usize>t * sy + (<usize>j << 2);
      if (two) putOutputs<V>(out + sy, rows - j, b0, b1, b2, b3, lo, hi);
      else {
        a0 = f32x4.add(a0, b0);
        if (v > 1) a1 = f32x4.add(a1, b1);
        if (v > 2) a2 = f32x4.add(a2, b2);
        if (v > 2) a3 = f32x4.add(a3, b3);
      }
      putOutputs<V>(out, rows - j, a0, a1, a2, a3, lo, hi);
      w = q;
      t += 2;
    } while (t < tokens);
  }
}

/**
 * Y[tokens][rows] = clamp(X[tokens][cols] W^T + bias). sx, sy: bytes between tokens; lists: index lists of a group, one for
 * every 65536 inputs.
 */
export function f32_group16_spmv(
  x: usize, sx: usize, y: usize, sy: usize, w: usize, tokens: i32, rows: i32, lists: i32, min: f32, max: f32,
): void {
  group<N4, N0>(x, sx, y, sy, w, tokens, rows, lists, min, max, 0);
}
export function f32_group8_spmv(
  x: usize, sx: usize, y: usize, sy: usize, w: usize, tokens: i32, rows: i32, lists: i32, min: f32, max: f32,
): void {
  group<N2, N0>(x, sx, y, sy, w, tokens, rows, lists, min, max, 0);
}
export function f32_group4_spmv(
  x: usize, sx: usize, y: usize, sy: usize, w: usize, tokens: i32, rows: i32, lists: i32, min: f32, max: f32,
): void {
  group<N1, N0>(x, sx, y, sy, w, tokens, rows, lists, min, max, 0);
}

/** Weights of half precision, all finite. k: the constants that expand them. */
export function f16_group16_spmv(
  x: usize, sx: usize, y: usize, sy: usize, w: usize, tokens: i32, rows: i32, lists: i32, min: f32, max: f32, k: usize,
): void {
  group<N4, N1>(x, sx, y, sy, w, tokens, rows, lists, min, max, k);
}

/**
 * Unstructured f32: a step gives each of 16 outputs one product with an input of its own, out of a window of 16 inputs. The
 * gather is a byte shuffle of each of the four byte planes of X. xp: bytes between planes; sx: between tokens.
 */
export function f32_window_spmv(
  x: usize, sx: usize, y: usize, sy: usize, w: usize, tokens: i32, rows: i32, lists: i32, min: f32, max: f32, xp: usize,
): void {
  const lo = f32x4.splat(min), hi = f32x4.splat(max);
  for (let j = 0; j < rows; j += 16) {
    const block = w;
    for (let t = 0; t < tokens; t++) {
      let p = x + <usize>t * sx;
      let s = block + 128;
      let a0 = v128.load(block), a1 = v128.load(block, 16), a2 = v128.load(block, 32), a3 = v128.load(block, 48);
      for (let l = 0; l < lists; l++) {
        const n = <usize>load<u32>(s);
        let b = s + 4;
        s = (b + n * 2 + 15) & ~15;
        const end = s + n * 80;
        while (s < end) {
          const i = v128.load(s);
          let q = p + <usize>load<u16>(b);
          const p0 = pick(q, i);
          q += xp;
          const p1 = pick(q, i);
          q += xp;
          const p2 = pick(q, i);
          q += xp;
          const p3 = pick(q, i);
          // Four planes become sixteen floats.
          let h0: v128 = i8x16.shuffle(p0, p1, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
          let h1: v128 = i8x16.shuffle(p2, p3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
          a0 = madd(a0, v128.load(s, 16), i16x8.shuffle(h0, h1, 0, 8, 1, 9, 2, 10, 3, 11));
          a1 = madd(a1, v128.load(s, 32), i16x8.shuffle(h0, h1, 4, 12, 5, 13, 6, 14, 7, 15));
          h0 = i8x16.shuffle(p0, p1, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
          h1 = i8x16.shuffle(p2, p3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
          a2 = madd(a2, v128.load(s, 48), i16x8.shuffle(h0, h1, 0, 8, 1, 9, 2, 10, 3, 11));
          a3 = madd(a3, v128.load(s, 64), i16x8.shuffle(h0, h1, 4, 12, 5, 13, 6, 14, 7, 15));
          s += 80;
          b += 2;
        }
        p += 65536;
      }
      const out = y + <usize>t * sy, n = rows - j;
      scatter<N0>(out, block + 64, n, a0, lo, hi);
      scatter<N1>(out, block + 64, n, a1, lo, hi);
      scatter<N2>(out, block + 64, n, a2, lo, hi);
      scatter<N3>(out, block + 64, n, a3, lo, hi);
      w = s;
    }
  }
}

/** X[tokens][cols] as byte planes Q[tokens][4][xp], where xp >= cols + 16; what lies past cols is left alone. */
export function f32_window_split(x: usize, q: usize, xp: usize, tokens: i32, cols: i32): void {
  for (let t = 0; t < tokens; t++) {
    let k = 0;
    for (; k <= cols - 16; k += 16) {
      const a = v128.load(x), b = v128.load(x, 16), c = v128.load(x, 32), d = v128.load(x, 48);
      // Twice, bytes 0 and 2 of every number go to the left and bytes 1 and 3 to the right.
      const ab0: v128 = i8x16.shuffle(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
      const ab1: v128 = i8x16.shuffle(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
      const cd0: v128 = i8x16.shuffle(c, d, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
      const cd1: v128 = i8x16.shuffle(c, d, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
      let p = q + <usize>k;
      v128.store(p, i8x16.shuffle(ab0, cd0, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30));
      p += xp;
      v128.store(p, i8x16.shuffle(ab1, cd1, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30));
      p += xp;
      v128.store(p, i8x16.shuffle(ab0, cd0, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31));
      p += xp;
      v128.store(p, i8x16.shuffle(ab1, cd1, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31));
      x += 64;
    }
    for (; k < cols; k++) {
      let bits = load<u32>(x);
      for (let p = q + <usize>k, j = 0; j < 4; j++) {
        store<u8>(p, <u8>bits);
        bits >>= 8;
        p += xp;
      }
      x += 4;
    }
    q += xp << 2;
  }
}
