// Unstructured SpMM: one output channel a row of weights, one load of X a multiplication. Layout: src/pack/spmm.ts.
//
// What was learned (Zen 4, one core; share of the multiply-add roofline at 80 % zeros, K = 256):
// - Loads bind: the scalar load of an index takes a slot like any other, two a cycle. Four nonzeros a step, with one load of
//   their offsets (4 x u16) and one of their weights (splat by shuffles), are 8.5 loads a nonzero of 32 lanes instead of 10:
//   Node 24 relaxed 76 -> 84 %, Node 20 68 -> 73 %.
// - 16 lanes with one set of accumulators wait for additions (54 %); with two sets, or 32 lanes, they do not. 32 lanes are two
//   panels of 16, a second base instead of a wider panel: the same speed, and one panel width for every format.
// - A branch that is never taken (`if (!i) break`) ends a basic block, for two compilers: V8 11.3 (Node 20) hoists all loads
//   of a block to its top and spills beyond 14 live vectors (14 instead of 26 GFLOP/s), and Binaryen turns a block with four
//   nonzeros into chains of four dependent additions an accumulator. It costs nothing measurable.
// - P = 49 is 32 + 17 lanes: a tile of 20 is 8-14 % faster than 16 and then 4 (whose single vector waits for itself).
// - The end of a row inside a quad is an offset of 0, seen by branches that stand there anyway: 2-7 % at 3 to 13 nonzeros a row
//   against a loop for the rest.
// - Lost: quads padded with zeros (short rows pay), rows sorted by length (no fewer mispredictions), 32-lane panels.
import { madd } from './isa';
import { N0, N1, N2, N3, N4, N5, N6, N7, N8, bring, get, limitsOf, put } from './tile';

/** Nonzeros 0 to 3 of a quad: which lane of its weights, which 16 bits of its offsets. */
// @ts-expect-error: decorator
@inline function splat<K>(w: v128): v128 {
  return i32x4.shuffle(w, w, <u8>offsetof<K>(), <u8>offsetof<K>(), <u8>offsetof<K>(), <u8>offsetof<K>());
}

/** One column tile of all rows between `s` and `last`: 4 V lanes; from the fifth vector on they are those of panel x2. */
function csrTile<V, F>(
  x: usize, x2: usize, y: usize, y2: usize, yc: usize, s: usize, last: usize, min: f32, max: f32, limits: i32, add: i32,
  live: i32,
): void {
  const v = offsetof<V>();
  const lo = f32x4.splat(min);
  const hi = f32x4.splat(max);
  while (s < last) {
    const end = s + <usize>load<u16>(s, 2);
    s += 4;
    let a0: v128, a1: v128, a2: v128, a3: v128, a4: v128, a5: v128, a6: v128, a7: v128;
    if (add) {
      a0 = get<V, N0, F>(y, live);
      if (v > 1) a1 = get<V, N1, F>(y, live);
      if (v > 2) a2 = get<V, N2, F>(y, live);
      if (v > 3) a3 = get<V, N3, F>(y, live);
      if (v > 4) a4 = get<V, N4, F>(y2, live);
      if (v > 5) {
        a5 = v128.load(y2, 16);
        a6 = v128.load(y2, 32);
        a7 = v128.load(y2, 48);
      }
    } else {
      a0 = v128.load32_splat(s);
      a1 = a0; a2 = a0; a3 = a0; a4 = a0; a5 = a0; a6 = a0; a7 = a0;
    }
    let b0 = f32x4.splat(0), b1 = b0, b2 = b0, b3 = b0, b4 = b0;
    s += 4;
    while (s < end) {
      const q = load<u64>(s);
      const ww = v128.load(s, 8);
      s += 24;
      let w = splat<N0>(ww);
      let k = <usize>(<u32>q & 0xffff);
      let i = x + k;
      a0 = madd(a0, w, v128.load(i));
      if (v > 1) a1 = madd(a1, w, v128.load(i, 16));
      if (v > 2) a2 = madd(a2, w, v128.load(i, 32));
      if (v > 3) a3 = madd(a3, w, v128.load(i, 48));
      if (v > 4) {
        i = x2 + k;
        if (!i) break;
        a4 = madd(a4, w, v128.load(i));
      }
      if (v > 5) {
        a5 = madd(a5, w, v128.load(i, 16));
        a6 = madd(a6, w, v128.load(i, 32));
        a7 = madd(a7, w, v128.load(i, 48));
      }
      k = <usize>(<u32>q >> 16);
      if (!k) break;
      i = x + k;
      w = splat<N1>(ww);
      if (v > 5) {
        a0 = madd(a0, w, v128.load(i));
        a1 = madd(a1, w, v128.load(i, 16));
        a2 = madd(a2, w, v128.load(i, 32));
        a3 = madd(a3, w, v128.load(i, 48));
        i = x2 + k;
        if (!i) break;
        a4 = madd(a4, w, v128.load(i));
        a5 = madd(a5, w, v128.load(i, 16));
        a6 = madd(a6, w, v128.load(i, 32));
        a7 = madd(a7, w, v128.load(i, 48));
      } else {
        b0 = madd(b0, w, v128.load(i));
        if (v > 1) b1 = madd(b1, w, v128.load(i, 16));
        if (v > 2) b2 = madd(b2, w, v128.load(i, 32));
        if (v > 3) b3 = madd(b3, w, v128.load(i, 48));
        if (v > 4) b4 = madd(b4, w, v128.load(x2 + k));
      }
      k = <usize>(<u32>(q >> 32) & 0xffff);
      if (!k) break;
      i = x + k;
      w = splat<N2>(ww);
      a0 = madd(a0, w, v128.load(i));
      if (v > 1) a1 = madd(a1, w, v128.load(i, 16));
      if (v > 2) a2 = madd(a2, w, v128.load(i, 32));
      if (v > 3) a3 = madd(a3, w, v128.load(i, 48));
      if (v > 4) {
        i = x2 + k;
        if (!i) break;
        a4 = madd(a4, w, v128.load(i));
      }
      if (v > 5) {
        a5 = madd(a5, w, v128.load(i, 16));
        a6 = madd(a6, w, v128.load(i, 32));
        a7 = madd(a7, w, v128.load(i, 48));
      }
      k = <usize>(q >> 48);
      if (!k) break;
      i = x + k;
      w = splat<N3>(ww);
      if (v > 5) {
        a0 = madd(a0, w, v128.load(i));
        a1 = madd(a1, w, v128.load(i, 16));
        a2 = madd(a2, w, v128.load(i, 32));
        a3 = madd(a3, w, v128.load(i, 48));
        i = x2 + k;
        if (!i) break;
        a4 = madd(a4, w, v128.load(i));
        a5 = madd(a5, w, v128.load(i, 16));
        a6 = madd(a6, w, v128.load(i, 32));
        a7 = madd(a7, w, v128.load(i, 48));
      } else {
        b0 = madd(b0, w, v128.load(i));
        if (v > 1) b1 = madd(b1, w, v128.load(i, 16));
        if (v > 2) b2 = madd(b2, w, v128.load(i, 32));
        if (v > 3) b3 = madd(b3, w, v128.load(i, 48));
        if (v > 4) b4 = madd(b4, w, v128.load(x2 + k));
      }
    }
    if (v < 6) {
      a0 = f32x4.add(a0, b0);
      if (v > 1) a1 = f32x4.add(a1, b1);
      if (v > 2) a2 = f32x4.add(a2, b2);
      if (v > 3) a3 = f32x4.add(a3, b3);
      if (v > 4) a4 = f32x4.add(a4, b4);
    }
    if (limits) {
      a0 = f32x4.pmax(a0, lo);
      if (v > 1) a1 = f32x4.pmax(a1, lo);
      if (v > 2) a2 = f32x4.pmax(a2, lo);
      if (v > 3) a3 = f32x4.pmax(a3, lo);
      if (v > 4) a4 = f32x4.pmax(a4, lo);
      if (v > 5) {
        a5 = f32x4.pmax(a5, lo);
        a6 = f32x4.pmax(a6, lo);
        a7 = f32x4.pmax(a7, lo);
      }
      if (limits > 1) {
        a0 = f32x4.pmin(a0, hi);
        if (v > 1) a1 = f32x4.pmin(a1, hi);
        if (v > 2) a2 = f32x4.pmin(a2, hi);
        if (v > 3) a3 = f32x4.pmin(a3, hi);
        if (v > 4) a4 = f32x4.pmin(a4, hi);
        if (v > 5) {
          a5 = f32x4.pmin(a5, hi);
          a6 = f32x4.pmin(a6, hi);
          a7 = f32x4.pmin(a7, hi);
        }
      }
    }
    put<V, N0, F>(y, a0, live);
    if (v > 1) put<V, N1, F>(y, a1, live);
    if (v > 2) put<V, N2, F>(y, a2, live);
    if (v > 3) put<V, N3, F>(y, a3, live);
    if (v > 4) put<V, N4, F>(y2, a4, live);
    if (v > 5) {
      v128.store(y2, a5, 16);
      v128.store(y2, a6, 32);
      v128.store(y2, a7, 48);
    }
    y += yc;
    if (v > 4) y2 += yc;
  }
}

// @ts-expect-error: decorator
@inline function csr<V>(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, min: f32, max: f32, how: i32,
): void {
  let n = columns;
  const limits = limitsOf(min, max);
  const add = how & 1, inputs = how >> 1;
  x -= 1; // offsets are one more than they are
  while (n > 0) {
    if (inputs) {
      bring(x + 1, inputs);
      // A second panel with this one, or, of 33 to 36 columns, again with the next.
      if (offsetof<V>() == 8 && n > 16) bring(x + xp + 1, inputs);
    }
    const live = ((n - 1) & 3) + 1;
    if (offsetof<V>() == 8 && n > 31 && (n > 36 || n == 32)) {
      csrTile<N8, N1>(x, x + xp, y, y + yp, yc, s, last, min, max, limits, add, 4);
      n -= 16;
      x += xp;
      y += yp;
    } else if (offsetof<V>() == 8 && n > 16 && n < 21) {
      csrTile<N5, N0>(x, x + xp, y, y + yp, yc, s, last, min, max, limits, add, live);
      break;
    } else if (n > 15) csrTile<N4, N1>(x, x, y, y, yc, s, last, min, max, limits, add, 4);
    else if (n > 12) csrTile<N4, N0>(x, x, y, y, yc, s, last, min, max, limits, add, live);
    else if (n > 8) csrTile<N3, N0>(x, x, y, y, yc, s, last, min, max, limits, add, live);
    else if (n > 4) csrTile<N2, N0>(x, x, y, y, yc, s, last, min, max, limits, add, live);
    else csrTile<N1, N0>(x, x, y, y, yc, s, last, min, max, limits, add, live);
    n -= 16;
    x += xp;
    y += yp;
  }
}

export function f32_csr_spmm_32x1(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, min: f32, max: f32, how: i32,
): void {
  csr<N8>(x, xp, y, yp, yc, columns, s, last, min, max, how);
}
export function f32_csr_spmm_16x1(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, min: f32, max: f32, how: i32,
): void {
  csr<N4>(x, xp, y, yp, yc, columns, s, last, min, max, how);
}

// Short rows: one at a time over many panels, its weights and offsets in registers, so that only X is loaded and no length is
// guessed again for each tile. Zen 5 (unlike the rest of this file), GFLOP/s of 32x1 and of this, Node 20, Node 24 relaxed:
//
//     64x32x12544 at 90 % zeros   33.5 -> 41.5   38.2 -> 47.8      at 95 %   22.1 -> 33.0   26.9 -> 34.8
//     192x32x784 at 90 %          37.6 -> 44.0   40.9 -> 50.2
//     384x64x196 at 95 %          36.1 -> 42.2   40.6 -> 44.7
//     576x96x196 at 95 %          40.6 -> 40.6   44.7 -> 46.5
//
// Rows of more nonzeros take a tile at a time; where a fifth do, it loses.
// - A body for each length, eight times the same lines: 3-6 % faster than one that ends at an offset of 0.
// - The branches that are never taken are needed here too, and must lead to where the sums are used: else V8 11.3 moves all
//   multiplications behind the last of them, and spills what it loaded (192x32 35, 64x32 19).
// - Lost: two panels a round (no faster), a function for each length (5-8 %), chunks of 128 lanes (4-6 % at 96 inputs, 8 at 16).

/** A row of N nonzeros, its quads at s, by the panels up to `end`; clamped (L). */
// @ts-expect-error: decorator
@inline function rowPanels<N, L>(
  x: usize, xp: usize, y: usize, yp: usize, end: usize, s: usize, bias: v128, lo: v128, hi: v128,
): void {
  const n = offsetof<N>();
  let w0 = bias, w1 = bias, w2 = bias, w3 = bias, w4 = bias, w5 = bias, w6 = bias, w7 = bias;
  let k0: usize = 0, k1 = k0, k2 = k0, k3 = k0, k4 = k0, k5 = k0, k6 = k0, k7 = k0;
  if (n > 0) {
    const ww = v128.load(s, 8);
    w0 = splat<N0>(ww);
    w1 = splat<N1>(ww);
    w2 = splat<N2>(ww);
    w3 = splat<N3>(ww);
    k0 = load<u16>(s);
    k1 = load<u16>(s, 2);
    k2 = load<u16>(s, 4);
    k3 = load<u16>(s, 6);
  }
  if (n > 4) {
    const ww = v128.load(s, 32);
    w4 = splat<N0>(ww);
    w5 = splat<N1>(ww);
    w6 = splat<N2>(ww);
    w7 = splat<N3>(ww);
    k4 = load<u16>(s, 24);
    k5 = load<u16>(s, 26);
    k6 = load<u16>(s, 28);
    k7 = load<u16>(s, 30);
  }
  while (y < end) {
    let a0 = bias, a1 = bias, a2 = bias, a3 = bias;
    do {
      if (!n) break;
      let i = x + k0;
      a0 = madd(a0, w0, v128.load(i));
      a1 = madd(a1, w0, v128.load(i, 16));
      a2 = madd(a2, w0, v128.load(i, 32));
      a3 = madd(a3, w0, v128.load(i, 48));
      if (n < 2) break;
      i = x + k1;
      if (!i) break;
      a0 = madd(a0, w1, v128.load(i));
      a1 = madd(a1, w1, v128.load(i, 16));
      a2 = madd(a2, w1, v128.load(i, 32));
      a3 = madd(a3, w1, v128.load(i, 48));
      if (n < 3) break;
      i = x + k2;
      if (!i) break;
      a0 = madd(a0, w2, v128.load(i));
      a1 = madd(a1, w2, v128.load(i, 16));
      a2 = madd(a2, w2, v128.load(i, 32));
      a3 = madd(a3, w2, v128.load(i, 48));
      if (n < 4) break;
      i = x + k3;
      if (!i) break;
      a0 = madd(a0, w3, v128.load(i));
      a1 = madd(a1, w3, v128.load(i, 16));
      a2 = madd(a2, w3, v128.load(i, 32));
      a3 = madd(a3, w3, v128.load(i, 48));
      if (n < 5) break;
      i = x + k4;
      if (!i) break;
      a0 = madd(a0, w4, v128.load(i));
      a1 = madd(a1, w4, v128.load(i, 16));
      a2 = madd(a2, w4, v128.load(i, 32));
      a3 = madd(a3, w4, v128.load(i, 48));
      if (n < 6) break;
      i = x + k5;
      if (!i) break;
      a0 = madd(a0, w5, v128.load(i));
      a1 = madd(a1, w5, v128.load(i, 16));
      a2 = madd(a2, w5, v128.load(i, 32));
      a3 = madd(a3, w5, v128.load(i, 48));
      if (n < 7) break;
      i = x + k6;
      if (!i) break;
      a0 = madd(a0, w6, v128.load(i));
      a1 = madd(a1, w6, v128.load(i, 16));
      a2 = madd(a2, w6, v128.load(i, 32));
      a3 = madd(a3, w6, v128.load(i, 48));
      if (n < 8) break;
      i = x + k7;
      if (!i) break;
      a0 = madd(a0, w7, v128.load(i));
      a1 = madd(a1, w7, v128.load(i, 16));
      a2 = madd(a2, w7, v128.load(i, 32));
      a3 = madd(a3, w7, v128.load(i, 48));
    } while (false);
    if (offsetof<L>()) {
      a0 = f32x4.pmin(f32x4.pmax(a0, lo), hi);
      a1 = f32x4.pmin(f32x4.pmax(a1, lo), hi);
      a2 = f32x4.pmin(f32x4.pmax(a2, lo), hi);
      a3 = f32x4.pmin(f32x4.pmax(a3, lo), hi);
    }
    v128.store(y, a0);
    v128.store(y, a1, 16);
    v128.store(y, a2, 32);
    v128.store(y, a3, 48);
    x += xp;
    y += yp;
  }
}

/** All rows by `panels` panels, an even number. Asking in a loop whether to clamp costs 5 %, whether to add 20. */
function rowsChunk<L>(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, panels: usize, s: usize, last: usize, min: f32, max: f32,
): void {
  const lo = f32x4.splat(min), hi = f32x4.splat(max);
  while (s < last) {
    const end = y + panels * yp;
    const next = s + <usize>load<u16>(s, 2);
    const bias = v128.load32_splat(s, 4);
    const first = s + 8;
    if (next == first) rowPanels<N0, L>(x, xp, y, yp, end, first, bias, lo, hi);
    else if (next <= first + 48) {
      const q = load<u64>(next - 24);
      if (next == first + 24) {
        if (!(<u32>q >> 16)) rowPanels<N1, L>(x, xp, y, yp, end, first, bias, lo, hi);
        else if (!(<u32>(q >> 32) & 0xffff)) rowPanels<N2, L>(x, xp, y, yp, end, first, bias, lo, hi);
        else if (!(q >> 48)) rowPanels<N3, L>(x, xp, y, yp, end, first, bias, lo, hi);
        else rowPanels<N4, L>(x, xp, y, yp, end, first, bias, lo, hi);
      } else if (!(<u32>q >> 16)) rowPanels<N5, L>(x, xp, y, yp, end, first, bias, lo, hi);
      else if (!(<u32>(q >> 32) & 0xffff)) rowPanels<N6, L>(x, xp, y, yp, end, first, bias, lo, hi);
      else if (!(q >> 48)) rowPanels<N7, L>(x, xp, y, yp, end, first, bias, lo, hi);
      else rowPanels<N8, L>(x, xp, y, yp, end, first, bias, lo, hi);
    } else {
      let i = x, o = y;
      while (o < end) {
        csrTile<N8, N1>(i, i + xp, o, o + yp, yc, s, next, min, max, offsetof<L>() ? 2 : 0, 0, 4);
        i += 2 * xp;
        o += 2 * yp;
      }
    }
    s = next;
    y += yc;
  }
}

/**
 * As f32_csr_spmm_32x1, which does what is left: fewer than 128 columns at the end, read ahead where asked for, and blocks of
 * inputs after the first.
 */
export function f32_csr_spmm_256x1(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, min: f32, max: f32, how: i32,
): void {
  while (columns > 127 && !(how & 1)) {
    const lanes = columns < 256 ? columns & ~31 : 256;
    const panels = <usize>(lanes >> 4);
    // Offsets are one more than they are.
    if (limitsOf(min, max)) rowsChunk<N1>(x - 1, xp, y, yp, yc, panels, s, last, min, max);
    else rowsChunk<N0>(x - 1, xp, y, yp, yc, panels, s, last, min, max);
    x += panels * xp;
    y += panels * yp;
    columns -= lanes;
  }
  csr<N8>(x, xp, y, yp, yc, columns, s, last, min, max, how);
}
