import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SparseFormatError } from '../src/errors.ts';
import { countSpmm, packSpmm, unpackSpmm } from '../src/pack/spmm.ts';
import { referenceCSR } from '../src/reference/csr.ts';
import { referenceSpmm } from '../src/reference/dense.ts';
import { SparseMatrix } from '../src/sparse/matrix.ts';
import type { CsrMatrix } from '../src/sparse/types.ts';
import { Bench, ISAS, randf, rng } from './support/kernels.ts';
import { expectClose, runSpmm, spmmVariants, tolerance } from './support/spmm.ts';

const CSR = spmmVariants('csr');

const expandCSR = (m: CsrMatrix) => SparseMatrix.fromCSR(m).toDense();

/** Rows with so many entries each, at seeded places. */
function csr(rows: number, cols: number, entries: (row: number) => number, seed = 1): CsrMatrix {
  const r = rng(seed);
  const rowPointers = [0];
  const columnIndices: number[] = [];
  for (let row = 0; row < rows; row++) {
    const picked = new Set<number>();
    while (picked.size < Math.min(cols, entries(row))) picked.add(Math.floor(((r() + 1) / 2) * cols));
    columnIndices.push(...[...picked].sort((a, b) => a - b));
    rowPointers.push(columnIndices.length);
  }
  return { rows, cols, rowPointers, columnIndices, values: columnIndices.map(() => r() || 0.5) };
}

describe.each(ISAS)('%s', (isa) => {
  const bench = new Bench(isa);

  test.each(CSR)('$name: every number of columns, panels and plain rows, empty and short rows', (variant) => {
    const m = csr(9, 21, (r) => [0, 1, 2, 3, 21, 0, 7, 8, 1][r], 3);
    const w = expandCSR(m);
    const bias = randf(9, 4);
    for (let columns = 0; columns <= 70; columns++) {
      const x = randf(21 * columns, columns + 1);
      const want = referenceCSR(m, x, columns, bias);
      for (const plain of [false, true]) {
        const got = runSpmm(bench, variant, w, { rows: 9, cols: 21, columns, x, bias, plain });
        expectClose(got, want, tolerance(21), `${columns} columns, plain ${plain}`);
      }
    }
  });

  test('short rows: chunks of panels and what is left, rows of no to many nonzeros, with and without limits', () => {
    const variant = CSR.find((v) => v.name === 'f32_csr_spmm_32x1')!;
    const lengths = [0, 1, 2, 3, 4, 5, 0, 6, 7, 8, 21, 0, 3];
    const rows = lengths.length;
    for (const cols of [21, 40, 80]) {
      const m = csr(rows, cols, (r) => lengths[r], cols);
      const bias = randf(rows, 4);
      const packed = packSpmm(expandCSR(m), rows, cols, variant, bias);
      expect(packed.segments.map((s) => s.kernel)).toEqual(['f32_csr_spmm_256x1']);
      for (const columns of [100, 127, 128, 129, 144, 159, 160, 255, 256, 300, 512, 530, 1100]) {
        const x = randf(cols * columns, columns + 1);
        for (const [min, max] of [
          [undefined, undefined],
          [-0.5, undefined],
          [-0.5, 0.75],
        ]) {
          const want = referenceCSR(m, x, columns, bias, min, max);
          for (const plain of [false, true]) {
            const got = runSpmm(bench, variant, packed, { rows, cols, columns, x, bias, plain, min, max });
            expectClose(
              got,
              want,
              tolerance(cols),
              `${cols} inputs, ${columns} columns, ${min} ${max}, plain ${plain}`,
            );
          }
        }
      }
    }
  });

  test('short rows: NaN and infinities, and blocks of inputs that add to the first', () => {
    const variant = CSR.find((v) => v.name === 'f32_csr_spmm_32x1')!;
    const cols = 1300;
    const m = csr(8, cols, (r) => [0, 1, 2, 3, 4, 8, 7, 5][r], 5);
    const bias = randf(8, 7);
    const packed = packSpmm(expandCSR(m), 8, cols, variant, bias);
    expect(packed.segments.length).toBeGreaterThan(1);
    expect(packed.segments.map((s) => s.kernel === 'f32_csr_spmm_256x1')).toEqual(packed.segments.map((_, i) => !i));
    const x = randf(cols * 200, 6);
    for (let i = 0; i < x.length; i += 37)
      x[i] = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY][i % 3];
    const got = runSpmm(bench, variant, packed, { rows: 8, cols, columns: 200, x, bias, min: -1, max: 1 });
    expectClose(got, referenceCSR(m, x, 200, bias, -1, 1), tolerance(cols));
  });

  test.each(CSR)('$name: random shapes and densities', (variant) => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 20 }),
        fc.integer({ min: 0, max: 40 }),
        fc.integer({ min: 0, max: 50 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.integer({ min: 1, max: 1000 }),
        (rows, cols, columns, density, seed) => {
          const r = rng(seed);
          const m = csr(rows, cols, () => ((r() + 1) / 2) * density * cols, seed);
          const x = randf(cols * columns, seed);
          const got = runSpmm(bench, variant, expandCSR(m), { rows, cols, columns, x, min: -0.5, max: 0.75 });
          expectClose(got, referenceCSR(m, x, columns, undefined, -0.5, 0.75), tolerance(cols));
        },
      ),
      { numRuns: 100 },
    );
  });

  test.each(CSR)('$name: more inputs than one block, with bias and clamp', (variant) => {
    const cols = 1300;
    const m = csr(6, cols, (r) => [0, 1, 400, 1300, 13, 130][r], 5);
    const x = randf(cols * 37, 6);
    const bias = randf(6, 7);
    const packed = packSpmm(expandCSR(m), m.rows, m.cols, variant, bias);
    expect(packed.segments.length).toBeGreaterThan(1);
    const got = runSpmm(bench, variant, packed, { rows: 6, cols, columns: 37, x, bias, min: -1, max: 1, plain: true });
    expectClose(got, referenceCSR(m, x, 37, bias, -1, 1), tolerance(cols));
  });

  test.each(CSR)('$name: infinities and NaN arrive where a weight meets them, and nowhere else', (variant) => {
    const m: CsrMatrix = {
      rows: 4,
      cols: 3,
      rowPointers: [0, 1, 2, 3, 3],
      columnIndices: [0, 1, 2],
      values: [2, Number.POSITIVE_INFINITY, Number.NaN],
    };
    const x = new Float32Array(3 * 20).fill(1);
    x[0] = Number.NEGATIVE_INFINITY;
    x[1] = Number.NaN;
    const got = runSpmm(bench, variant, expandCSR(m), { rows: 4, cols: 3, columns: 20, x, min: -8, max: 8 });
    expectClose(got, referenceCSR(m, x, 20, undefined, -8, 8), 0);
    expect(got[0]).toBe(-8);
    expect(got[1]).toBeNaN();
    expect(got[20]).toBe(8);
    expect(got[40]).toBeNaN();
    expect(got[60]).toBe(0);
  });
});

/** Fewer nonzeros, longer blocks of inputs; every block but the last adds without clamping. */
test.each([
  [0.9, 128],
  [0.3, 256],
  [0.05, 512],
])('density %f: blocks of at most %i inputs, packed, unpacked and multiplied', (density, block) => {
  const [rows, cols, columns] = [14, 1100, 33];
  const r = rng(8);
  const w = Float32Array.from({ length: rows * cols }, () => ((r() + 1) / 2 < density ? r() || 0.5 : 0));
  const [x, bias] = [randf(cols * columns, 2), randf(rows, 3)];
  const want = referenceSpmm(w, x, rows, cols, columns, bias, -0.5, 4);
  for (const variant of spmmVariants()) {
    const packed = packSpmm(w, rows, cols, variant, bias);
    const starts = [...new Set(packed.segments.map((s) => s.input))];
    const most = variant.format === 'dense' ? 128 : block;
    expect(starts).toHaveLength(Math.ceil(cols / most));
    for (const [i, at] of starts.entries()) expect((starts[i + 1] ?? cols) - at).toBeLessThanOrEqual(most);
    expect(unpackSpmm(packed)).toEqual(w);
    for (const isa of ISAS) {
      if (variant.isa && variant.isa !== isa) continue;
      const got = runSpmm(new Bench(isa), variant, packed, { rows, cols, columns, x, bias, min: -0.5, max: 4 });
      expectClose(got, want, tolerance(cols));
    }
  }
});

test('counts are what packing stores', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 12 }), fc.nat(1000), (rows, cols, seed) => {
      const w = randf(rows * cols, seed + 1).map((v) => (v > 0.2 ? v : 0));
      const counts = countSpmm(w, rows, cols);
      expect(counts.csr.stored).toBe(w.filter((v) => v !== 0).length);
      for (const v of spmmVariants()) {
        const packed = packSpmm(w, rows, cols, v);
        expect(packed.nonzeros).toBe(counts.csr.stored);
        expect(packed.stored).toBe(v.format === 'dense' ? rows * cols : counts[v.format!].stored);
      }
    }),
  );
});

test('packing and unpacking give the matrix back, NaN and infinities too, -0 as 0', () => {
  for (const variant of spmmVariants()) {
    for (const [rows, cols] of [
      [0, 5],
      [5, 0],
      [1, 1],
      [7, 13],
      [8, 1100],
      [11, 600],
    ]) {
      const w = randf(rows * cols, 9).map((v) => (v > 0.4 ? v : 0));
      w.set([Number.NaN, Number.POSITIVE_INFINITY, -0].slice(0, w.length));
      const back = unpackSpmm(packSpmm(w, rows, cols, variant));
      expect(back).toEqual(w.map((v) => v + 0));
    }
  }
});

test('packed weights do not depend on where their bytes lie', () => {
  const w = randf(12 * 30, 2);
  const packed = packSpmm(w, 12, 30, CSR[0]);
  const moved = new Uint8Array(packed.bytes + 64);
  moved.set(packed.data, 64);
  expect(unpackSpmm({ ...packed, data: moved.subarray(64) })).toEqual(w);
});

describe('SparseMatrix.fromCSR', () => {
  const good: CsrMatrix = { rows: 2, cols: 4, rowPointers: [0, 2, 3], columnIndices: [0, 3, 1], values: [1, 2, 3] };
  test('accepts a sound matrix, and an empty one', () => {
    expect([...expandCSR(good)]).toEqual([1, 0, 0, 2, 0, 3, 0, 0]);
    expect(expandCSR({ rows: 0, cols: 0, rowPointers: [0], columnIndices: [], values: [] })).toHaveLength(0);
  });
  test.each<[string, Partial<CsrMatrix>, RegExp]>([
    ['too few pointers', { rowPointers: [0, 3] }, /expected 3 entries, got 2/],
    ['a first pointer that is not 0', { rowPointers: [1, 2, 3] }, /rowPointers\[0\]: expected 0, got 1/],
    ['pointers that fall', { rowPointers: [0, 3, 2] }, /rowPointers\[2\].*from 3 to 3.*got 2/],
    ['a pointer past the indices', { rowPointers: [0, 2, 4] }, /rowPointers\[2\].*got 4/],
    ['a last pointer short of the indices', { rowPointers: [0, 1, 2] }, /expected 3, the number of indices, got 2/],
    ['a fractional pointer', { rowPointers: [0, 1.5, 3] }, /got 1.5/],
    ['a column out of range', { columnIndices: [0, 4, 1] }, /columnIndices\[1\].*from 0 to 3, got 4/],
    ['a column whose byte offset wraps around', { columnIndices: [0, 0x40000000, 1] }, /got 1073741824/],
    ['a negative column', { columnIndices: [-1, 3, 1] }, /got -1/],
    ['columns that fall', { columnIndices: [3, 0, 1] }, /row 0, got 0 after 3/],
    ['a column twice', { columnIndices: [3, 3, 1] }, /row 0, got 3 after 3/],
    ['too few values', { values: [1, 2] }, /values: expected 3 entries, got 2/],
    ['rows that are no size', { rows: -1 }, /rows: .*got -1/],
    ['columns past 31 bits', { cols: 2 ** 31 }, /cols: .*got 2147483648/],
    ['rows past 31 bits', { rows: 2 ** 31 }, /rows: .*got 2147483648/],
    [
      'rows whose product with columns would pass 2^53',
      { rows: 2 ** 31 - 1, cols: 2 ** 31 - 1 },
      /rows: expected an integer from 0 to 67108863/,
    ],
  ])('refuses %s', (_, change, message) => {
    const bad = { ...good, ...change };
    expect(() => SparseMatrix.fromCSR(bad)).toThrow(SparseFormatError);
    expect(() => SparseMatrix.fromCSR(bad)).toThrow(message);
  });
});

test('packSpmm names what does not fit', () => {
  expect(() => packSpmm(new Float32Array(5), 2, 3, CSR[0])).toThrow(/"weights" expected 2 \* 3 = 6 values/);
  expect(() => packSpmm(new Float32Array(6), 2, 3, CSR[0], new Float32Array(3))).toThrow(/"bias" expected 2 values/);
  expect(() => packSpmm(new Float32Array(0), 0, 2 ** 30, CSR[0])).toThrow(/"cols"/);
  expect(() => packSpmm(new Float32Array(0), 0, 0, { name: 'x', op: 'gemv', lanes: 0, channels: 1 })).toThrow(
    /"variant"/,
  );
});
