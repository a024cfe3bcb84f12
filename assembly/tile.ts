// The column tile all f32 weight kernels share. A tile is V vectors of lanes by C channels; S = 2 sends successive records
// to two sets of accumulators in turn, so that a narrow tile is not bound by the latency of one addition.
//
// V, C, S and D are the types N0..N8 below, whose offsetof is a number that the compiler's front end folds: what a variant
// does not need is never emitted, and building takes a tenth of what inlined literal parameters cost.
import { clamp, madd } from './isa';

export class N0 {}
export class N1 { a: u8; }
export class N2 extends N1 { b: u8; }
export class N3 extends N2 { c: u8; }
export class N4 extends N3 { d: u8; }
export class N5 extends N4 { e: u8; }
export class N6 extends N5 { f: u8; }
export class N8 extends N6 { g: u8; h: u8; }

/** Loads the first `live` (1..4) lanes, without touching memory past them. */
function loadLive(p: usize, live: i32): v128 {
  if (live == 4) return v128.load(p);
  if (live == 1) return v128.load32_zero(p);
  const v = v128.load64_zero(p);
  return live == 2 ? v : v128.load32_lane(p, v, 2, 8);
}

/** Stores the first `live` (1..4) lanes. */
function storeLive(p: usize, v: v128, live: i32): void {
  if (live == 4) v128.store(p, v);
  else if (live == 1) v128.store32_lane(p, v, 0);
  else {
    v128.store64_lane(p, v, 0);
    if (live == 3) v128.store32_lane(p, v, 2, 8);
  }
}

/** Vector K of V of a row: the last one holds `live` lanes, unless the tile is full (F). */
// @ts-expect-error: decorator
@inline export function get<V, K, F>(o: usize, live: i32): v128 {
  if (offsetof<F>() || offsetof<K>() + 1 < offsetof<V>()) return v128.load(o, (offsetof<K>() & 3) << 4);
  return loadLive(o + ((offsetof<K>() & 3) << 4), live);
}

// @ts-expect-error: decorator
@inline export function put<V, K, F>(o: usize, y: v128, live: i32): void {
  if (offsetof<F>() || offsetof<K>() + 1 < offsetof<V>()) v128.store(o, y, (offsetof<K>() & 3) << 4);
  else storeLive(o + ((offsetof<K>() & 3) << 4), y, live);
}

/**
 * One column tile of all groups between `s` and `last`: 4 V lanes of X from `x`; for V = 8 the upper 16 lanes are those of
 * the next panel, at `x2` and `o2`. A group is [u32 bytes of its records][C bias][records]; a record is
 * [u32 byte offset into the panel][C weights], or in dense matrices (D) the weights only. `add`: start from Y.
 */
function columnTile<V, C, S, D, F>(
  x: usize, x2: usize, o: usize, o2: usize, yc: usize, s: usize, last: usize, min: f32, max: f32, add: i32, live: i32,
): void {
  const v = offsetof<V>(), c = offsetof<C>(), sets = offsetof<S>(), dense = offsetof<D>();
  const record: usize = dense ? c * 4 : c * 4 + 4;
  const W: usize = dense ? 0 : 4;
  const lo = f32x4.splat(min);
  const hi = f32x4.splat(max);
  while (s < last) {
    let a0: v128 = f32x4.splat(0), a1 = a0, a2 = a0, a3 = a0, a4 = a0, a5 = a0, a6 = a0, a7 = a0;
    let b0 = a0, b1 = a0, b2 = a0, b3 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0, e0 = a0, e1 = a0, f0 = a0, f1 = a0;
    // The second set.
    let A0 = a0, A1 = a0, A2 = a0, A3 = a0, B0 = a0, B1 = a0, C0 = a0, D0 = a0;
    const o1 = o + yc;
    const oc = o1 + yc;
    const od = oc + yc;
    const oe = od + yc;
    const og = oe + yc;
    if (add) {
      a0 = get<V, N0, F>(o, live);
      if (v > 1) a1 = get<V, N1, F>(o, live);
      if (v > 2) a2 = get<V, N2, F>(o, live);
      if (v > 3) a3 = get<V, N3, F>(o, live);
      if (v > 4) {
        a4 = v128.load(o2);
        a5 = v128.load(o2, 16);
        a6 = v128.load(o2, 32);
        a7 = v128.load(o2, 48);
      }
      if (c > 1) {
        b0 = get<V, N0, F>(o1, live);
        if (v > 1) b1 = get<V, N1, F>(o1, live);
        if (v > 2) b2 = get<V, N2, F>(o1, live);
        if (v > 3) b3 = get<V, N3, F>(o1, live);
      }
      if (c > 2) {
        c0 = get<V, N0, F>(oc, live);
        if (v > 1) c1 = get<V, N1, F>(oc, live);
      }
      if (c > 3) {
        d0 = get<V, N0, F>(od, live);
        if (v > 1) d1 = get<V, N1, F>(od, live);
      }
      if (c > 4) {
        e0 = get<V, N0, F>(oe, live);
        if (v > 1) e1 = get<V, N1, F>(oe, live);
        f0 = get<V, N0, F>(og, live);
        if (v > 1) f1 = get<V, N1, F>(og, live);
      }
    } else {
      a0 = v128.load32_splat(s, 4);
      a1 = a0; a2 = a0; a3 = a0; a4 = a0; a5 = a0; a6 = a0; a7 = a0;
      if (c > 1) {
        b0 = v128.load32_splat(s, 8);
        b1 = b0; b2 = b0; b3 = b0;
      }
      if (c > 2) c1 = c0 = v128.load32_splat(s, 12);
      if (c > 3) d1 = d0 = v128.load32_splat(s, 16);
      if (c > 4) {
        e1 = e0 = v128.load32_splat(s, 20);
        f1 = f0 = v128.load32_splat(s, 24);
      }
    }
    const end = s + <usize>load<u32>(s) + (c * 4 + 4);
    s += c * 4 + 4;
    let i = x;
    while (s < end) {
      const k: usize = dense ? 0 : <usize>load<u32>(s);
      if (!dense) i = x + k;
      let w = v128.load32_splat(s, W);
      let x0 = v128.load(i), x1 = x0, x2_ = x0, x3 = x0;
      if (v > 1) x1 = v128.load(i, 16);
      if (v > 2) x2_ = v128.load(i, 32);
      if (v > 3) x3 = v128.load(i, 48);
      a0 = madd(a0, w, x0);
      if (v > 1) a1 = madd(a1, w, x1);
      if (v > 2) a2 = madd(a2, w, x2_);
      if (v > 3) a3 = madd(a3, w, x3);
      if (v > 4) {
        const j = x2 + k;
        if (!j) break; // never; see csr.ts
        a4 = madd(a4, w, v128.load(j));
        a5 = madd(a5, w, v128.load(j, 16));
        a6 = madd(a6, w, v128.load(j, 32));
        a7 = madd(a7, w, v128.load(j, 48));
      }
      if (c > 1) {
        w = v128.load32_splat(s, W + 4);
        b0 = madd(b0, w, x0);
        if (v > 1) b1 = madd(b1, w, x1);
        if (v > 2) b2 = madd(b2, w, x2_);
        if (v > 3) b3 = madd(b3, w, x3);
      }
      if (c > 2) {
        w = v128.load32_splat(s, W + 8);
        c0 = madd(c0, w, x0);
        if (v > 1) c1 = madd(c1, w, x1);
      }
      if (c > 3) {
        w = v128.load32_splat(s, W + 12);
        d0 = madd(d0, w, x0);
        if (v > 1) d1 = madd(d1, w, x1);
      }
      if (c > 4) {
        w = v128.load32_splat(s, W + 16);
        e0 = madd(e0, w, x0);
        if (v > 1) e1 = madd(e1, w, x1);
        w = v128.load32_splat(s, W + 20);
        f0 = madd(f0, w, x0);
        if (v > 1) f1 = madd(f1, w, x1);
      }
      s += record;
      if (dense) i += 64;
      if (sets > 1) {
        if (s >= end) break;
        if (!dense) i = x + <usize>load<u32>(s);
        w = v128.load32_splat(s, W);
        x0 = v128.load(i);
        if (v > 1) x1 = v128.load(i, 16);
        if (v > 2) x2_ = v128.load(i, 32);
        if (v > 3) x3 = v128.load(i, 48);
        A0 = madd(A0, w, x0);
        if (v > 1) A1 = madd(A1, w, x1);
        if (v > 2) A2 = madd(A2, w, x2_);
        if (v > 3) A3 = madd(A3, w, x3);
        if (c > 1) {
          w = v128.load32_splat(s, W + 4);
          B0 = madd(B0, w, x0);
          if (v > 1) B1 = madd(B1, w, x1);
        }
        if (c > 2) {
          C0 = madd(C0, v128.load32_splat(s, W + 8), x0);
          D0 = madd(D0, v128.load32_splat(s, W + 12), x0);
        }
        s += record;
        if (dense) i += 64;
      }
    }
    if (sets > 1) {
      a0 = f32x4.add(a0, A0);
      if (v > 1) a1 = f32x4.add(a1, A1);
      if (v > 2) a2 = f32x4.add(a2, A2);
      if (v > 3) a3 = f32x4.add(a3, A3);
      if (c > 1) {
        b0 = f32x4.add(b0, B0);
        if (v > 1) b1 = f32x4.add(b1, B1);
      }
      if (c > 2) {
        c0 = f32x4.add(c0, C0);
        d0 = f32x4.add(d0, D0);
      }
    }
    put<V, N0, F>(o, clamp(a0, lo, hi), live);
    if (v > 1) put<V, N1, F>(o, clamp(a1, lo, hi), live);
    if (v > 2) put<V, N2, F>(o, clamp(a2, lo, hi), live);
    if (v > 3) put<V, N3, F>(o, clamp(a3, lo, hi), live);
    if (v > 4) {
      v128.store(o2, clamp(a4, lo, hi));
      v128.store(o2, clamp(a5, lo, hi), 16);
      v128.store(o2, clamp(a6, lo, hi), 32);
      v128.store(o2, clamp(a7, lo, hi), 48);
      o2 += yc;
    }
    if (c > 1) {
      put<V, N0, F>(o1, clamp(b0, lo, hi), live);
      if (v > 1) put<V, N1, F>(o1, clamp(b1, lo, hi), live);
      if (v > 2) put<V, N2, F>(o1, clamp(b2, lo, hi), live);
      if (v > 3) put<V, N3, F>(o1, clamp(b3, lo, hi), live);
    }
    if (c > 2) {
      put<V, N0, F>(oc, clamp(c0, lo, hi), live);
      if (v > 1) put<V, N1, F>(oc, clamp(c1, lo, hi), live);
    }
    if (c > 3) {
      put<V, N0, F>(od, clamp(d0, lo, hi), live);
      if (v > 1) put<V, N1, F>(od, clamp(d1, lo, hi), live);
    }
    if (c > 4) {
      put<V, N0, F>(oe, clamp(e0, lo, hi), live);
      if (v > 1) put<V, N1, F>(oe, clamp(e1, lo, hi), live);
      put<V, N0, F>(og, clamp(f0, lo, hi), live);
      if (v > 1) put<V, N1, F>(og, clamp(f1, lo, hi), live);
    }
    o += c * yc;
  }
}

/** Columns in tiles of 4 V lanes; what is left over takes narrower tiles. Panels have 16 lanes. */
// @ts-expect-error: decorator
@inline export function spmm<V, C, D>(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, min: f32, max: f32, add: i32,
): void {
  const v = offsetof<V>(), c = offsetof<C>();
  const lanes = <i32>v * 4;
  for (let p = 0; p < columns; ) {
    const panel = <usize>(p >> 4);
    const lane = <usize>(p & 15) << 2;
    const xa = x + panel * xp + lane;
    const ya = y + panel * yp + lane;
    const n = columns - p;
    const live = ((n - 1) & 3) + 1;
    if (n >= lanes) {
      if (v * c <= 4) columnTile<V, C, N2, D, N1>(xa, xa + xp, ya, ya + yp, yc, s, last, min, max, add, 4);
      else columnTile<V, C, N1, D, N1>(xa, xa + xp, ya, ya + yp, yc, s, last, min, max, add, 4);
      p += lanes;
      continue;
    }
    if (v > 4 && n >= 16) columnTile<N4, C, N2, D, N1>(xa, xa, ya, ya, yc, s, last, min, max, add, 4);
    else if (v > 3 && n > 12) {
      if (c == 1) columnTile<N4, C, N2, D, N0>(xa, xa, ya, ya, yc, s, last, min, max, add, live);
      else columnTile<N4, C, N1, D, N0>(xa, xa, ya, ya, yc, s, last, min, max, add, live);
    } else if (v > 3 && n > 8) {
      if (c == 1) columnTile<N3, C, N2, D, N0>(xa, xa, ya, ya, yc, s, last, min, max, add, live);
      else columnTile<N3, C, N1, D, N0>(xa, xa, ya, ya, yc, s, last, min, max, add, live);
    } else if (n > 4) {
      if (c < 3) columnTile<N2, C, N2, D, N0>(xa, xa, ya, ya, yc, s, last, min, max, add, live);
      else columnTile<N2, C, N1, D, N0>(xa, xa, ya, ya, yc, s, last, min, max, add, live);
    } else if (c < 5) columnTile<N1, C, N2, D, N0>(xa, xa, ya, ya, yc, s, last, min, max, add, live);
    else columnTile<N1, C, N1, D, N0>(xa, xa, ya, ya, yc, s, last, min, max, add, live);
    p += v > 4 ? 16 : lanes;
  }
}
