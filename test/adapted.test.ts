// Products whose columns have different adapters, against the definition in f64.
import { beforeAll, describe, expect, test } from 'vitest';
import {
  type AdaptedOperator,
  type Adapter,
  ArgumentRangeError,
  ArgumentTypeError,
  Composite,
  DisposedError,
  Engine,
  type Operand,
  OutOfMemoryError,
  SparseMatrix,
  type SpmmOptions,
} from '../src/index.ts';
import { assortment, entries, type Known, lora, slab } from './support/adapters.ts';
import { ISAS, randf, rng } from './support/kernels.ts';
import { expectClose, tolerance } from './support/spmm.ts';

type Layout = 'features' | 'tokens';

/** clamp((W + delta of the column) X + bias) in f64. */
function reference(
  w: ArrayLike<number>,
  rows: number,
  cols: number,
  x: Float32Array,
  ids: readonly number[],
  known: readonly Known[],
  layout: Layout,
  { bias = new Float32Array(rows), min = -Infinity, max = Infinity }: Omit<SpmmOptions, 'layout'> = {},
): Float32Array {
  const columns = ids.length;
  const y = new Float32Array(rows * columns);
  for (let p = 0; p < columns; p++) {
    for (let r = 0; r < rows; r++) {
      let sum = bias[r];
      for (let k = 0; k < cols; k++) {
        const weight = w[r * cols + k] + (ids[p] < 0 ? 0 : known[ids[p]].delta[r * cols + k]);
        if (weight !== 0) sum += weight * x[layout === 'tokens' ? p * cols + k : k * columns + p];
      }
      const limited = Number.isNaN(sum) ? sum : Math.min(max, Math.max(min, sum));
      y[layout === 'tokens' ? p * rows + r : r * columns + p] = limited;
    }
  }
  return y;
}

const LAYOUTS: Layout[] = ['features', 'tokens'];

/** Assignments of `columns` columns to so many adapters. */
function assignments(columns: number, count: number, seed: number): Record<string, number[]> {
  const next = rng(seed);
  const any = () => Math.floor(((next() + 1) / 2) * (count + 1)) - 1;
  const of = (f: (i: number) => number) => Array.from({ length: columns }, (_, i) => f(i));
  return {
    none: of(() => -1),
    all: of(() => 1),
    'one column': of((i) => (i === columns >> 1 ? 0 : -1)),
    'all but one': of((i) => (i ? 2 : -1)),
    'in turn': of((i) => (i % (count + 1)) - 1),
    'side by side': of((i) => Math.floor((i * count) / columns)),
    mixed: of(any),
    'mixed otherwise': of(any),
  };
}

describe.each(ISAS)('%s', (isa) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await Engine.create({ isa });
  });

  describe.each(LAYOUTS)('%s', (layout) => {
    test.each([
      [13, 29, 1],
      [13, 29, 5],
      [24, 40, 8],
      [17, 30, 16],
      [30, 300, 33],
      [9, 520, 70],
    ])('%i x %i, %i columns: every kind of adapter in one batch', async (rows, cols, columns) => {
      const known = assortment(rows, cols);
      const bias = randf(rows, 2);
      for (const density of [0.2, 1]) {
        const w = SparseMatrix.fromDense(Float32Array.from(entries(rows, cols, density, 3).delta), rows, cols);
        const dense = w.toDense();
        for (const options of [{}, { bias, min: -1, max: 2 }]) {
          const adapters = known.map((k) => k.adapter);
          using op = await engine.prepare(w, { columns, layout, adapters, ...options });
          for (const [name, ids] of Object.entries(assignments(columns, known.length, columns))) {
            const x = randf(cols * columns, ids.length + name.length);
            const want = reference(dense, rows, cols, x, ids, known, layout, options);
            const tol = 10 * tolerance(cols);
            const out = new Float32Array(rows * columns + 2).fill(7);
            expectClose(op.run(x, ids), want, tol, name);
            expect(op.run(x, Int32Array.from(ids), out.subarray(1, -1))).toHaveLength(rows * columns);
            expectClose(out, [7, ...want, 7], tol, `${name}, out`);
          }
        }
      }
    });

    test('runs that begin at every lane, of every length', async () => {
      const [rows, cols, columns] = [7, 11, 48];
      const known = [lora(rows, cols, 3, 1), slab('cols', rows, cols, [10], 2), entries(rows, cols, 0.2, 3)];
      const w = { data: randf(rows * cols, 4), rows, cols };
      using op = await engine.prepare(w, { columns, layout, adapters: known.map((k) => k.adapter) });
      const x = randf(cols * columns, 5);
      for (let from = 0; from < columns; from++) {
        for (let to = from + 1; to <= columns; to += 1 + (from % 3)) {
          const ids = Array.from({ length: columns }, (_, i) => (i < from ? 0 : i < to ? 1 : 2));
          expectClose(op.run(x, ids), reference(w.data, rows, cols, x, ids, known, layout), 1e-4, `${from}-${to}`);
        }
      }
    });

    test('NaN and infinities stay in their columns, and reach only what their adapter changes', async () => {
      const [rows, cols, columns] = [10, 20, 24];
      const known = [lora(rows, cols, 2, 1), slab('rows', rows, cols, [2, 1], 2), slab('cols', rows, cols, [3], 3)];
      const none = SparseMatrix.fromDense(new Float32Array(rows * cols), rows, cols);
      using op = await engine.prepare(none, { columns, layout, adapters: known.map((k) => k.adapter), max: 1e6 });
      const ids = Array.from({ length: columns }, (_, i) => (i % 4) - 1);
      const clean = randf(cols * columns, 5);
      const want = op.run(clean, ids);
      for (const bad of [Number.NaN, Infinity]) {
        for (const p of [0, 1, 2, 3, 17, 23]) {
          const x = clean.slice();
          for (let k = 0; k < cols; k += 5) x[layout === 'tokens' ? p * cols + k : k * columns + p] = bad;
          const y = op.run(x, ids);
          for (let i = 0; i < y.length; i++) {
            const mine = layout === 'tokens' ? Math.floor(i / rows) === p : i % columns === p;
            if (!mine) expect(y[i]).toBe(want[i]);
          }
          if (Number.isNaN(bad)) {
            expectClose(y, reference(new Float32Array(rows * cols), rows, cols, x, ids, known, layout), 1e-4);
          }
        }
      }
    });

    test('over int8 weights with quantised activations, and over composites', async () => {
      const [rows, cols, columns] = [16, 36, 21];
      const known = [lora(rows, cols, 4, 1), slab('rows', rows, cols, [0, 1, 2], 2)];
      const adapters = known.map((k) => k.adapter);
      const ids = Array.from({ length: columns }, (_, i) => (i % 3) - 1);
      const x = randf(cols * columns, 3);
      const data = Float32Array.from(entries(rows, cols, 0.4, 4).delta);
      const int8 = SparseMatrix.fromDense(data, rows, cols, { dtype: 'int8' });
      const low = Composite.lowRank(
        { data: randf(rows * 3, 5), rows, cols: 3 },
        { data: randf(3 * cols, 6), rows: 3, cols },
      );
      const bases: [Operand, 'int8' | 'float32'][] = [
        [int8, 'int8'],
        [int8, 'float32'],
        [low, 'float32'],
      ];
      for (const [w, activations] of bases) {
        const base = await engine.spmm(w, x, { layout, columns, activations });
        const change = reference(new Float32Array(rows * cols), rows, cols, x, ids, known, layout);
        using op = await engine.prepare(w, { columns, layout, activations, adapters });
        expectClose(
          op.run(x, ids),
          base.map((v, i) => v + change[i]),
          1e-4,
          activations,
        );
      }
    });
  });

  test('adapters come and go; what they held is freed', async () => {
    const [rows, cols, columns] = [12, 18, 20];
    const w = { data: randf(rows * cols, 1), rows, cols };
    const x = randf(cols * columns, 2);
    const used = engine.arena.used;
    const op: AdaptedOperator = await engine.prepare(w, { columns, adapters: [] });
    const known = [
      lora(rows, cols, 2, 3),
      lora(rows, cols, 9, 4),
      entries(rows, cols, 0.1, 5),
      slab('rows', rows, cols, [3], 6),
    ];
    const check = (ids: number[], of: Known[]) =>
      expectClose(op.run(x, ids), reference(w.data, rows, cols, x, ids, of, 'features'), 1e-4);
    const turn = (n: number) => Array.from({ length: columns }, (_, i) => (i % (n + 1)) - 1);
    check(turn(0), []);
    expect(known.slice(0, 3).map((k) => op.add(k.adapter))).toEqual([0, 1, 2]);
    check(turn(3), known);
    expect(op.adapterBytes).toBeGreaterThan(0);
    expect(op.bytes).toBeGreaterThan(op.adapterBytes + op.weightBytes);
    const held = engine.arena.used;
    op.remove(1);
    expect(engine.arena.used).toBeLessThan(held);
    expect(op.adapters).toEqual([known[0].adapter, undefined, known[2].adapter]);
    expect(() => op.run(x, turn(3))).toThrow(
      /"adapters\[2\]" expected the number of an adapter, or -1 for none, got 1/,
    );
    for (const none of [1, -1, 'constructor', '__proto__'])
      expect(() => op.remove(none as never)).toThrow(ArgumentRangeError);
    expect(op.add(known[3].adapter)).toBe(1);
    check(turn(3), [known[0], known[3], known[2]]);
    expect(op.add(known[0].adapter)).toBe(3); // the same twice is no harm: numbers tell them apart
    check(turn(4), [known[0], known[3], known[2], known[0]]);
    // A larger rank takes the place of the memory between the factors: nothing may be written where that was.
    const before = engine.arena.used;
    const release = engine.arena.release.bind(engine.arena);
    const freed: number[] = [];
    engine.arena.release = (at) => void freed.push(at);
    op.add(lora(rows, cols, 20, 7).adapter);
    engine.arena.release = release;
    expect(engine.arena.used).toBeGreaterThan(before);
    expect(freed).toHaveLength(1);
    const old = () => engine.arena.view('uint8', freed[0], 64 * 9);
    old().fill(0xc5);
    check(turn(4), [known[0], known[3], known[2], known[0]]);
    expect(old().every((b) => b === 0xc5)).toBe(true);
    release(freed[0]);
    op.dispose();
    op.dispose();
    expect(engine.arena.used).toBe(used);
    expect(op.bytes).toBe(0);
    expect(() => op.run(x, turn(0))).toThrow(DisposedError);
    expect(() => op.add(known[0].adapter)).toThrow(DisposedError);
  });

  test('empty sizes', async () => {
    for (const [rows, cols, columns] of [
      [0, 4, 3],
      [4, 0, 3],
      [4, 5, 0],
    ]) {
      const { adapter } = lora(rows, cols, 2, 1);
      using op = await engine.prepare(
        { data: new Float32Array(rows * cols), rows, cols },
        { columns, adapters: [adapter] },
      );
      const y = op.run(new Float32Array(cols * columns), new Array(columns).fill(0));
      expect([...y]).toEqual(new Array(rows * columns).fill(0));
    }
  });

  test('every allocation that fails: nothing kept, and the operator goes on', async () => {
    const [rows, cols, columns] = [12, 18, 20];
    const w = { data: randf(rows * cols, 1), rows, cols };
    const adapters = [lora(rows, cols, 2, 3).adapter, slab('rows', rows, cols, [3], 6).adapter];
    const x = randf(cols * columns, 2);
    const ids = Array.from({ length: columns }, (_, i) => (i % 3) - 1);
    const alloc = engine.arena.alloc.bind(engine.arena);
    const failing = async (job: () => Promise<unknown>, at: number) => {
      let calls = 0;
      engine.arena.alloc = (bytes) => {
        if (++calls === at) throw new OutOfMemoryError(bytes, 0);
        return alloc(bytes);
      };
      const error = await job().then(
        () => undefined,
        (e) => e,
      );
      engine.arena.alloc = alloc;
      if (calls >= at) expect(error).toBeInstanceOf(OutOfMemoryError);
      return calls >= at;
    };
    for (const [layout, n] of [
      ['features', columns],
      ['tokens', columns],
      ['tokens', 3],
    ] as const) {
      const used = engine.arena.used;
      const make = () => engine.prepare(w, { columns: n, layout, adapters });
      const made = async () => (await make()).dispose();
      let failed = 0;
      while (await failing(made, failed + 1)) {
        failed++;
        expect(engine.arena.used).toBe(used);
      }
      expect(failed).toBeGreaterThan(5);
      using op = await make();
      const [part, mine] = [x.subarray(0, cols * n), ids.slice(0, n)];
      const want = op.run(part, mine);
      const held = engine.arena.used;
      const wide = lora(rows, cols, 6, 8).adapter;
      for (let i = 1; await failing(async () => op.add(wide), i); i++) {
        expect(engine.arena.used).toBe(held);
        expect(op.adapters).toEqual(adapters);
        expect(op.run(part, mine)).toEqual(want);
      }
      expect(op.adapters).toEqual([...adapters, wide]);
      expect(op.run(part, mine)).toEqual(want);
    }
  });

  test('refuses wrong arguments before anything runs', async () => {
    const w = { data: randf(12, 1), rows: 3, cols: 4 };
    const { adapter } = lora(3, 4, 1, 2);
    const prepare = (adapters: unknown, columns: unknown = 5) =>
      engine.prepare(w, { columns: columns as number, adapters: adapters as Adapter[] });
    await expect(prepare([adapter, {}])).rejects.toThrow(/"adapters\[1\]" expected an Adapter/);
    await expect(prepare(adapter)).rejects.toThrow(ArgumentTypeError);
    await expect(prepare([lora(4, 3, 1, 2).adapter])).rejects.toThrow(/"adapters\[0\]" expected 3 x 4, got "4 x 3"/);
    await expect(prepare([adapter], -1)).rejects.toThrow(/"columns"/);
    using op = await prepare([adapter]);
    const x = randf(20, 3);
    const ids = [0, -1, 0, -1, 0];
    const want = op.run(x, ids);
    const run =
      (...args: unknown[]) =>
      () =>
        op.run(...(args as Parameters<AdaptedOperator['run']>));
    expect(run(x)).toThrow(/"adapters" expected an array of integers/);
    expect(run(x, [0])).toThrow(/"adapters" expected 5 numbers/);
    for (const bad of [1, -2, 0.5, Number.NaN, '0', undefined, 2 ** 32]) {
      expect(run(x, [0, 0, 0, 0, bad]), String(bad)).toThrow(/"adapters\[4\]"/);
    }
    expect(run(x, new BigInt64Array(5))).toThrow(ArgumentRangeError);
    expect(run([1], ids)).toThrow(/"x" expected a Float32Array/);
    expect(run(x.subarray(1), ids)).toThrow(/"x" expected 20 values/);
    expect(run(x, ids, new Float32Array(14))).toThrow(/"out" expected 15 values/);
    expect(run(x, ids, x.subarray(0, 15))).toThrow(/"out" expected memory that x does not use/);
    expect(op.run(x, ids)).toEqual(want);
  });
});

test('threads: as one thread does', async () => {
  const [rows, cols, columns] = [160, 256, 300]; // enough that the changes of one adapter are shared out too
  const known = [lora(rows, cols, 8, 1), lora(rows, cols, 16, 2), slab('rows', rows, cols, [5, 6, 7, 8], 3)];
  const w = { data: randf(rows * cols, 4), rows, cols };
  const x = randf(cols * columns, 5);
  using one = await Engine.create({ isa: 'simd128', deterministic: true });
  using two = await Engine.create({ isa: 'simd128', deterministic: true, threads: 2 });
  expect(two.info.threads).toBe(2);
  for (const layout of LAYOUTS) {
    const options = { columns, layout, adapters: known.map((k) => k.adapter) };
    using a = await one.prepare(w, options);
    using b = await two.prepare(w, options);
    for (const [name, ids] of Object.entries(assignments(columns, 3, 9))) {
      const want = a.run(x, ids);
      if (name === 'mixed') expectClose(want, reference(w.data, rows, cols, x, ids, known, layout), 1e-3);
      expect(b.run(x, ids), name).toEqual(want);
    }
  }
});
