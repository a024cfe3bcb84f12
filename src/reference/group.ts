/** The product with groups of rows that share their inputs: what is not stored is not multiplied. */
import type { BsrMatrix } from '../sparse/types.ts';
import { clamp } from './dense.ts';

/** Blocks of [g, 1]: Y[rows][columns] = clamp(W X[cols][columns] + bias), in f64 with one rounding at the store. */
export function referenceGroups(
  w: BsrMatrix,
  x: ArrayLike<number>,
  columns: number,
  bias?: ArrayLike<number>,
  min = Number.NEGATIVE_INFINITY,
  max = Number.POSITIVE_INFINITY,
): Float32Array {
  const y = new Float32Array(w.rows * columns);
  const channels = w.block[0];
  for (let r = 0; r < w.rows; r++) {
    const g = Math.floor(r / channels);
    for (let p = 0; p < columns; p++) {
      let sum = bias ? bias[r] : 0;
      for (let i = w.rowPointers[g]; i < w.rowPointers[g + 1]; i++) {
        sum += w.values[i * channels + (r % channels)] * x[w.columnIndices[i] * columns + p];
      }
      y[r * columns + p] = clamp(sum, min, max);
    }
  }
  return y;
}
