/** Adapters with the change they stand for, in f64, written from the arrays they are made of. */
import { Adapter, SparseMatrix } from '../../src/index.ts';
import { randf, rng } from './kernels.ts';

export interface Known {
  name: string;
  adapter: Adapter;
  /** [rows][cols] */
  delta: Float64Array;
}

export function lora(
  rows: number,
  cols: number,
  rank: number,
  seed: number,
  { scale = 0.5, zero = [] as number[] } = {},
): Known {
  const a = randf(rank * cols, seed);
  const b = randf(rows * rank, seed + 1);
  // Pairs vanish by either side.
  for (const k of zero) {
    if (k % 2) for (let c = 0; c < cols; c++) a[k * cols + c] = 0;
    else for (let r = 0; r < rows; r++) b[r * rank + k] = -0;
  }
  const delta = new Float64Array(rows * cols);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < cols; c++)
      for (let k = 0; k < rank; k++) delta[r * cols + c] += scale * b[r * rank + k] * a[k * cols + c];
  return { name: `lora ${rank}`, adapter: Adapter.lora(a, b, { rank, rows, cols, scale }), delta };
}

export function entries(rows: number, cols: number, density: number, seed: number): Known {
  const r = rng(seed);
  const w = Float32Array.from({ length: rows * cols }, () => ((r() + 1) / 2 < density ? r() || 0.5 : 0));
  return {
    name: `sparse ${density}`,
    adapter: Adapter.sparse(SparseMatrix.fromDense(w, rows, cols)),
    delta: Float64Array.from(w),
  };
}

export function slab(kind: 'rows' | 'cols', rows: number, cols: number, list: number[], seed: number): Known {
  const n = list.length;
  const data = randf(n * (kind === 'rows' ? cols : rows), seed);
  const delta = new Float64Array(rows * cols);
  list.forEach((at, i) => {
    if (kind === 'rows') for (let c = 0; c < cols; c++) delta[at * cols + c] = data[i * cols + c];
    else for (let r = 0; r < rows; r++) delta[r * cols + at] = data[r * n + i];
  });
  return { name: `${n} ${kind}`, adapter: Adapter[kind](list, data, { rows, cols }), delta };
}

/** One of every kind. */
export const assortment = (rows: number, cols: number): Known[] => [
  lora(rows, cols, 8, 11),
  lora(rows, cols, 5, 12, { scale: 2, zero: [0, 3] }),
  lora(rows, cols, 1, 13),
  { ...lora(rows, cols, 4, 14, { zero: [0, 1, 2, 3] }), name: 'a zero group' },
  entries(rows, cols, 0.05, 15),
  entries(rows, cols, 1, 16),
  entries(rows, cols, 0, 17),
  slab('rows', rows, cols, [rows - 1, 0, Math.floor(rows / 2)], 18),
  slab('cols', rows, cols, [3, 2, 4], 19),
  slab('rows', rows, cols, [], 20),
];
