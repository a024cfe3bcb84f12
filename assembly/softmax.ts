// Softmax and its logarithm, in three passes: maximum, e^(x - maximum) and its sum, scale. y may be x.
import {
  C2, C3, C4, C5, C6, EXP_LOW, L0, L1, L2, LN2_HIGH, LN2_LOW, LOG2E, MAGIC_HALF, MANTISSA, ROOT_HALF, SMALLEST, exp,
  loadPart, log, pin, storePart,
} from './math';

/** Sum, or maximum, of the four lanes, in every lane. */
// @ts-expect-error: decorator
@inline function across(sum: bool, v: v128): v128 {
  const w = v128.shuffle<f32>(v, v, 2, 3, 0, 1);
  v = sum ? f32x4.add(v, w) : f32x4.pmax(v, w);
  const u = v128.shuffle<f32>(v, v, 1, 0, 3, 2);
  return sum ? f32x4.add(v, u) : f32x4.pmax(v, u);
}

/**
 * Blocks of [n][inner], normalised along n. With `rows`, inner is 1 and four lanes walk along n; else lanes are along
 * inner and walk down n.
 */
// @ts-expect-error: decorator
@inline function softmax(rows: bool, x: usize, y: usize, outer: i32, n: i32, inner: i32, outerStride: usize, logarithm: i32): void {
  if (outer <= 0 || n <= 0 || inner <= 0) return;
  const saved = load<f32>(y);
  const none = pin(y, -Infinity);
  const one = pin(y, 1);
  const low = pin(y, EXP_LOW);
  const magic = pin(y, MAGIC_HALF);
  const log2e = pin(y, LOG2E);
  const ln2High = pin(y, -LN2_HIGH);
  const ln2Low = pin(y, -LN2_LOW);
  const c2 = pin(y, C2);
  const c3 = pin(y, C3);
  const c4 = pin(y, C4);
  const c5 = pin(y, C5);
  const c6 = pin(y, C6);
  store<f32>(y, saved);

  // A step is one vector: along a row, or from row to row of a column of four. `live` lanes of the vector exist: in a row
  // that depends on the step, in a column it does not.
  const step: usize = rows ? 16 : <usize>inner << 2;
  for (; outer > 0; outer--, x += outerStride, y += outerStride) {
    for (let i = 0; i < inner; i += 4) {
      const from = x + (<usize>i << 2);
      const to = y + (<usize>i << 2);
      const take = rows ? 4 : 1;
      const columns = inner - i;

      // A NaN need not win here: it makes the sum NaN, and so every result.
      let top = none;
      let p = from;
      for (let left = n; left > 0; left -= take, p += step) {
        const live = rows ? left : columns;
        top = f32x4.pmax(top, live >= 4 ? v128.load(p) : loadPart(p, live, none));
      }
      if (rows) top = across(false, top);

      let sum = f32x4.splat(0);
      p = from;
      let q = to;
      for (let left = n; left > 0; left -= take, p += step, q += step) {
        const live = rows ? left : columns;
        const d = f32x4.sub(live >= 4 ? v128.load(p) : loadPart(p, live, none), top);
        const e = exp(f32x4.pmax(d, low), one, magic, log2e, ln2High, ln2Low, c2, c3, c4, c5, c6);
        sum = f32x4.add(sum, e);
        if (!logarithm) {
          if (live >= 4) v128.store(q, e);
          else storePart(q, e, live);
        }
      }
      if (rows) sum = across(true, sum);

      // e / sum, or (x - top) - log sum.
      let scale = one;
      let shift = f32x4.splat(0);
      if (logarithm) {
        shift = log(
          sum, one, f32x4.splat(2), f32x4.splat(SMALLEST), f32x4.splat(ROOT_HALF), f32x4.splat(MANTISSA),
          f32x4.splat(Infinity), f32x4.splat(L0), f32x4.splat(L1), f32x4.splat(L2), f32x4.neg(ln2High), f32x4.neg(ln2Low),
        );
        p = from;
      } else {
        top = shift;
        scale = f32x4.div(one, sum);
        p = to;
      }
      q = to;
      for (let left = n; left > 0; left -= take, p += step, q += step) {
        const live = rows ? left : columns;
        const v = live >= 4 ? v128.load(p) : loadPart(p, live, one);
        const r = f32x4.sub(f32x4.mul(f32x4.sub(v, top), scale), shift);
        if (live >= 4) v128.store(q, r);
        else storePart(q, r, live);
      }
    }
  }
}

export function f32_plain_softmax_rows(
  x: usize, y: usize, outer: i32, n: i32, inner: i32, outerStride: usize, logarithm: i32,
): void {
  softmax(true, x, y, outer, n, 1, outerStride, logarithm);
}
export function f32_plain_softmax_columns(
  x: usize, y: usize, outer: i32, n: i32, inner: i32, outerStride: usize, logarithm: i32,
): void {
  softmax(false, x, y, outer, n, inner, outerStride, logarithm);
}
