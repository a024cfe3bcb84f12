// The kernel-level operators where they are asked for the unusual: all of the address space, every failing allocation, arrays
// that die or change under them.
import { describe, expect, test } from 'vitest';
import {
  ArgumentRangeError,
  ArgumentTypeError,
  Composite,
  type DenseMatrix,
  Engine,
  OutOfMemoryError,
  SparseMatrix,
} from '../src/index.ts';
import { referenceSpmm } from '../src/reference/dense.ts';
import { referenceSDDMM } from '../src/reference/sddmm.ts';
import { ISAS, randf, rng } from './support/kernels.ts';
import { expectClose, tolerance } from './support/spmm.ts';

const pruned = (rows: number, cols: number, density: number, seed: number): Float32Array => {
  const next = rng(seed);
  return Float32Array.from({ length: rows * cols }, () => ((next() + 1) / 2 < density ? next() || 0.5 : 0));
};

/** [a][b] -> [b][a] */
const transposed = (data: Float32Array, a: number, b: number): Float32Array =>
  Float32Array.from({ length: data.length }, (_, i) => data[(i % a) * b + Math.floor(i / a)]);

describe.each(ISAS)('%s', (isa) => {
  const create = (maxBytes?: number) => Engine.create({ isa, deterministic: isa === 'simd128', maxBytes });

  // Addresses are unsigned: kernels that compared or shifted them as signed numbers would fail past 2^31. What fills the
  // memory below is never touched, so it takes no RAM.
  test.each([2 ** 31 - 40_000, 2 ** 31 + 5_000_000, 2 ** 32 - 500_000])('memory from address %i on', async (from) => {
    using engine = await create();
    const first = engine.arena.alloc(64);
    try {
      engine.arena.alloc(from - first - 128);
    } catch (error) {
      if (error instanceof OutOfMemoryError) return; // a host that does not promise so much
      throw error;
    }
    for (const [rows, cols, columns] of [
      [64, 300, 50],
      [33, 70, 3],
      [128, 40, 1],
    ]) {
      for (const density of [0.1, 1]) {
        const w = pruned(rows, cols, density, rows + 10 * density);
        const [x, bias] = [randf(cols * columns, 2), randf(rows, 3)];
        const want = referenceSpmm(w, x, rows, cols, columns, bias);
        const m = SparseMatrix.fromDense(w, rows, cols);
        expectClose(await engine.spmm(m, x, { bias }), want, tolerance(cols), 'features');
        const y = await engine.spmm(m, transposed(x, cols, columns), { bias, layout: 'tokens' });
        expectClose(transposed(y, columns, rows), want, tolerance(cols), 'tokens');
      }
    }
    const p = SparseMatrix.fromDense(pruned(20, 30, 0.5, 4), 20, 30);
    const [a, b] = [randf(20 * 7, 5), randf(30 * 7, 6)];
    const got = (await engine.sddmm(p, a, b)).toCSR();
    expectClose(got.values, referenceSDDMM(got, a, b, 7), tolerance(7), 'sddmm');
  });

  test('every allocation that fails: OutOfMemoryError, nothing kept, and the next call works', async () => {
    using engine = await create();
    const m = SparseMatrix.fromDense(pruned(40, 50, 0.3, 1), 40, 50);
    const low = Composite.lowRank(
      { data: randf(40 * 3, 2), rows: 40, cols: 3 },
      { data: randf(150, 3), rows: 3, cols: 50 },
    );
    const int8 = SparseMatrix.fromDense(pruned(40, 50, 0.3, 7), 40, 50, { dtype: 'int8' });
    const x = randf(50 * 20, 4);
    const jobs: (() => Promise<Float32Array>)[] = [
      () => engine.spmm(m, x),
      () => engine.spmm(m, x, { layout: 'tokens' }),
      () => engine.spmv(m, x.subarray(0, 50)),
      () => engine.spmm(low, x),
      () => engine.spmm(int8, x, { activations: 'int8' }),
      () => engine.spmm(int8, x, { activations: 'uint7', layout: 'tokens' }),
      () => engine.spmv(int8, x.subarray(0, 50), { activations: 'int8' }),
      async () => (await engine.sddmm(m, randf(40 * 4, 5), randf(50 * 4, 6))).toDense(),
    ];
    await jobs[0](); // chooses by measurement the first time, which takes memory too
    const used = engine.arena.used;
    const alloc = engine.arena.alloc.bind(engine.arena);
    for (const job of jobs) {
      const want = await job();
      for (let n = 1, failed = true; failed; n++) {
        let calls = 0;
        failed = false;
        engine.arena.alloc = (bytes) => {
          if (++calls !== n) return alloc(bytes);
          failed = true;
          throw new OutOfMemoryError(bytes, 0);
        };
        const result = await job().catch((error) => error);
        engine.arena.alloc = alloc;
        if (failed) expect(result).toBeInstanceOf(OutOfMemoryError);
        expect(engine.arena.used).toBe(used);
        expect(await job()).toEqual(want);
      }
    }
  });

  test('arrays whose memory went elsewhere are refused by type', async () => {
    using engine = await create();
    const gone = <T extends ArrayBufferView>(a: T): T => {
      structuredClone(a, { transfer: [a.buffer as ArrayBuffer] });
      return a;
    };
    const m = SparseMatrix.fromDense(pruned(8, 6, 0.5, 1), 8, 6);
    const here = randf(12, 2);
    await expect(engine.spmm(m, gone(randf(12, 2)))).rejects.toThrow(ArgumentTypeError);
    await expect(engine.spmm(m, here, { bias: gone(randf(8, 3)) })).rejects.toThrow(
      /"bias" expected memory that is still/,
    );
    await expect(engine.sddmm(m, gone(randf(16, 2)), gone(randf(12, 2)))).rejects.toThrow(ArgumentTypeError);
    const csr = m.toCSR();
    for (const field of ['rowPointers', 'columnIndices', 'values'] as const) {
      const bad = { ...csr, [field]: gone(csr[field].slice()) };
      expect(() => SparseMatrix.fromCSR(bad)).toThrow(/: expected memory that is still here/);
    }
    // A view from before the memory grew.
    const op = await engine.prepare(m, { columns: 2 });
    const view = op.input;
    engine.arena.alloc(engine.arena.used + (64 << 20));
    expect(view.length).toBe(0);
    await expect(engine.spmm(m, view)).rejects.toThrow(ArgumentTypeError);
    expect((await engine.spmm(m, here)).length).toBe(16);
  });

  test('views of the engine as operands, while its memory grows under them', async () => {
    using engine = await create();
    const [n, d, wide] = [40, 8, 3000];
    const identity = SparseMatrix.fromDense(
      Float32Array.from({ length: n * n }, (_, i) => Number(i % (n + 1) === 0)),
      n,
      n,
    );
    const values = randf(n * d, 1);
    /** A view that the next large allocation kills. */
    const view = async () => {
      const op = await engine.prepare(identity, { columns: d });
      op.run(values);
      return op.output;
    };
    const grow = () => engine.arena.alloc(engine.arena.size); // leaves no free block for what comes
    const same = (got: Float32Array, want: Float32Array) => expectClose(got, want, 0);
    const full = SparseMatrix.fromDense(new Float32Array(n * wide).fill(1), n, wide);
    const b = randf(wide * d, 2);
    const products = (await engine.sddmm(full, values, b)).toDense();
    grow();
    same((await engine.sddmm(full, await view(), b)).toDense(), products);
    const tall = { data: randf(wide * n, 3), rows: wide, cols: n };
    const want = await engine.spmm(tall, values);
    grow();
    same(await engine.spmm(tall, await view()), want);
    const x = randf(n * wide, 4);
    const bias = values.slice(0, n);
    const biased = await engine.spmm(identity, x, { bias });
    grow();
    same(await engine.spmm(identity, x, { bias: (await view()).subarray(0, n) }), biased);
    const small = randf(d * wide, 5);
    const weighted = await engine.spmm({ data: values, rows: n, cols: d }, small);
    grow();
    same(await engine.spmm({ data: await view(), rows: n, cols: d }, small), weighted);
    const chained = await view();
    await expect(engine.spmm(identity, chained, { out: chained })).rejects.toThrow(/"out" expected memory that x/);
    await expect(engine.spmm(identity, x, { out: chained })).rejects.toThrow(/outside the engine's memory/);
    const dead = await view();
    grow();
    await expect(engine.spmm({ data: dead, rows: n, cols: d }, small)).rejects.toThrow(ArgumentTypeError);
  });

  test('what a composite is made of may change afterwards', async () => {
    using engine = await create();
    const part = { data: randf(16, 1), rows: 4, cols: 4 };
    const other = { data: randf(16, 2), rows: 4, cols: 4 };
    const x = randf(8 * 20, 3);
    for (const make of [Composite.diagonal, Composite.sum, Composite.product]) {
      const c = make({ ...part }, other);
      const shape: DenseMatrix = { ...part, data: part.data.slice() };
      const changed = make(shape, other);
      shape.data.fill(9);
      Object.assign(shape, { data: randf(4096 * 4, 4), rows: 4096 });
      const mine = x.subarray(0, c.cols * 20);
      expectClose(changed.toDense(), c.toDense(), 0);
      expectClose(await engine.spmm(changed, mine), await engine.spmm(c, mine), 0);
    }
  });
});

test('a composite of malformed parts is refused when made', () => {
  const data = new Float32Array(4);
  const make = (part: object) => () => Composite.sum(part as never);
  expect(make({ data })).toThrow(/"parts\[0\]\.rows" expected an integer from 0 to 67108863, got undefined/);
  expect(make({ data, rows: 2, cols: Number.NaN })).toThrow(ArgumentRangeError);
  expect(make({ data, rows: 2, cols: 3 })).toThrow(/"parts\[0\]\.data" expected 6 values/);
  expect(make({ data: [1, 2, 3, 4], rows: 2, cols: 2 })).toThrow(ArgumentTypeError);
  expect(make(null as never)).toThrow(ArgumentTypeError);
  const none = new Float32Array(0);
  expect(make({ data: none, rows: 2 ** 33, cols: 0 })).toThrow(ArgumentRangeError);
  const tall = { data: none, rows: 2 ** 25, cols: 0 };
  expect(() => Composite.diagonal(tall, tall)).toThrow(/"parts" expected at most 67108863 rows together/);
  const sparse = SparseMatrix.fromDense(data, 2, 2);
  expect(make(new Proxy(sparse, {}))).toThrow(/"parts\[0\]" expected a SparseMatrix/);
  expect(make({ rows: 2, cols: 2, toDense() {} })).toThrow(/"parts\[0\]" expected a SparseMatrix or Composite/);
  for (const bases of [undefined, {}, 5])
    expect(() => Composite.denseSparse(sparse, bases as never)).toThrow(/"bases" expected an array of matrices/);
});
