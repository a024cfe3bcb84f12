// int8 weights in windows, by quantised activations and by f32. What was learned of windows: spmv.ts; layouts: src/pack/spmv.ts.
import { madd } from './isa';
import { dequantise, pick, scatter } from './spmvwindow';
import { N0, N1, N2, N3, N8 } from './tile';

/** Four of eight 16-bit weights as floats. */
// @ts-expect-error: decorator
@inline function low4(h: v128): v128 {
  return f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(h));
}
// @ts-expect-error: decorator
@inline function high4(h: v128): v128 {
  return f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(h));
}

/**
 * Unstructured int8 by f32 activations: as f32_window_spmv, with integers made floats, and Y = clamp(scales (W X) + bias). In a
 * cache it takes a quarter longer than that; where f32 weights come from memory (4096x4096 at 70 %, one token, Node 20) 1.4 ms
 * instead of 1.8 to 2.7. Multiplying every weight by its scale takes 15 % longer still (208 us instead of 184, 3072x768).
 */
export function i8_window_f32spmv(
  x: usize, sx: usize, y: usize, sy: usize, w: usize, tokens: i32, rows: i32, lists: i32, min: f32, max: f32, xp: usize,
): void {
  const lo = f32x4.splat(min), hi = f32x4.splat(max);
  for (let j = 0; j < rows; j += 16) {
    const block = w;
    for (let t = 0; t < tokens; t++) {
      let p = x + <usize>t * sx;
      let s = block + 192;
      let a0: v128 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
      for (let l = 0; l < lists; l++) {
        const n = <usize>load<u32>(s);
        let b = s + 4;
        s = (b + n * 2 + 15) & ~15;
        const end = s + n * 32;
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
          let h0: v128 = i8x16.shuffle(p0, p1, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
          let h1: v128 = i8x16.shuffle(p2, p3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
          let e = v128.load8x8_s(s, 16);
          a0 = madd(a0, low4(e), i16x8.shuffle(h0, h1, 0, 8, 1, 9, 2, 10, 3, 11));
          a1 = madd(a1, high4(e), i16x8.shuffle(h0, h1, 4, 12, 5, 13, 6, 14, 7, 15));
          h0 = i8x16.shuffle(p0, p1, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
          h1 = i8x16.shuffle(p2, p3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
          e = v128.load8x8_s(s, 24);
          a2 = madd(a2, low4(e), i16x8.shuffle(h0, h1, 0, 8, 1, 9, 2, 10, 3, 11));
          a3 = madd(a3, high4(e), i16x8.shuffle(h0, h1, 4, 12, 5, 13, 6, 14, 7, 15));
          s += 32;
          b += 2;
        }
        p += 65536;
      }
      a0 = f32x4.add(f32x4.mul(a0, v128.load(block)), v128.load(block, 64));
      a1 = f32x4.add(f32x4.mul(a1, v128.load(block, 16)), v128.load(block, 80));
      a2 = f32x4.add(f32x4.mul(a2, v128.load(block, 32)), v128.load(block, 96));
      a3 = f32x4.add(f32x4.mul(a3, v128.load(block, 48)), v128.load(block, 112));
      const out = y + <usize>t * sy, n = rows - j;
      scatter<N0>(out, block + 128, n, a0, lo, hi);
      scatter<N1>(out, block + 128, n, a1, lo, hi);
      scatter<N2>(out, block + 128, n, a2, lo, hi);
      scatter<N3>(out, block + 128, n, a3, lo, hi);
      w = s;
    }
  }
}

/** Eight sums of a block, of which `left` are outputs. */
// @ts-expect-error: decorator
@inline function store8(token: usize, block: usize, y: usize, left: i32, a0: v128, a1: v128, lo: v128, hi: v128): void {
  const scale = v128.load32_splat(token), zero = v128.load32_splat(token, 4);
  scatter<N0>(y, block + 96, left, dequantise<N8>(a0, block, scale, zero), lo, hi);
  scatter<N1>(y, block + 96, left, dequantise<N8>(a1, block + 16, scale, zero), lo, hi);
}

/**
 * Unstructured int8: a step gives each of 8 outputs two products with u8 inputs out of a window of 16. Q is what
 * i8_window_quantize writes, sq bytes a token; Y = clamp(scales (W (Q - zero point)) + bias), exact in i32. k: two masks.
 * Four steps a round instead of two: 8 % slower in V8 11.3, the same in 13.6.
 */
export function i8_window_spmv(
  q: usize, sq: usize, y: usize, sy: usize, w: usize, tokens: i32, rows: i32, lists: i32, min: f32, max: f32, k: usize,
): void {
  const lo = f32x4.splat(min), hi = f32x4.splat(max);
  // Masks from memory: V8 13.6 would build the constants again at every use (71 us, now 53; Node 24, 3072x768 at 70 %).
  const low = v128.load(k), even = v128.load(k, 16);
  for (let j = 0; j < rows; j += 8) {
    const block = w;
    for (let t = 0; t < tokens; t++) {
      const token = q + <usize>t * sq;
      let p = token + 16;
      let s = block + 128;
      let a0: v128 = i32x4.splat(0), a1 = a0;
      for (let l = 0; l < lists; l++) {
        const n = <usize>load<u32>(s);
        let b = s + 4;
        s = (b + n * 2 + 15) & ~15;
        const end = s + n * 24;
        while (s < end) {
          const i = v128.load(s);
          let u = pick(p + <usize>load<u16>(b), v128.and(i, low));
          a0 = i32x4.add(a0, i32x4.dot_i16x8_s(v128.and(u, even), v128.load8x8_s(s, 16)));
          a1 = i32x4.add(a1, i32x4.dot_i16x8_s(i16x8.shr_u(u, 8), v128.load8x8_s(s, 24)));
          u = pick(p + <usize>load<u16>(b, 2), v128.and(i16x8.shr_u(i, 4), low));
          a0 = i32x4.add(a0, i32x4.dot_i16x8_s(v128.and(u, even), v128.load8x8_s(s, 32)));
          a1 = i32x4.add(a1, i32x4.dot_i16x8_s(i16x8.shr_u(u, 8), v128.load8x8_s(s, 40)));
          s += 48;
          b += 4;
        }
        p += 65536;
      }
      store8(token, block, y + <usize>t * sy, rows - j, a0, a1, lo, hi);
      w = s;
    }
  }
}

/** As many steps as give sums within 23 bits: each adds up to 2 x 255 x 127. */
const STEPS: usize = 128;

/**
 * As i8_window_spmv, but an index is a byte, and weights are not widened: they stand in the high halves of 16 bits, so sums are
 * 256 times themselves, brought down every 128 steps, before they could pass 32 bits. A fifth fewer instructions: 3072x768 at
 * 70 % in 48 us instead of 54, 768x768 in 11.6 instead of 13.3 (Zen 5, Node 20 and 24 alike); the first alone gains 7 %, the
 * second nothing. Four steps a round spill in V8 11.3 (+20 %); reading ahead gains nothing.
 */
export function i8_bytes_spmv(
  q: usize, sq: usize, y: usize, sy: usize, w: usize, tokens: i32, rows: i32, lists: i32, min: f32, max: f32, k: usize,
): void {
  const lo = f32x4.splat(min), hi = f32x4.splat(max);
  const even = v128.load(k, 16);
  for (let j = 0; j < rows; j += 8) {
    const block = w;
    for (let t = 0; t < tokens; t++) {
      const token = q + <usize>t * sq;
      let p = token + 16;
      let s = block + 128;
      let a0: v128 = i32x4.splat(0), a1 = a0;
      for (let l = 0; l < lists; l++) {
        const n = <usize>load<u32>(s);
        let b = s + 4;
        s = (b + n * 2 + 15) & ~15;
        const end = s + n * 32;
        while (s < end) {
          const stop = s + STEPS * 32 < end ? s + STEPS * 32 : end;
          let c0: v128 = i32x4.splat(0), c1 = c0;
          while (s < stop) {
            const u0 = pick(p + <usize>load<u16>(b), v128.load(s)), w0 = v128.load(s, 32);
            const u1 = pick(p + <usize>load<u16>(b, 2), v128.load(s, 16)), w1 = v128.load(s, 48);
            const d0 = i32x4.dot_i16x8_s(v128.and(u0, even), i16x8.shl(w0, 8));
            const d1 = i32x4.dot_i16x8_s(v128.and(u1, even), i16x8.shl(w1, 8));
            c0 = i32x4.add(c0, i32x4.add(d0, d1));
            const e0 = i32x4.dot_i16x8_s(i16x8.shr_u(u0, 8), v128.andnot(w0, even));
            const e1 = i32x4.dot_i16x8_s(i16x8.shr_u(u1, 8), v128.andnot(w1, even));
            c1 = i32x4.add(c1, i32x4.add(e0, e1));
            s += 64;
            b += 4;
          }
          a0 = i32x4.add(a0, i32x4.shr_s(c0, 8));
          a1 = i32x4.add(a1, i32x4.shr_s(c1, 8));
        }
        p += 65536;
      }
      store8(token, block, y + <usize>t * sy, rows - j, a0, a1, lo, hi);
      w = s;
    }
  }
}

/**
 * Quantises each token of X[tokens][cols] by its own range: Q[token] is [f32 scale][i32 zero point][8 bytes][cols u8], sq bytes,
 * at least cols + 32. z < 0: the least and greatest value, and 0, are n steps apart, with a zero point (n = 255: ONNX's
 * DynamicQuantizeLinear); else the largest magnitude is n steps from z. A NaN or an infinity makes the scale NaN. flip: 0, or
 * 0x80808080: bytes and zero point less 128, for kernels that read them as i8.
 */
export function i8_window_quantize(
  x: usize, q: usize, sq: usize, tokens: i32, cols: i32, n: f32, z: i32, flip: u32,
): void {
  for (let t = 0; t < tokens; t++) {
    const end = x + (<usize>cols << 2), whole = x + ((<usize>cols & ~3) << 2);
    let least: v128 = f32x4.splat(0), most = least, bad = least;
    let p = x;
    for (; p < whole; p += 16) {
      const v = v128.load(p);
      least = f32x4.pmin(least, v);
      most = f32x4.pmax(most, v);
      bad = v128.or(bad, f32x4.sub(v, v));
    }
    for (; p < end; p += 4) {
      const v = v128.load32_splat(p);
      least = f32x4.pmin(least, v);
      most = f32x4.pmax(most, v);
      bad = v128.or(bad, f32x4.sub(v, v));
    }
    most = f32x4.add(most, bad);
    least = f32x4.min(least, i32x4.shuffle(least, least, 2, 3, 0, 1));
    most = f32x4.max(most, i32x4.shuffle(most, most, 2, 3, 0, 1));
    const from = f32x4.extract_lane(f32x4.min(least, i32x4.shuffle(least, least, 1, 0, 3, 2)), 0);
    const to = f32x4.extract_lane(f32x4.max(most, i32x4.shuffle(most, most, 1, 0, 3, 2)), 0);
    let scale = (z < 0 ? min(to - from, f32.MAX_VALUE) : max(to, -from)) / n;
    // All zeros, or so small that the quotient is: any scale will do.
    if (scale == 0) scale = 1;
    const zero = z < 0 ? <i32>min(nearest(-from / scale), n) : z;
    store<f32>(q, scale);
    store<i32>(q, zero - <i32>(flip & 128), 4);
    const s = f32x4.splat(scale), o = i32x4.splat(zero);
    // The scale of subnormal numbers has few bits: quotients may pass the limits.
    const lo = i32x4.splat(z < 0 ? 0 : z - <i32>n), hi = i32x4.splat(z < 0 ? <i32>n : z + <i32>n);
    let b = q + 16;
    for (p = x; p < whole; p += 16) {
      store<u32>(b, bytes(v128.load(p), s, o, lo, hi) ^ flip);
      b += 4;
    }
    for (; p < end; p += 4) {
      store<u8>(b, <u8>(bytes(v128.load32_zero(p), s, o, lo, hi) ^ flip));
      b++;
    }
    x = end;
    q += sq;
  }
}

/** Four numbers in steps of s, around o, limited, as bytes. */
// @ts-expect-error: decorator
@inline function bytes(x: v128, s: v128, o: v128, lo: v128, hi: v128): u32 {
  const v = i32x4.add(i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.div(x, s))), o);
  const h = i32x4.max_s(i32x4.min_s(v, hi), lo);
  const w = i16x8.narrow_i32x4_s(h, h);
  return i32x4.extract_lane(i8x16.narrow_i16x8_u(w, w), 0);
}
