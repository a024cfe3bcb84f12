/** Dense products from their formulas, in f64 with one rounding at the store. */

/** Y[rows][columns] = clamp(W[rows][cols] X[cols][columns] + bias). */
export function referenceSpmm(
  w: ArrayLike<number>,
  x: ArrayLike<number>,
  rows: number,
  cols: number,
  columns: number,
  bias?: ArrayLike<number>,
  min = Number.NEGATIVE_INFINITY,
  max = Number.POSITIVE_INFINITY,
): Float32Array {
  const y = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let p = 0; p < columns; p++) {
      let sum = bias ? bias[r] : 0;
      for (let k = 0; k < cols; k++) sum += w[r * cols + k] * x[k * columns + p];
      y[r * columns + p] = clamp(sum, min, max);
    }
  }
  return y;
}

/** sum limited to [min, max]; NaN stays NaN. */
export const clamp = (sum: number, min: number, max: number): number => Math.min(Math.max(sum, min), max);

/** Y[m][n] = A[m][k] B[k][n]. */
export function referenceMatmul(a: ArrayLike<number>, b: ArrayLike<number>, m: number, n: number, k: number) {
  return referenceSpmm(a, b, m, k, n);
}

/** Y[tokens][rows] = clamp(X[tokens][cols] W[rows][cols]^T + bias). */
export function referenceGemv(
  w: ArrayLike<number>,
  x: ArrayLike<number>,
  rows: number,
  cols: number,
  tokens: number,
  bias?: ArrayLike<number>,
  min = Number.NEGATIVE_INFINITY,
  max = Number.POSITIVE_INFINITY,
): Float32Array {
  const y = new Float32Array(tokens * rows);
  for (let t = 0; t < tokens; t++) {
    for (let r = 0; r < rows; r++) {
      let sum = bias ? bias[r] : 0;
      for (let k = 0; k < cols; k++) sum += w[r * cols + k] * x[t * cols + k];
      y[t * rows + r] = clamp(sum, min, max);
    }
  }
  return y;
}
