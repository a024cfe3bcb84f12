import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SparseFormatError } from '../src/errors.ts';
import { packSpmm, unpackSpmm } from '../src/pack/spmm.ts';
import { referenceGroups } from '../src/reference/group.ts';
import { SparseMatrix } from '../src/sparse/matrix.ts';
import type { BsrMatrix } from '../src/sparse/types.ts';
import { Bench, ISAS, randf, rng } from './support/kernels.ts';
import { expectClose, runSpmm, spmmVariants, tolerance } from './support/spmm.ts';

const GROUPS = [...spmmVariants('group2'), ...spmmVariants('group4')];

const expandGroups = (m: BsrMatrix) => SparseMatrix.fromBSR(m).toDense();

function groups(rows: number, cols: number, channels: number, entries: (g: number) => number, seed = 1): BsrMatrix {
  const r = rng(seed);
  const rowPointers = [0];
  const columnIndices: number[] = [];
  for (let g = 0; g < Math.ceil(rows / channels); g++) {
    const picked = new Set<number>();
    while (picked.size < Math.min(cols, entries(g))) picked.add(Math.floor(((r() + 1) / 2) * cols));
    columnIndices.push(...[...picked].sort((a, b) => a - b));
    rowPointers.push(columnIndices.length);
  }
  const values = Array.from({ length: columnIndices.length * channels }, () => r() || 0.5);
  return { rows, cols, block: [channels, 1], rowPointers, columnIndices, values };
}

describe.each(ISAS)('%s', (isa) => {
  const bench = new Bench(isa);

  test.each(GROUPS)('$name: every number of columns, panels and plain rows, empty and short groups', (variant) => {
    const m = groups(20, 21, variant.channels, (g) => [0, 1, 2, 3, 21, 0, 7, 8, 1, 2][g], 3);
    const bias = randf(20, 4);
    for (let columns = 0; columns <= 50; columns++) {
      const x = randf(21 * columns, columns + 1);
      const want = referenceGroups(m, x, columns, bias);
      for (const plain of [false, true]) {
        const got = runSpmm(bench, variant, expandGroups(m), { rows: 20, cols: 21, columns, x, bias, plain });
        expectClose(got, want, tolerance(21), `${columns} columns, plain ${plain}`);
      }
    }
  });

  test.each(GROUPS)('$name: any number of rows, random densities, groups partly zero', (variant) => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 15 }),
        fc.integer({ min: 0, max: 40 }),
        fc.integer({ min: 0, max: 40 }),
        fc.constantFrom(1, 2, 3, 4),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.integer({ min: 1, max: 1000 }),
        (rows, cols, columns, channels, density, seed) => {
          const m = groups(rows, cols, channels, () => density * cols, seed);
          const x = randf(cols * columns, seed);
          const bias = randf(rows, seed);
          const got = runSpmm(bench, variant, expandGroups(m), { rows, cols, columns, x, bias, min: -0.5, max: 0.75 });
          expectClose(got, referenceGroups(m, x, columns, bias, -0.5, 0.75), tolerance(cols));
        },
      ),
      { numRuns: 100 },
    );
  });

  test.each(GROUPS)('$name: more inputs than one block, rows that fill no group', (variant) => {
    const cols = 1300;
    const m = groups(7, cols, variant.channels, (g) => [400, 1, 1300, 0][g], 5);
    const x = randf(cols * 21, 6);
    const bias = randf(7, 7);
    const packed = packSpmm(expandGroups(m), m.rows, m.cols, variant, bias);
    const got = runSpmm(bench, variant, packed, { rows: 7, cols, columns: 21, x, bias, min: -1, max: 1, plain: true });
    expectClose(got, referenceGroups(m, x, 21, bias, -1, 1), tolerance(cols));
  });
});

test('groups keep their sharing: one index for each stored block', () => {
  const m = groups(8, 30, 4, () => 10);
  const packed = packSpmm(expandGroups(m), m.rows, m.cols, spmmVariants('group4')[0]);
  expect(packed.stored).toBe(2 * 10 * 4);
  expect(unpackSpmm(packed)).toEqual(expandGroups(m));
});

test('fromBSR names what is wrong', () => {
  const good = groups(6, 5, 4, () => 2);
  SparseMatrix.fromBSR(good);
  const bad = (change: Partial<BsrMatrix>) => () => SparseMatrix.fromBSR({ ...good, ...change });
  expect(bad({ block: [0, 1] })).toThrow(SparseFormatError);
  expect(bad({ rowPointers: [0, 2] })).toThrow(/expected 3 entries, got 2/);
  expect(bad({ values: [1, 2, 3] })).toThrow(/values: expected 16 entries, got 3/);
  expect(bad({ columnIndices: [0, 5, 1, 2] })).toThrow(/columnIndices\[1\].*from 0 to 4, got 5/);
  expect(bad({ rows: 1.5 })).toThrow(/rows/);
});
