import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  ArgumentRangeError,
  ArgumentTypeError,
  DisposedError,
  Engine,
  OutOfMemoryError,
  SparseMatrix,
  type SparseOptions,
} from '../src/index.ts';
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

describe.each(ISAS)('%s: a prepared operator', (isa) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await Engine.create({ isa });
  });
  afterAll(() => engine.dispose());

  const [rows, cols, d] = [10, 23, 7];
  const [a, b] = [randf(rows * d, 2), randf(cols * d, 3)];
  const csr = pattern(cols, [0, 1, 2, 3, 4, 5, 8, 9, 0, 23], 4);
  const weights = SparseMatrix.fromCSR(csr).toDense();

  test('of every format: values row by row, and as a matrix', async () => {
    const formats: SparseOptions[] = [
      { format: 'csr' },
      { format: 'bsr', block: [4, 4] },
      { format: 'bsr', block: [2, 1] },
      { format: 'group', group: 2, k: cols },
      { format: 'nm', n: 31, m: 32 },
      { format: 'bitmask' },
    ];
    for (const options of formats) {
      const m = SparseMatrix.fromDense(weights, rows, cols, options);
      using op = await engine.prepareSddmm(m, { d, scale: 0.5 });
      const once = await engine.sddmm(m, a, b, { scale: 0.5 });
      const places = once.toCSR();
      expect(op).toMatchObject({ rows, cols, d, entries: places.values.length, kernel: 'f32_csr_sddmm' });
      const got = op.run(a, b);
      expectClose(got, referenceSDDMM(places, a, b, d, 0.5), tolerance(d), options.format!);
      expect(op.matrix().toDense()).toEqual(once.toDense());
      expect(op.matrix().format).toBe(options.format === 'bsr' ? 'bsr' : 'csr');
      expect(op.matrix().stored).toBe(once.stored);
    }
  });

  test('keeps its memory from run to run; its views see what the last run made', async () => {
    const before = engine.arena.used;
    const op = await engine.prepareSddmm(SparseMatrix.fromCSR(csr), { d });
    const inUse = engine.arena.used;
    expect(op.bytes).toBeGreaterThanOrEqual(4 * (rows * d + cols * d + op.entries));
    expect(op.bytes).toBeLessThanOrEqual(inUse - before);
    const first = op.run(a, b);
    expectClose(first, referenceSDDMM(csr, a, b, d), tolerance(d), 'first');
    const [c, e] = [randf(rows * d, 5), randf(cols * d, 6)];
    op.a.set(c);
    op.b.set(e);
    op.execute();
    expectClose(op.output, referenceSDDMM(csr, c, e, d), tolerance(d), 'second');
    const out = new Float32Array(op.entries);
    expect(op.run(a, b, out)).toBe(out);
    expect(out).toEqual(first);
    const kept = op.matrix();
    expect(engine.arena.used).toBe(inUse);
    // Memory grows: views made before are dead, those made now are not.
    const stale = op.a;
    const block = engine.arena.alloc(engine.arena.size);
    expect(stale.length).toBe(0);
    expect(op.run(a, b)).toEqual(first);
    expect(op.run(op.a, op.b)).toEqual(first);
    op.run(c, e);
    expectClose(kept.toCSR().values, first, 0, 'a matrix does not change');
    engine.arena.release(block);
    op.dispose();
    op.dispose();
    expect(op.bytes).toBe(0);
    expect(engine.arena.used).toBe(before);
    for (const use of [
      () => op.run(a, b),
      () => op.execute(),
      () => op.output,
      () => op.a,
      () => op.b,
      () => op.matrix(),
    ])
      expect(use).toThrow(DisposedError);
  });

  test('one array as both operands, and the operands in each other’s place', async () => {
    const square = SparseMatrix.fromCSR({ ...pattern(9, [9, 0, 3, 1, 9, 2, 2, 0, 9]) });
    const places = square.toCSR();
    using op = await engine.prepareSddmm(square, { d: 5 });
    const [p, q] = [randf(45, 7), randf(45, 8)];
    expectClose(op.run(p, p), referenceSDDMM(places, p, p, 5), tolerance(5), 'p p');
    op.run(p, q);
    expectClose(op.run(op.b, op.a), referenceSDDMM(places, q, p, 5), tolerance(5), 'q p');
  });

  test('an operand in the other’s place, seen through a view from before the memory grew', async () => {
    const pattern = SparseMatrix.fromDense(new Float32Array(16).fill(1), 4, 4);
    const [values, ones] = [Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8), new Float32Array(8).fill(1)];
    for (const threads of [1, 2]) {
      using engine = await Engine.create({ isa, threads });
      const op = await engine.prepareSddmm(pattern, { d: 2 });
      const held = op.a;
      held.set(values);
      engine.arena.alloc(engine.arena.size);
      // Shared memory leaves the view alive; other memory leaves it empty.
      if (held.length) expect(op.run(ones, held)).toEqual(op.run(ones, values));
      else expect(() => op.run(ones, held)).toThrow(/"b" expected memory that is still here/);
    }
  });

  test('nothing to do: no rows, no columns, no entries, vectors of no numbers', async () => {
    const make = (r: number, c: number, w: number[], width: number) =>
      engine.prepareSddmm(SparseMatrix.fromDense(w, r, c), { d: width });
    const run = async (r: number, c: number, w: number[], width: number) => {
      using op = await make(r, c, w, width);
      return [...op.run(new Float32Array(r * width).fill(3), new Float32Array(c * width).fill(2))];
    };
    expect(await run(0, 4, [], 3)).toEqual([]);
    expect(await run(4, 0, [], 3)).toEqual([]);
    expect(await run(0, 0, [], 2 ** 40)).toEqual([]);
    expect(await run(2, 2, [0, 0, 0, 0], 3)).toEqual([]);
    expect(await run(2, 2, [0, 1, 0, 1], 0)).toEqual([0, 0]);
    expect(await run(2, 2, [0, 1, 0, 1], 3)).toEqual([18, 18]);
  });

  test('what does not fit is refused by type before anything runs, and nothing is kept', async () => {
    const m = SparseMatrix.fromCSR(csr);
    const before = engine.arena.used;
    const make = (p: unknown, options: unknown) => engine.prepareSddmm(p as never, options as never);
    await expect(make(csr, { d })).rejects.toThrow(/"pattern" expected a SparseMatrix/);
    await expect(make(m, undefined)).rejects.toThrow(ArgumentTypeError);
    for (const bad of [-1, 1.5, Number.NaN, '7', undefined, 2 ** 60]) {
      await expect(make(m, { d: bad })).rejects.toThrow(/"d" expected an integer >= 0/);
    }
    for (const scale of [Number.NaN, Number.POSITIVE_INFINITY, '1', null])
      await expect(make(m, { d, scale })).rejects.toThrow(ArgumentRangeError);
    await expect(make(m, { d: 2 ** 40 })).rejects.toThrow(OutOfMemoryError);
    expect(engine.arena.used).toBe(before);
    using op = await engine.prepareSddmm(m, { d });
    const want = op.run(a, b);
    expect(() => op.run([...a] as never, b)).toThrow(ArgumentTypeError);
    expect(() => op.run(a.subarray(1), b)).toThrow(/"a" expected 70 values/);
    expect(() => op.run(a, a)).toThrow(/"b" expected 161 values/);
    expect(() => op.run(a, b, new Float32Array(op.entries + 1))).toThrow(/"out" expected 55 values/);
    const shared = new Float32Array(300);
    expect(() => op.run(a, shared.subarray(0, cols * d), shared.subarray(100, 100 + op.entries))).toThrow(
      /"out" expected memory that b does not use/,
    );
    expect(op.output).toEqual(want);
  });
});
