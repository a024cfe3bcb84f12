// What all sparse SpMM kernels share: X is read in turn first where it is large (src/kernel/spmm.ts).
import { describe, expect, test } from 'vitest';
import { spmmCalls } from '../src/kernel/spmm.ts';
import { packSpmm } from '../src/pack/spmm.ts';
import { referenceSpmm } from '../src/reference/dense.ts';
import { Bench, ISAS, randf, rng } from './support/kernels.ts';
import { expectClose, runSpmm, spmmVariants, tolerance } from './support/spmm.ts';

const SPARSE = spmmVariants().filter((v) => v.format !== 'dense');
const [ROWS, COLS, COLUMNS] = [515, 522, 391];
const r = rng(8);
const w = Float32Array.from({ length: ROWS * COLS }, () => (r() > 0.9 ? r() || 0.5 : 0));
const bias = randf(ROWS, 4);
const x = randf(COLS * COLUMNS, 5);
const want = referenceSpmm(w, x, ROWS, COLS, COLUMNS, bias);

/** The last argument of each call for so many columns: whether it adds, and inputs read before. */
function hows(variant: (typeof SPARSE)[number], columns: number): { add: number; inputs: number; rows: number }[] {
  const packed = packSpmm(w, ROWS, COLS, variant, bias);
  const io = { x: 0, xPanelStride: COLS * 64, y: 0, yPanelStride: 64, yChannelStride: 64, columns };
  return spmmCalls(packed, 0, { ...io, min: -Infinity, max: Infinity }).map(({ args }, i) => ({
    add: args[10] & 1,
    inputs: args[10] >> 1,
    rows: packed.segments[i].rows,
  }));
}

describe.each(ISAS)('%s', (isa) => {
  const bench = new Bench(isa);

  test.each(SPARSE)('$name: X and Y larger than a cache', (variant) => {
    const blocks = hows(variant, COLUMNS);
    // Blocks of 261 inputs; rows that fill no group of 2 or 4 read nothing.
    for (const { inputs, rows } of blocks) expect(inputs).toBe(rows < 512 ? 0 : 261);
    expect(blocks.filter(({ inputs }) => inputs).map(({ add }) => add)).toEqual([0, 1]);
    expect(hows(variant, 200).every(({ inputs }) => !inputs)).toBe(true);
    for (const plain of [false, true]) {
      const got = runSpmm(bench, variant, w, { rows: ROWS, cols: COLS, columns: COLUMNS, x, bias, plain });
      expectClose(got, want, tolerance(COLS), `plain ${plain}`);
    }
  });
});
