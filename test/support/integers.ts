// int8 matrices for tests.
import { SparseMatrix } from '../../src/index.ts';
import { rng } from './kernels.ts';

/** Integers whose zeros groups of rows share. */
export function integers(rows: number, cols: number, density: number, group: number, seed = 1): Int8Array {
  const next = rng(seed);
  const out = new Int8Array(rows * cols);
  for (let g = 0; g < rows; g += group) {
    for (let k = 0; k < cols; k++) {
      if ((next() + 1) / 2 >= density) continue;
      for (let r = g; r < Math.min(rows, g + group); r++) out[r * cols + k] = Math.round(next() * 127) || 1;
    }
  }
  return out;
}

export function matrix(weights: Int8Array, scales: Float32Array, rows: number, cols: number): SparseMatrix {
  const pointers = [0];
  const columnIndices: number[] = [];
  for (let r = 0; r < rows; r++) {
    for (let k = 0; k < cols; k++) if (weights[r * cols + k]) columnIndices.push(k);
    pointers.push(columnIndices.length);
  }
  const values = weights.filter((v) => v !== 0);
  return SparseMatrix.fromCSR({ rows, cols, rowPointers: pointers, columnIndices, values }, { dtype: 'int8', scales });
}

/** [a][b] -> [b][a] */
export const transposed = (data: Float32Array, a: number, b: number): Float32Array =>
  Float32Array.from({ length: data.length }, (_, i) => data[(i % a) * b + Math.floor(i / a)]);
