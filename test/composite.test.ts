// Sums and products of matrices run as one operator, against the matrix they stand for.
import { beforeAll, describe, expect, test } from 'vitest';
import { Composite, Engine, type Operand, SparseMatrix } from '../src/index.ts';
import { ISAS, randf, rng } from './support/kernels.ts';
import { expectClose } from './support/spmm.ts';

const dense = (rows: number, cols: number, seed: number): Operand => ({
  data: randf(rows * cols, seed).map((v) => v / Math.sqrt(cols)),
  rows,
  cols,
});
const sparse = (rows: number, cols: number, density: number, seed: number): SparseMatrix => {
  const r = rng(seed);
  const w = Float32Array.from({ length: rows * cols }, () => ((r() + 1) / 2 < density ? r() || 0.5 : 0));
  return SparseMatrix.fromDense(w, rows, cols);
};

const CASES: [string, () => Composite][] = [
  ['low rank', () => Composite.lowRank(dense(37, 5, 1), dense(5, 50, 2))],
  ['three factors', () => Composite.product(sparse(20, 9, 0.5, 1), dense(9, 12, 2), dense(12, 31, 3))],
  [
    'sparse + low rank',
    () => Composite.sum(sparse(24, 40, 0.2, 4), Composite.lowRank(dense(24, 3, 5), dense(3, 40, 6))),
  ],
  [
    'dense x sparse, three bases of unequal inputs',
    () => Composite.denseSparse(sparse(33, 14, 0.3, 7), [dense(4, 16, 8), dense(4, 20, 9), dense(6, 7, 10)]),
  ],
  [
    '2:4 + SLoRB, the last sum of fewer inputs',
    () => {
      const r = rng(3);
      const w = new Float32Array(12 * 70);
      for (let i = 0; i < w.length; i += 4) for (const j of [0, 3]) if (i + j < w.length) w[i + j] = r();
      return Composite.slorb(SparseMatrix.fromDense(w, 12, 70), dense(12, 3, 11), 32);
    },
  ],
  ['one part', () => Composite.sum(sparse(8, 8, 0.5, 12))],
  [
    'a sum in a diagonal in a product',
    () =>
      Composite.product(
        dense(6, 10, 1),
        Composite.diagonal(Composite.sum(dense(4, 5, 2), sparse(4, 5, 0.5, 3)), dense(6, 8, 4)),
      ),
  ],
];

describe.each(ISAS)('%s', (isa) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await Engine.create({ isa });
  });

  test.each(CASES)('%s', async (_, make) => {
    const w = make();
    const { rows, cols } = w;
    const effective = w.toDense();
    const bias = randf(rows, 21);
    for (const columns of [1, 3, 16, 49]) {
      for (const layout of ['features', 'tokens'] as const) {
        const x = randf(cols * columns, columns);
        const at = (k: number, p: number) => (layout === 'features' ? k * columns + p : p * cols + k);
        const want = Float32Array.from({ length: rows * columns }, (_, i) => {
          const [r, p] =
            layout === 'features' ? [Math.floor(i / columns), i % columns] : [i % rows, Math.floor(i / rows)];
          let sum = bias[r];
          for (let k = 0; k < cols; k++) sum += effective[r * cols + k] * x[at(k, p)];
          return Math.min(1, Math.max(-0.5, sum));
        });
        const got = await engine.spmm(w, x, { bias, min: -0.5, max: 1, layout });
        expectClose(got, want, 2e-4, `${columns} ${layout}`);
      }
    }
  });

  test('a prepared composite frees all it took', async () => {
    const used = engine.arena.used;
    const op = await engine.prepare(CASES[3][1](), { columns: 33 });
    expect(op.weightBytes).toBeGreaterThan(0);
    expect(engine.arena.used).toBeGreaterThan(used);
    op.dispose();
    expect(engine.arena.used).toBe(used);
  });
});

test('parts that do not fit are named', () => {
  expect(() => Composite.product(dense(3, 4, 1), dense(5, 6, 1))).toThrow(/"parts\[1\]" expected 4 rows, got 5/);
  expect(() => Composite.sum(dense(3, 4, 1), dense(4, 3, 1))).toThrow(/"parts\[1\]" expected 3 x 4/);
  expect(() => Composite.sum()).toThrow(/"parts"/);
  expect(() => Composite.sum(null as never)).toThrow(TypeError);
  expect(() => Composite.slorb(dense(3, 64, 1), dense(3, 2, 1))).toThrow(/"parts\[1\]"/);
  expect(() => Composite.slorb(dense(3, 64, 1), dense(3, 1, 1), 0)).toThrow(/"group"/);
});
