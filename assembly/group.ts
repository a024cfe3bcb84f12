// SpMM for groups of 2 or 4 output channels that share their inputs: a load of X serves 2 or 4 multiplications, so the inner
// loop is a dense one plus a share of an index. Layout: src/pack/spmm.ts.
//
// What was learned (Zen 4; see csr.ts for the never-taken branches):
// - Eight accumulators, two or four inputs and the weights are 14 live vectors: all that V8 11.3 keeps in registers.
// - V8 11.3 cannot fold an offset into load32_splat: each offset used is a register with its own base. So the pointer moves
//   on with every nonzero, and four offsets are used again and again (quads with sixteen offsets spilled: 31.6, now 33.8
//   GFLOP/s at a roofline of 40). V8 13.6 does not mind.
// - 16x2 beats 8x4 even on weights in groups of 4 (short rows 10 %, long ones 2 %): fewer rows to open, and loads of X take an
//   offset, which a splat does not. 8x4 has fewer indices; relaxed, it wins where 49 columns end in half tiles.
// - A row costs 20 cycles besides its records, all of it instructions: no clamp where there are no limits, and addresses of Y
//   made at the store, gained 10 % at 3 records a row.
// - The end of a list inside a quad is an offset of 0, seen by the branches that stand there anyway: against a loop for the rest
//   7 % at 3 records a row, 2 over all shapes (Node 20). The fused additions of 24x2 mind the test more than the loop: a rest there.
// - The order of multiplications and additions is set in scripts/pair-products.mjs, after Binaryen, which would undo it.
// - Lost: 20 lanes (spill, or no gain), prefetched columns in chunks that keep Y in the second-level cache.
import { clamp, madd } from './isa';
import { N0, N1, N2, N3, N4, bring, get, limitsOf, put } from './tile';

/** One column tile of all groups between `s` and `last`: 4 V lanes by C channels. */
function groupTile<V, C, F>(
  x: usize, y: usize, yc: usize, s: usize, last: usize, min: f32, max: f32, limits: i32, add: i32, live: i32,
): void {
  const v = offsetof<V>(), c = offsetof<C>();
  const two = v * c < 5;
  const row: usize = c * 4;
  const lo = f32x4.splat(min);
  const hi = f32x4.splat(max);
  while (s < last) {
    const end = s + <usize>load<u16>(s, 2);
    s += 4;
    let a0: v128, a1: v128, a2: v128, a3: v128, b0: v128, b1: v128, b2: v128, b3: v128;
    let c0: v128, c1: v128, d0: v128, d1: v128;
    if (add) {
      const yb = y + yc;
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
        const yd = yb + yc;
        const ye = yd + yc;
        c0 = get<V, N0, F>(yd, live);
        d0 = get<V, N0, F>(ye, live);
        if (v > 1) {
          c1 = get<V, N1, F>(yd, live);
          d1 = get<V, N1, F>(ye, live);
        }
      }
    } else {
      a3 = a2 = a1 = a0 = v128.load32_splat(s);
      b3 = b2 = b1 = b0 = v128.load32_splat(s, 4);
      if (c > 2) {
        c1 = c0 = v128.load32_splat(s, 8);
        d1 = d0 = v128.load32_splat(s, 12);
      }
    }
    // The second set of sums.
    let A0 = f32x4.splat(0), A1 = A0, B0 = A0, B1 = A0, C0 = A0, D0 = A0;
    s += row;
    while (s < end) {
      const q = load<u64>(s);
      s += 8;
      let k = <usize>(<u32>q & 0xffff);
      let i = x + k;
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
      s += row;
      k = <usize>(<u32>q >> 16);
      if (!k) break;
      i = x + k;
      w = v128.load32_splat(s);
      x0 = v128.load(i);
      if (v > 1) x1 = v128.load(i, 16);
      if (v > 2) x2 = v128.load(i, 32);
      if (v > 3) x3 = v128.load(i, 48);
      if (two) {
        A0 = madd(A0, w, x0);
        if (v > 1) A1 = madd(A1, w, x1);
        w = v128.load32_splat(s, 4);
        B0 = madd(B0, w, x0);
        if (v > 1) B1 = madd(B1, w, x1);
        if (c > 2) {
          w = v128.load32_splat(s, 8);
          C0 = madd(C0, w, x0);
          w = v128.load32_splat(s, 12);
          D0 = madd(D0, w, x0);
        }
      } else {
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
      }
      s += row;
      k = <usize>(<u32>(q >> 32) & 0xffff);
      if (!k) break;
      i = x + k;
      w = v128.load32_splat(s);
      x0 = v128.load(i);
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
      s += row;
      k = <usize>(q >> 48);
      if (!k) break;
      i = x + k;
      w = v128.load32_splat(s);
      x0 = v128.load(i);
      if (v > 1) x1 = v128.load(i, 16);
      if (v > 2) x2 = v128.load(i, 32);
      if (v > 3) x3 = v128.load(i, 48);
      if (two) {
        A0 = madd(A0, w, x0);
        if (v > 1) A1 = madd(A1, w, x1);
        w = v128.load32_splat(s, 4);
        B0 = madd(B0, w, x0);
        if (v > 1) B1 = madd(B1, w, x1);
        if (c > 2) {
          w = v128.load32_splat(s, 8);
          C0 = madd(C0, w, x0);
          w = v128.load32_splat(s, 12);
          D0 = madd(D0, w, x0);
        }
      } else {
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
      }
      s += row;
    }
    if (two) {
      a0 = f32x4.add(a0, A0);
      b0 = f32x4.add(b0, B0);
      if (v > 1) {
        a1 = f32x4.add(a1, A1);
        b1 = f32x4.add(b1, B1);
      }
      if (c > 2) {
        c0 = f32x4.add(c0, C0);
        d0 = f32x4.add(d0, D0);
      }
    }
    if (limits) {
      a0 = f32x4.pmax(a0, lo);
      b0 = f32x4.pmax(b0, lo);
      if (v > 1) {
        a1 = f32x4.pmax(a1, lo);
        b1 = f32x4.pmax(b1, lo);
      }
      if (v > 2) {
        a2 = f32x4.pmax(a2, lo);
        b2 = f32x4.pmax(b2, lo);
      }
      if (v > 3) {
        a3 = f32x4.pmax(a3, lo);
        b3 = f32x4.pmax(b3, lo);
      }
      if (c > 2) {
        c0 = f32x4.pmax(c0, lo);
        d0 = f32x4.pmax(d0, lo);
        if (v > 1) {
          c1 = f32x4.pmax(c1, lo);
          d1 = f32x4.pmax(d1, lo);
        }
      }
      if (limits > 1) {
        a0 = f32x4.pmin(a0, hi);
        b0 = f32x4.pmin(b0, hi);
        if (v > 1) {
          a1 = f32x4.pmin(a1, hi);
          b1 = f32x4.pmin(b1, hi);
        }
        if (v > 2) {
          a2 = f32x4.pmin(a2, hi);
          b2 = f32x4.pmin(b2, hi);
        }
        if (v > 3) {
          a3 = f32x4.pmin(a3, hi);
          b3 = f32x4.pmin(b3, hi);
        }
        if (c > 2) {
          c0 = f32x4.pmin(c0, hi);
          d0 = f32x4.pmin(d0, hi);
          if (v > 1) {
            c1 = f32x4.pmin(c1, hi);
            d1 = f32x4.pmin(d1, hi);
          }
        }
      }
    }
    put<V, N0, F>(y, a0, live);
    if (v > 1) put<V, N1, F>(y, a1, live);
    if (v > 2) put<V, N2, F>(y, a2, live);
    if (v > 3) put<V, N3, F>(y, a3, live);
    y += yc;
    put<V, N0, F>(y, b0, live);
    if (v > 1) put<V, N1, F>(y, b1, live);
    if (v > 2) put<V, N2, F>(y, b2, live);
    if (v > 3) put<V, N3, F>(y, b3, live);
    y += yc;
    if (c > 2) {
      put<V, N0, F>(y, c0, live);
      if (v > 1) put<V, N1, F>(y, c1, live);
      y += yc;
      put<V, N0, F>(y, d0, live);
      if (v > 1) put<V, N1, F>(y, d1, live);
      y += yc;
    }
  }
}

/** What 32 bits at p say in lanes 0 and 1, at q in lanes 2 and 3. */
// @ts-expect-error: decorator
@inline function pairs(p: usize, q: usize): v128 {
  return i32x4.shuffle(v128.load32_splat(p), v128.load32_splat(q), 0, 1, 4, 5);
}

/** One input by C weights, in lanes; of two, lanes 2 and 3 are zeros: an infinite input makes no NaN there. */
// @ts-expect-error: decorator
@inline function record<C>(a: v128, i: usize, s: usize): v128 {
  if (offsetof<C>() > 2) return madd(a, v128.load32_splat(i), v128.load(s));
  const x = v128.load32_zero(i);
  return madd(a, i32x4.shuffle(x, x, 0, 0, 1, 1), v128.load64_zero(s));
}

/**
 * One column, of all groups between `s` and `last`: output channels in lanes, since a tile of one lane would cost half as
 * much as one of eight. P = 49 is 48 and 1.
 */
function groupColumn<C>(
  x: usize, y: usize, yc: usize, s: usize, last: usize, min: f32, max: f32, add: i32,
): void {
  const c = offsetof<C>();
  const row: usize = c * 4;
  const lo = f32x4.splat(min);
  const hi = f32x4.splat(max);
  while (s < last) {
    const quads = s + <usize>load<u16>(s);
    const end = s + <usize>load<u16>(s, 2);
    s += 4;
    const yb = y + yc;
    const yd = yb + yc;
    let a: v128, b: v128 = f32x4.splat(0);
    if (add) {
      a = v128.load32_lane(yb, v128.load32_zero(y), 1);
      if (c > 2) a = v128.load32_lane(yd + yc, v128.load32_lane(yd, a, 2), 3);
    } else a = c > 2 ? v128.load(s) : v128.load64_zero(s);
    s += row;
    while (s < quads) {
      const q = load<u64>(s);
      s += 8;
      const i = x + <usize>(<u32>q & 0xffff);
      const j = x + <usize>(<u32>q >> 16);
      const k = x + <usize>(<u32>(q >> 32) & 0xffff);
      const l = x + <usize>(q >> 48);
      if (c > 2) {
        a = madd(a, v128.load32_splat(i), v128.load(s));
        b = madd(b, v128.load32_splat(j), v128.load(s, 16));
        a = madd(a, v128.load32_splat(k), v128.load(s, 32));
        b = madd(b, v128.load32_splat(l), v128.load(s, 48));
      } else {
        a = madd(a, pairs(i, j), v128.load(s));
        b = madd(b, pairs(k, l), v128.load(s, 16));
      }
      s += row * 4;
    }
    if (s < end) {
      let q = load<u64>(s);
      s += 8;
      for (; s < end; s += row) {
        a = record<C>(a, x + <usize>(<u32>q & 0xffff), s);
        q >>= 16;
      }
    }
    a = f32x4.add(a, b);
    if (c < 3) a = f32x4.add(a, i32x4.shuffle(a, a, 2, 3, 2, 3));
    a = clamp(a, lo, hi);
    v128.store32_lane(y, a, 0);
    v128.store32_lane(yb, a, 1);
    if (c > 2) {
      v128.store32_lane(yd, a, 2);
      v128.store32_lane(yd + yc, a, 3);
    }
    y += c * yc;
  }
}

/** Tiles of 4 V lanes; what is left over takes narrower ones. Two tiles of 8 lanes share a panel of 16. */
// @ts-expect-error: decorator
@inline function group<V, C>(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, min: f32, max: f32, how: i32,
): void {
  const lanes = <i32>(offsetof<V>() * 4);
  const limits = limitsOf(min, max);
  const add = how & 1, inputs = how >> 1;
  x -= 1; // offsets are one more than they are
  for (let p = 0; p < columns; p += lanes) {
    const panel = <usize>(p >> 4);
    const lane = <usize>(p & 15) << 2;
    const xa = x + panel * xp + lane;
    const ya = y + panel * yp + lane;
    const n = columns - p;
    if (inputs && !lane) bring(xa + 1, inputs);
    const live = ((n - 1) & 3) + 1;
    if (n >= lanes) groupTile<V, C, N1>(xa, ya, yc, s, last, min, max, limits, add, 4);
    else if (offsetof<V>() > 2 && n > 12) groupTile<N4, C, N0>(xa, ya, yc, s, last, min, max, limits, add, live);
    else if (offsetof<V>() > 2 && n > 8) groupTile<N3, C, N0>(xa, ya, yc, s, last, min, max, limits, add, live);
    else if (n > 4) groupTile<N2, C, N0>(xa, ya, yc, s, last, min, max, limits, add, live);
    else if (n == 1) groupColumn<C>(xa, ya, yc, s, last, min, max, add);
    else groupTile<N1, C, N0>(xa, ya, yc, s, last, min, max, limits, add, live);
  }
}

export function f32_group2_spmm_16x2(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, min: f32, max: f32, how: i32,
): void {
  group<N4, N2>(x, xp, y, yp, yc, columns, s, last, min, max, how);
}
export function f32_group4_spmm_8x4(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, min: f32, max: f32, how: i32,
): void {
  group<N2, N4>(x, xp, y, yp, yc, columns, s, last, min, max, how);
}
