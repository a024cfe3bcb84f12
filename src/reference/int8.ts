/** int8 products in exact integers, written from the definitions; f32 roundings one by one, as they are defined. */
import { roundEven } from '../half.ts';

const f = Math.fround;

/** How one column was quantised: real = scale * (q - zero). */
export interface Column {
  readonly scale: number;
  readonly zero: number;
}

/**
 * Scales found in X [channels][columns]. steps: the greatest integer; zero: that of the magnitude's range, or left out: a zero
 * point from the least and greatest value and 0.
 */
export function referenceRange(
  x: Float32Array,
  columns: number,
  per: 'token' | 'tensor',
  steps: number,
  zero?: number,
): Column[] {
  const one = (values: Float32Array): Column => {
    const bad = values.some((v) => !Number.isFinite(v));
    const most = Math.max(0, ...values);
    const least = Math.min(0, ...values);
    const range = zero === undefined ? Math.min(f(most - least), 3.4028234663852886e38) : Math.max(most, -least);
    const scale = bad ? Number.NaN : f(range / steps) || 1;
    const point = zero ?? (bad ? 0 : Math.max(0, Math.min(steps, roundEven(f(-least / scale)))));
    return { scale, zero: point };
  };
  const all = per === 'tensor' ? one(x) : undefined;
  return Array.from({ length: columns }, (_, p) => all ?? one(x.filter((_, i) => i % columns === p)));
}

/** q = clamp(round(x / scale) + zero), ties to even; of NaN, zero. */
export function referenceQuantized(x: Float32Array, by: readonly Column[], lo: number, hi: number): Int32Array {
  return Int32Array.from(x, (v, i) => {
    const { scale, zero } = by[i % by.length];
    const q = f(v / scale);
    return Math.max(lo, Math.min(hi, (Number.isNaN(q) ? 0 : roundEven(q)) + zero));
  });
}

/** Exact sums of w (q - zero), [rows][columns]; below 2^53. */
export function referenceSums(w: Int8Array, q: Int32Array, by: readonly Column[], rows: number): Float64Array {
  const columns = by.length;
  const cols = w.length / (rows || 1);
  const y = new Float64Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let p = 0; p < columns; p++) {
      for (let k = 0; k < cols; k++) y[r * columns + p] += w[r * cols + k] * (q[k * columns + p] - by[p].zero);
    }
  }
  return y;
}

/**
 * Y [rows][columns] from exact sums; in reals, limited, or with `to` in integers of it.
 * @param known scales were known when the weights were packed, so the bias counts in steps of the sums
 */
export function referenceInt8(
  sums: Float64Array,
  scales: Float32Array,
  by: readonly Column[],
  known: boolean,
  bias: Float32Array,
  to: { min: number; max: number; scale?: number; zero?: number },
): Float32Array {
  const columns = by.length;
  const { min, max, zero = 0 } = to;
  const scale = f(to.scale ?? 1);
  return Float32Array.from(sums, (sum, i) => {
    const [r, { scale: s }] = [Math.floor(i / columns), by[i % columns]];
    const start = known ? roundEven(bias[r] / (f(s) * scales[r])) : 0;
    const rest = known ? 0 : f(bias[r] / scale);
    const factor = known ? f((f(s) * scales[r]) / scale) : f(f(scales[r] / scale) * s);
    const y = f(f(f(sum + start) * factor) + rest);
    if (to.scale === undefined) return Number.isNaN(y) ? y : Math.max(min, Math.min(max, y));
    // A column whose scale is not a number has no integers: the least stands for it.
    return Number.isNaN(y) ? min : Math.max(min, Math.min(max, roundEven(y) + zero));
  });
}
