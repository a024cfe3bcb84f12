import { describe, expect, test } from 'vitest';
import { sddmmCalls } from '../src/kernel/sddmm.ts';
import { packPattern } from '../src/pack/sddmm.ts';
import { referenceSDDMM } from '../src/reference/sddmm.ts';
import type { CsrMatrix } from '../src/sparse/types.ts';
import { Bench, ISAS, randf, rng } from './support/kernels.ts';
import { expectClose, tolerance } from './support/spmm.ts';

/** A pattern with so many entries in each row. */
function pattern(cols: number, counts: readonly number[], seed = 1): CsrMatrix {
  const r = rng(seed);
  const rowPointers = [0];
  const columnIndices: number[] = [];
  for (const n of counts) {
    const picked = new Set<number>();
    while (picked.size < Math.min(n, cols)) picked.add(Math.floor(((r() + 1) / 2) * cols));
    columnIndices.push(...[...picked].sort((a, b) => a - b));
    rowPointers.push(columnIndices.length);
  }
  return { rows: counts.length, cols, rowPointers, columnIndices, values: columnIndices.map(() => 1) };
}

describe.each(ISAS)('%s', (isa) => {
  const bench = new Bench(isa);
  const run = (p: CsrMatrix, a: Float32Array, b: Float32Array, d: number, scale: number) => {
    bench.reset();
    const packed = packPattern(p.rowPointers, p.columnIndices);
    const y = bench.alloc(4 * packed.entries, 'y');
    const io = { a: bench.put(a, 'A'), b: bench.put(b, 'B'), y, d, scale };
    for (const c of sddmmCalls(packed, bench.put(packed.data), io)) bench.exports[c.kernel](...c.args);
    bench.check();
    return bench.f32(y, packed.entries).slice();
  };

  test('every width, rows of none to nine entries and of all', () => {
    for (let d = 0; d <= 37; d++) {
      const p = pattern(23, [0, 1, 2, 3, 4, 5, 8, 9, 0, 23], d + 1);
      const [a, b] = [randf(p.rows * d, 2), randf(23 * d, 3)];
      expectClose(run(p, a, b, d, 0.5), referenceSDDMM(p, a, b, d, 0.5), tolerance(d), `d ${d}`);
    }
  });

  test('NaN and infinities stay in the entries that meet them', () => {
    const p = pattern(6, [6, 6], 1);
    const [a, b] = [new Float32Array(2 * 5).fill(1), new Float32Array(6 * 5).fill(2)];
    a[0] = Number.POSITIVE_INFINITY;
    b[2 * 5 + 4] = Number.NaN;
    const got = run(p, a, b, 5, 1);
    expect([...got.slice(0, 6)].map(String)).toEqual([
      'Infinity',
      'Infinity',
      'NaN',
      'Infinity',
      'Infinity',
      'Infinity',
    ]);
    expect([...got.slice(6)].map(String)).toEqual(['10', '10', 'NaN', '10', '10', '10']);
  });
});
