import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { gemvCalls, matmulCalls } from '../src/kernel/dense.ts';
import { packGemv } from '../src/pack/dense.ts';
import { referenceGemv, referenceMatmul, referenceSpmm } from '../src/reference/dense.ts';
import { Bench, ISAS, randf } from './support/kernels.ts';
import { expectClose, runSpmm, spmmVariants, tolerance } from './support/spmm.ts';

const DENSE = spmmVariants('dense');
const LIMITS = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };

describe.each(ISAS)('%s', (isa) => {
  const bench = new Bench(isa);

  test.each(DENSE)('$name: every number of columns and rows', (variant) => {
    for (let columns = 0; columns <= 40; columns++) {
      const rows = 1 + (columns % 14);
      const cols = columns % 9;
      const w = randf(rows * cols, columns + 1);
      const x = randf(cols * columns, columns + 2);
      const bias = randf(rows, 3);
      for (const plain of [false, true]) {
        const got = runSpmm(bench, variant, w, { rows, cols, columns, x, bias, min: -1, max: 1.5, plain });
        const want = referenceSpmm(w, x, rows, cols, columns, bias, -1, 1.5);
        expectClose(got, want, tolerance(cols), `${rows}x${cols}x${columns}, plain ${plain}`);
      }
    }
  });

  test.each(DENSE)('$name: more inputs than one block', (variant) => {
    const [rows, cols, columns] = [13, 1300, 43];
    const w = randf(rows * cols, 1);
    const x = randf(cols * columns, 2);
    const bias = randf(rows, 3);
    const got = runSpmm(bench, variant, w, { rows, cols, columns, x, bias, plain: true });
    expectClose(got, referenceSpmm(w, x, rows, cols, columns, bias), tolerance(cols));
  });

  /** C = A B with `gap` extra elements between rows, which must stay as they were. */
  function matmul(m: number, n: number, k: number, gap: number): { got: Float32Array; want: Float32Array } {
    bench.reset();
    const [a, b] = [randf(m * k, 5), randf(k * n, 6)];
    const spread = (data: Float32Array, rows: number, width: number) => {
      const out = new Float32Array(Math.max(0, rows * (width + gap) - gap)).fill(Number.NaN);
      for (let r = 0; r < rows; r++) out.set(data.subarray(r * width, (r + 1) * width), r * (width + gap));
      return out;
    };
    const at = { a: bench.put(spread(a, m, k), 'A'), b: bench.put(spread(b, k, n), 'B') };
    const blank = spread(new Float32Array(m * n).fill(Number.NaN), m, n).fill(7);
    const y = bench.put(blank, 'Y');
    const io = { ...at, y, m, n, k, aStride: k + gap, bStride: n + gap, yStride: n + gap };
    for (const { kernel, args } of matmulCalls(io)) bench.exports[kernel](...args);
    bench.check();
    const Y = bench.f32(y, blank.length);
    const got = new Float32Array(m * n);
    for (let r = 0; r < m; r++) {
      got.set(Y.subarray(r * (n + gap), r * (n + gap) + n), r * n);
      for (let i = 0; i < gap && r < m - 1; i++) expect(Y[r * (n + gap) + n + i]).toBe(7);
    }
    return { got, want: referenceMatmul(a, b, m, n, k) };
  }

  test('f32_dense_matmul: ragged sizes, zero sizes, any strides', () => {
    for (let m = 0; m <= 6; m++) {
      for (let n = 0; n <= 18; n++) {
        for (const k of [0, 1, 5]) {
          for (const gap of [0, 3]) {
            const { got, want } = matmul(m, n, k, gap);
            expectClose(got, want, tolerance(k), `${m}x${n}x${k}, gap ${gap}`);
          }
        }
      }
    }
  });

  test('f32_dense_matmul: more inputs than one block', () => {
    const { got, want } = matmul(9, 21, 700, 1);
    expectClose(got, want, tolerance(700));
  });

  test('f32_dense_gemv: one to five tokens, ragged outputs, bias and clamp', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 0, max: 50 }),
        fc.integer({ min: 0, max: 30 }),
        fc.integer({ min: 1, max: 1000 }),
        (tokens, rows, cols, seed) => {
          bench.reset();
          const w = randf(rows * cols, seed);
          const x = randf(tokens * cols, seed + 1);
          const bias = randf(rows, seed + 2);
          const packed = packGemv(w, rows, cols, bias);
          const at = bench.put(packed.data, 'weights');
          const io = { x: bench.put(x, 'X'), y: bench.alloc(tokens * rows * 4, 'Y'), tokens, min: -1, max: 1.5 };
          for (const { kernel, args } of gemvCalls(packed, at, io)) bench.exports[kernel](...args);
          bench.check();
          const got = bench.f32(io.y, tokens * rows);
          expectClose(got, referenceGemv(w, x, rows, cols, tokens, bias, -1, 1.5), tolerance(cols));
        },
      ),
      { numRuns: 200 },
    );
  });

  test('f32_dense_gemv: a NaN reaches every output, clamped or not', () => {
    bench.reset();
    const packed = packGemv(new Float32Array(6).fill(1), 3, 2);
    const at = bench.put(packed.data, 'weights');
    const io = {
      x: bench.put(new Float32Array([Number.NaN, 1]), 'X'),
      y: bench.alloc(12, 'Y'),
      tokens: 1,
      min: 0,
      max: 6,
    };
    for (const { kernel, args } of gemvCalls(packed, at, io)) bench.exports[kernel](...args);
    expectClose(bench.f32(io.y, 3), [Number.NaN, Number.NaN, Number.NaN], 0);
  });
});

test('no tokens, no calls', () => {
  expect(gemvCalls(packGemv(new Float32Array(6), 3, 2), 64, { x: 0, y: 0, tokens: 0, ...LIMITS })).toEqual([]);
});

test('packGemv names what does not fit', () => {
  expect(() => packGemv(new Float32Array(5), 3, 2)).toThrow(/"weights" expected 3 \* 2 values/);
  expect(() => packGemv(new Float32Array(6), 3, 2, new Float32Array(2))).toThrow(/"bias" expected 3 values/);
});
