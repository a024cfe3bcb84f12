// Dense kernels: SpMM tiles without indices, the product of two row-major matrices known only at run time, and the
// fully-connected layer for one to four tokens, whose outputs lie in the lanes.
//
// Which tile is fastest depends on the engine (Zen 4, share of the roofline): V8 11.3 8x4 and 16x2 90 %, 8x6 52 % (spills);
// V8 13.6 relaxed 8x6 97 %, the others 93 %; JavaScriptCore prefers 16x2. The cost model decides.
import { clamp, madd } from './isa';
import { N0, N1, N2, N3, N4, N6, get, put } from './tile';

/** One column tile of all groups between `s` and `last`: 4 V lanes by C channels, every input in turn. */
function denseTile<V, C, F>(
  x: usize, y: usize, yc: usize, s: usize, last: usize, min: f32, max: f32, add: i32, live: i32,
): void {
  const v = offsetof<V>(), c = offsetof<C>();
  const lo = f32x4.splat(min);
  const hi = f32x4.splat(max);
  while (s < last) {
    const n = <usize>load<u32>(s);
    s += 4;
    const yb = y + yc;
    const yd = yb + yc;
    const ye = yd + yc;
    const yf = ye + yc;
    const yg = yf + yc;
    let a0: v128, a1: v128, a2: v128, a3: v128, b0: v128, b1: v128, b2: v128, b3: v128;
    let c0: v128, c1: v128, d0: v128, d1: v128, e0: v128, e1: v128, f0: v128, f1: v128;
    if (add) {
      a0 = get<V, N0, F>(y, live);
      b0 = get<V, N0, F>(yb, live);
      if (v > 1) {
        a1 = get<V, N1, F>(y, live);
        b1 = get<V, N1, F>(yb, live);
      }
      if (v > 2) {
        a2 = get<V, N2, F>(y, live);
        b2 = get<V, N2, F>(yb, live);
      }
      if (v > 3) {
        a3 = get<V, N3, F>(y, live);
        b3 = get<V, N3, F>(yb, live);
      }
      if (c > 2) {
        c0 = get<V, N0, F>(yd, live);
        d0 = get<V, N0, F>(ye, live);
        if (v > 1) {
          c1 = get<V, N1, F>(yd, live);
          d1 = get<V, N1, F>(ye, live);
        }
      }
      if (c > 4) {
        e0 = get<V, N0, F>(yf, live);
        f0 = get<V, N0, F>(yg, live);
        if (v > 1) {
          e1 = get<V, N1, F>(yf, live);
          f1 = get<V, N1, F>(yg, live);
        }
      }
    } else {
      a3 = a2 = a1 = a0 = v128.load32_splat(s);
      b3 = b2 = b1 = b0 = v128.load32_splat(s, 4);
      if (c > 2) {
        c1 = c0 = v128.load32_splat(s, 8);
        d1 = d0 = v128.load32_splat(s, 12);
      }
      if (c > 4) {
        e1 = e0 = v128.load32_splat(s, 16);
        f1 = f0 = v128.load32_splat(s, 20);
      }
    }
    s += c * 4;
    const end = s + n;
    for (let i = x; s < end; i += 64) {
      let w = v128.load32_splat(s);
      let x0 = v128.load(i), x1 = x0, x2 = x0, x3 = x0;
      if (v > 1) x1 = v128.load(i, 16);
      if (v > 2) x2 = v128.load(i, 32);
      if (v > 3) x3 = v128.load(i, 48);
      a0 = madd(a0, w, x0);
      if (v > 1) a1 = madd(a1, w, x1);
      if (v > 2) a2 = madd(a2, w, x2);
      if (v > 3) a3 = madd(a3, w, x3);
      w = v128.load32_splat(s, 4);
      b0 = madd(b0, w, x0);
      if (v > 1) b1 = madd(b1, w, x1);
      if (v > 2) b2 = madd(b2, w, x2);
      if (v > 3) b3 = madd(b3, w, x3);
      if (c > 2) {
        w = v128.load32_splat(s, 8);
        c0 = madd(c0, w, x0);
        if (v > 1) c1 = madd(c1, w, x1);
        w = v128.load32_splat(s, 12);
        d0 = madd(d0, w, x0);
        if (v > 1) d1 = madd(d1, w, x1);
      }
      if (c > 4) {
        w = v128.load32_splat(s, 16);
        e0 = madd(e0, w, x0);
        if (v > 1) e1 = madd(e1, w, x1);
        w = v128.load32_splat(s, 20);
        f0 = madd(f0, w, x0);
        if (v > 1) f1 = madd(f1, w, x1);
      }
      s += c * 4;
    }
    put<V, N0, F>(y, clamp(a0, lo, hi), live);
    put<V, N0, F>(yb, clamp(b0, lo, hi), live);
    if (v > 1) {
      put<V, N1, F>(y, clamp(a1, lo, hi), live);
      put<V, N1, F>(yb, clamp(b1, lo, hi), live);
    }
    if (v > 2) {
      put<V, N2, F>(y, clamp(a2, lo, hi), live);
      put<V, N2, F>(yb, clamp(b2, lo, hi), live);
    }
    if (v > 3) {
      put<V, N3, F>(y, clamp(a3, lo, hi), live);
      put<V, N3, F>(yb, clamp(b3, lo, hi), live);
    }
    if (c > 2) {
      put<V, N0, F>(yd, clamp(c0, lo, hi), live);
      put<V, N0, F>(ye, clamp(d0, lo, hi), live);
      if (v > 1) {
        put<V, N1, F>(yd, clamp(c1, lo, hi), live);
        put<V, N1, F>(ye, clamp(d1, lo, hi), live);
      }
    }
    if (c > 4) {
      put<V, N0, F>(yf, clamp(e0, lo, hi), live);
      put<V, N0, F>(yg, clamp(f0, lo, hi), live);
      if (v > 1) {
        put<V, N1, F>(yf, clamp(e1, lo, hi), live);
        put<V, N1, F>(yg, clamp(f1, lo, hi), live);
      }
    }
    y += c * yc;
  }
}

/** One column: output channels in lanes, see groupColumn in group.ts. */
function denseColumn<C>(
  x: usize, y: usize, yc: usize, s: usize, last: usize, min: f32, max: f32, add: i32,
): void {
  const c = offsetof<C>();
  const row: usize = c * 4;
  const lo = f32x4.splat(min);
  const hi = f32x4.splat(max);
  while (s < last) {
    const n = <usize>load<u32>(s);
    s += 4;
    const yb = y + yc, yd = yb + yc, ye = yd + yc, yf = ye + yc;
    // Channels 0 to 3 and 4 to 5 of even inputs, and of odd ones.
    let a = f32x4.splat(0), b = a, A = a, B = a;
    if (add) {
      a = v128.load32_lane(yb, v128.load32_zero(y), 1);
      if (c > 2) a = v128.load32_lane(ye, v128.load32_lane(yd, a, 2), 3);
      if (c > 4) b = v128.load32_lane(yf + yc, v128.load32_zero(yf), 1);
    } else {
      a = c > 2 ? v128.load(s) : v128.load64_zero(s);
      if (c > 4) b = v128.load64_zero(s, 16);
    }
    s += row;
    const end = s + n;
    let i = x;
    for (; s + row < end; s += 2 * row) {
      let u = v128.load32_splat(i);
      a = madd(a, u, c > 2 ? v128.load(s) : v128.load64_zero(s));
      if (c > 4) b = madd(b, u, v128.load64_zero(s, 16));
      u = v128.load32_splat(i, 64);
      A = madd(A, u, c > 2 ? v128.load(s, c * 4) : v128.load64_zero(s, c * 4));
      if (c > 4) B = madd(B, u, v128.load64_zero(s, 40));
      i += 128;
    }
    if (s < end) {
      const u = v128.load32_splat(i);
      a = madd(a, u, c > 2 ? v128.load(s) : v128.load64_zero(s));
      if (c > 4) b = madd(b, u, v128.load64_zero(s, 16));
      s += row;
    }
    a = clamp(f32x4.add(a, A), lo, hi);
    v128.store32_lane(y, a, 0);
    v128.store32_lane(yb, a, 1);
    if (c > 2) {
      v128.store32_lane(yd, a, 2);
      v128.store32_lane(ye, a, 3);
    }
    if (c > 4) {
      b = clamp(f32x4.add(b, B), lo, hi);
      v128.store32_lane(yf, b, 0);
      v128.store32_lane(yf + yc, b, 1);
    }
    y += c * yc;
  }
}

// @ts-expect-error: decorator
@inline function dense<V, C>(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, min: f32, max: f32, add: i32,
): void {
  const lanes = <i32>(offsetof<V>() * 4);
  for (let p = 0; p < columns; p += lanes) {
    const panel = <usize>(p >> 4);
    const lane = <usize>(p & 15) << 2;
    const xa = x + panel * xp + lane;
    const ya = y + panel * yp + lane;
    const n = columns - p;
    const live = ((n - 1) & 3) + 1;
    if (n >= lanes) denseTile<V, C, N1>(xa, ya, yc, s, last, min, max, add, 4);
    else if (offsetof<V>() > 2 && n > 12) denseTile<N4, C, N0>(xa, ya, yc, s, last, min, max, add, live);
    else if (offsetof<V>() > 2 && n > 8) denseTile<N3, C, N0>(xa, ya, yc, s, last, min, max, add, live);
    else if (n > 4) denseTile<N2, C, N0>(xa, ya, yc, s, last, min, max, add, live);
    else if (n == 1) denseColumn<C>(xa, ya, yc, s, last, min, max, add);
    else denseTile<N1, C, N0>(xa, ya, yc, s, last, min, max, add, live);
  }
}

export function f32_dense_spmm_8x4(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, min: f32, max: f32, add: i32,
): void {
  dense<N2, N4>(x, xp, y, yp, yc, columns, s, last, min, max, add);
}
export function f32_dense_spmm_16x2(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, min: f32, max: f32, add: i32,
): void {
  dense<N4, N2>(x, xp, y, yp, yc, columns, s, last, min, max, add);
}
export function f32_dense_spmm_8x6(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, min: f32, max: f32, add: i32,
): void {
  dense<N2, N6>(x, xp, y, yp, yc, columns, s, last, min, max, add);
}

/** C rows by 4 V columns of A B, over k inputs, added to what Y holds unless it is the first block of inputs. */
function matmulTile<V, C, F>(
  a: usize, sa: usize, b: usize, sb: usize, y: usize, sy: usize, k: i32, add: i32, live: i32,
): void {
  const v = offsetof<V>(), c = offsetof<C>();
  const ya = y + sy, yb = ya + sy, yd = yb + sy;
  let a0: v128 = f32x4.splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0;
  if (add) {
    a0 = get<V, N0, F>(y, live);
    if (v > 1) a1 = get<V, N1, F>(y, live);
    if (c > 1) {
      b0 = get<V, N0, F>(ya, live);
      c0 = get<V, N0, F>(yb, live);
      d0 = get<V, N0, F>(yd, live);
      if (v > 1) {
        b1 = get<V, N1, F>(ya, live);
        c1 = get<V, N1, F>(yb, live);
        d1 = get<V, N1, F>(yd, live);
      }
    }
  }
  const sc = sa + sa, sd = sc + sa;
  for (const end = a + (<usize>k << 2); a < end; a += 4) {
    const x0 = get<V, N0, F>(b, live);
    let x1 = x0;
    if (v > 1) x1 = get<V, N1, F>(b, live);
    let w = v128.load32_splat(a);
    a0 = madd(a0, w, x0);
    if (v > 1) a1 = madd(a1, w, x1);
    if (c > 1) {
      w = v128.load32_splat(a + sa);
      b0 = madd(b0, w, x0);
      if (v > 1) b1 = madd(b1, w, x1);
      w = v128.load32_splat(a + sc);
      c0 = madd(c0, w, x0);
      if (v > 1) c1 = madd(c1, w, x1);
      w = v128.load32_splat(a + sd);
      d0 = madd(d0, w, x0);
      if (v > 1) d1 = madd(d1, w, x1);
    }
    b += sb;
  }
  put<V, N0, F>(y, a0, live);
  if (v > 1) put<V, N1, F>(y, a1, live);
  if (c > 1) {
    put<V, N0, F>(ya, b0, live);
    put<V, N0, F>(yb, c0, live);
    put<V, N0, F>(yd, d0, live);
    if (v > 1) {
      put<V, N1, F>(ya, b1, live);
      put<V, N1, F>(yb, c1, live);
      put<V, N1, F>(yd, d1, live);
    }
  }
}

// @ts-expect-error: decorator
@inline function matmulRows<V, F>(
  a: usize, sa: usize, b: usize, sb: usize, y: usize, sy: usize, m: i32, k: i32, add: i32, live: i32,
): void {
  for (; m >= 4; m -= 4) {
    matmulTile<V, N4, F>(a, sa, b, sb, y, sy, k, add, live);
    a += sa << 2;
    y += sy << 2;
  }
  for (; m > 0; m--) {
    matmulTile<V, N1, F>(a, sa, b, sb, y, sy, k, add, live);
    a += sa;
    y += sy;
  }
}

/** Y[m][n] = A[m][k] B[k][n], all row-major; sa, sb, sy are bytes between rows. */
export function f32_dense_matmul(
  a: usize, sa: usize, b: usize, sb: usize, y: usize, sy: usize, m: i32, n: i32, k: i32,
): void {
  // 256 inputs of a strip of B stay in the first-level cache while all rows of A pass.
  let at = 0;
  do {
    const inputs = min(k - at, 256);
    const from = a + (<usize>at << 2);
    const rows = b + <usize>at * sb;
    let j = 0;
    for (; j + 8 <= n; j += 8) matmulRows<N2, N1>(from, sa, rows + (j << 2), sb, y + (j << 2), sy, m, inputs, at, 4);
    const live = ((n - j - 1) & 3) + 1;
    if (n - j > 4) matmulRows<N2, N0>(from, sa, rows + (j << 2), sb, y + (j << 2), sy, m, inputs, at, live);
    else if (n - j > 0) matmulRows<N1, N0>(from, sa, rows + (j << 2), sb, y + (j << 2), sy, m, inputs, at, live);
    at += 256;
  } while (at < k);
}

/**
 * Y[tokens][n] = clamp(X[tokens][k] W + bias) with W in blocks of 16 outputs: [16 bias][k][16]. sx, sy: bytes between
 * tokens. Two tokens at a time, so that weights beyond the caches are read once.
 */
export function f32_dense_gemv(
  x: usize, sx: usize, y: usize, sy: usize, w: usize, tokens: i32, n: i32, k: i32, min: f32, max: f32,
): void {
  const lo = f32x4.splat(min), hi = f32x4.splat(max);
  const bytes = <usize>k << 2;
  for (let j = 0; j < n; j += 16) {
    let t = 0;
    do {
      // Two tokens, or one with successive inputs in two sets of sums.
      const one = tokens - t < 2;
      let a0 = v128.load(w), a1 = v128.load(w, 16), a2 = v128.load(w, 32), a3 = v128.load(w, 48);
      let b0 = a0, b1 = a1, b2 = a2, b3 = a3;
      let p = x + <usize>t * sx;
      let s = w + 64;
      const end = p + bytes;
      if (one) {
        b0 = f32x4.splat(0);
        b1 = b0;
        b2 = b0;
        b3 = b0;
        while (p < end) {
          let u = v128.load32_splat(p);
          a0 = madd(a0, u, v128.load(s));
          a1 = madd(a1, u, v128.load(s, 16));
          a2 = madd(a2, u, v128.load(s, 32));
          a3 = madd(a3, u, v128.load(s, 48));
          p += 4;
          if (p >= end) break;
          u = v128.load32_splat(p);
          b0 = madd(b0, u, v128.load(s, 64));
          b1 = madd(b1, u, v128.load(s, 80));
          b2 = madd(b2, u, v128.load(s, 96));
          b3 = madd(b3, u, v128.load(s, 112));
          p += 4;
          s += 128;
        }
        a0 = f32x4.add(a0, b0);
        a1 = f32x4.add(a1, b1);
        a2 = f32x4.add(a2, b2);
        a3 = f32x4.add(a3, b3);
      } else {
        for (; p < end; p += 4) {
          const u = v128.load32_splat(p);
          const r = v128.load32_splat(p + sx);
          const w0 = v128.load(s), w1 = v128.load(s, 16);
          a0 = madd(a0, u, w0);
          b0 = madd(b0, r, w0);
          a1 = madd(a1, u, w1);
          b1 = madd(b1, r, w1);
          const w2 = v128.load(s, 32), w3 = v128.load(s, 48);
          a2 = madd(a2, u, w2);
          b2 = madd(b2, r, w2);
          a3 = madd(a3, u, w3);
          b3 = madd(b3, r, w3);
          s += 64;
        }
      }
      gemvStore(y + <usize>t * sy + (j << 2), n - j, clamp(a0, lo, hi), clamp(a1, lo, hi), clamp(a2, lo, hi), clamp(a3, lo, hi));
      if (!one) {
        gemvStore(y + <usize>(t + 1) * sy + (j << 2), n - j, clamp(b0, lo, hi), clamp(b1, lo, hi), clamp(b2, lo, hi), clamp(b3, lo, hi));
      }
      t += 2;
    } while (t < tokens);
    w += 64 + (bytes << 4);
  }
}

/** The first n of sixteen lanes. */
// @ts-expect-error: decorator
@inline function gemvStore(y: usize, n: i32, a: v128, b: v128, c: v128, d: v128): void {
  put<N1, N0, N0>(y, a, min(n, 4));
  if (n > 4) put<N1, N0, N0>(y + 16, b, min(n - 4, 4));
  if (n > 8) put<N1, N0, N0>(y + 32, c, min(n - 8, 4));
  if (n > 12) put<N1, N0, N0>(y + 48, d, min(n - 12, 4));
}
