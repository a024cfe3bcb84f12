/** The sparse product from the compressed rows themselves: what is not stored is not multiplied. */
import type { CsrMatrix } from '../sparse/types.ts';
import { clamp } from './dense.ts';

/** Y[rows][columns] = clamp(W X[cols][columns] + bias), in f64 with one rounding at the store. */
export function referenceCSR(
  w: CsrMatrix,
  x: ArrayLike<number>,
  columns: number,
  bias?: ArrayLike<number>,
  min = Number.NEGATIVE_INFINITY,
  max = Number.POSITIVE_INFINITY,
): Float32Array {
  const y = new Float32Array(w.rows * columns);
  for (let r = 0; r < w.rows; r++) {
    for (let p = 0; p < columns; p++) {
      let sum = bias ? bias[r] : 0;
      for (let i = w.rowPointers[r]; i < w.rowPointers[r + 1]; i++) {
        sum += w.values[i] * x[w.columnIndices[i] * columns + p];
      }
      y[r * columns + p] = clamp(sum, min, max);
    }
  }
  return y;
}
