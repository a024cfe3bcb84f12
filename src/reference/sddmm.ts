import type { CsrMatrix } from '../sparse/types.ts';

/** scale (A B^T) at the pattern's places, in f64 with one rounding each. */
export function referenceSDDMM(
  pattern: CsrMatrix,
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  d: number,
  scale = 1,
): Float32Array {
  const y = new Float32Array(pattern.columnIndices.length);
  for (let r = 0; r < pattern.rows; r++) {
    for (let e = pattern.rowPointers[r]; e < pattern.rowPointers[r + 1]; e++) {
      let sum = 0;
      for (let i = 0; i < d; i++) sum += a[r * d + i] * b[pattern.columnIndices[e] * d + i];
      y[e] = sum * scale;
    }
  }
  return y;
}
