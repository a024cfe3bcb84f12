/** int8 products in exact integers, and f32 roundings one by one as the kernels make them. */
import { roundEven } from '../half.ts';

const f = Math.fround;

/** Scales of the columns of X [channels][columns]. */
export function referenceScales(
  x: Float32Array,
  channels: number,
  columns: number,
  per: 'token' | 'tensor',
): Float32Array {
  const most = new Float32Array(columns);
  for (let c = 0; c < channels; c++) {
    for (let p = 0; p < columns; p++) most[p] = Math.max(most[p], Math.abs(x[c * columns + p]));
  }
  if (per === 'tensor') most.fill(Math.max(0, ...most));
  return most.map((m) => (Number.isFinite(m) ? f(m / 127) || 1 : Number.NaN));
}

/** X [channels][columns] in steps of its scales, limited. */
export function referenceQuantized(
  x: Float32Array,
  scales: Float32Array,
  columns: number,
  lo = -127,
  hi = 127,
): Int16Array {
  return Int16Array.from(x, (v, i) => {
    const q = roundEven(f(v * f(1 / scales[i % columns])));
    return Number.isNaN(q) ? 0 : Math.min(hi, Math.max(lo, q));
  });
}

/** [rows][columns]; with `steps`, rounded to integers before the limits. */
export function referenceInt8(
  w: { weights: Int8Array; scales: Float32Array },
  q: Int16Array,
  scales: Float32Array,
  l: { rows: number; cols: number; columns: number; bias?: Float32Array; min?: number; max?: number; steps?: boolean },
): Float32Array {
  const { rows, cols, columns, bias, min = -Infinity, max = Infinity, steps = false } = l;
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const [r, p] = [Math.floor(i / columns), i % columns];
    let sum = 0;
    for (let k = 0; k < cols; k++) sum += w.weights[r * cols + k] * q[k * columns + p];
    const y = f(f(f(sum) * f(w.scales[r] * scales[p])) + (bias ? bias[r] : 0));
    return Math.min(max, Math.max(min, steps ? roundEven(y) : y));
  });
}
