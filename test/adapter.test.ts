// Adapters as structures, and merged into weights: what was added and removed in any order leaves the bits that were there.
import { describe, expect, test } from 'vitest';
import {
  Adapter,
  ArgumentRangeError,
  ArgumentTypeError,
  mergedMatrix,
  mergedWeights,
  SparseMatrix,
} from '../src/index.ts';
import { MergedMatrix, MergedWeights } from '../src/sparse/merged.ts';
import { assortment, entries, type Known, lora, slab } from './support/adapters.ts';
import { randf, rng } from './support/kernels.ts';
import { expectClose } from './support/spmm.ts';

const bits = (a: Float32Array) => new Uint32Array(a.buffer, a.byteOffset, a.length).slice();

/** Weights that f32 arithmetic would not give back: small beside the changes, NaN with a payload, infinities, -0, subnormals. */
function awkward(rows: number, cols: number, seed: number): Float32Array {
  const r = rng(seed);
  const w = Float32Array.from({ length: rows * cols }, () => r() * 10 ** (4 * r()));
  const raw = new Uint32Array(w.buffer);
  const odd = [0x7fc12345, 0xffa00001, 0x7f800001, 0x80000000, 0x00000001, 0x7f800000, 0xff800000, 0x7f7fffff];
  for (let i = 0; i < raw.length; i += 7) raw[i] = odd[(i / 7) % odd.length];
  return w;
}

const SIZES = [
  [1, 7],
  [13, 29],
  [32, 48],
];

describe('an adapter', () => {
  test.each(SIZES)('%i x %i: stands for its change', (rows, cols) => {
    for (const { name, adapter, delta } of assortment(Math.max(3, rows), cols)) {
      expect(adapter).toMatchObject({ rows: Math.max(3, rows), cols });
      expectClose(adapter.toDense(), delta, 1e-6, name);
    }
  });

  test('keeps only what is not zero', () => {
    const some = lora(20, 30, 6, 1, { zero: [1, 2, 4] }).adapter;
    expect(some.rank).toBe(3);
    expect(some.bytes).toBe(4 * (3 * 50 + 50));
    expect(some.touched).toBe(600);
    const none = lora(20, 30, 2, 1, { zero: [0, 1] }).adapter;
    expect([none.rank, none.touched, none.bytes]).toEqual([0, 0, 0]);
    expect([...none.toDense()]).toEqual(new Array(600).fill(0));
    expect(lora(20, 30, 2, 1, { scale: 0 }).adapter.touched).toBe(0);
    const m = SparseMatrix.fromCSR({
      rows: 2,
      cols: 3,
      rowPointers: [0, 2, 3],
      columnIndices: [0, 2, 1],
      values: [0, 5, -0],
    });
    expect(Adapter.sparse(m).touched).toBe(1);
    const b = Float32Array.of(1, 0, 2, 0);
    const partly = Adapter.lora(Float32Array.of(0, 3, 0), b, { rank: 1, rows: 4, cols: 3 });
    expect(partly.touched).toBe(2);
    expect([...partly.toDense()]).toEqual([0, 3, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0]);
    const data = Float32Array.of(1, 2, 0, 0, 5, 6);
    expect(Adapter.rows([5, 1, 0], data, { rows: 6, cols: 2 }).touched).toBe(4);
    expect(Adapter.cols([3, 1], Float32Array.of(1, 0, 2, 0), { rows: 2, cols: 4 }).touched).toBe(2);
  });

  test('is not changed by its arrays', () => {
    const [a, b] = [randf(2 * 5, 1), randf(4 * 2, 2)];
    const one = Adapter.lora(a, b, { rank: 2, rows: 4, cols: 5 });
    const data = randf(10, 3);
    const two = Adapter.rows([3, 1], data, { rows: 4, cols: 5 });
    const before = [one.toDense(), two.toDense()];
    for (const array of [a, b, data]) array.fill(9);
    expect([one.toDense(), two.toDense()]).toEqual(before);
  });

  test('refuses what is malformed, by name', () => {
    const f = (n: number) => new Float32Array(n).fill(1);
    const shape = { rank: 2, rows: 4, cols: 5 };
    const broken: [() => unknown, string, unknown][] = [
      [() => Adapter.lora(f(9), f(8), shape), '"a" expected 10 values', ArgumentRangeError],
      [() => Adapter.lora(f(10), f(9), shape), '"b" expected 8 values', ArgumentRangeError],
      [() => Adapter.lora([1] as never, f(8), shape), '"a" expected a Float32Array', ArgumentTypeError],
      [() => Adapter.lora(f(10), f(8), { ...shape, rank: -1 }), '"rank" expected an integer', ArgumentRangeError],
      [() => Adapter.lora(f(10), f(8), { ...shape, rank: 1.5 }), '"rank"', ArgumentRangeError],
      [() => Adapter.lora(f(10), f(8), { ...shape, rows: 2 ** 26 }), '"rows"', ArgumentRangeError],
      [() => Adapter.lora(f(10), f(8), { ...shape, cols: '5' as never }), '"cols"', ArgumentRangeError],
      [() => Adapter.lora(f(10), f(8), { ...shape, scale: Number.NaN }), '"scale"', ArgumentRangeError],
      [() => Adapter.lora(f(10), f(8).fill(1e30), { ...shape, scale: 1e10 }), '"scale"', ArgumentRangeError],
      [() => Adapter.lora(f(10).fill(Number.NaN, 3), f(8), shape), '"a[3]" expected a finite', ArgumentRangeError],
      [() => Adapter.lora(f(10), f(8).fill(-Infinity, 7), shape), '"b[7]" expected a finite', ArgumentRangeError],
      [() => Adapter.lora(f(10), f(8), null as never), '"shape"', ArgumentTypeError],
      [() => Adapter.sparse(null as never), 'a SparseMatrix', ArgumentTypeError],
      [() => Adapter.sparse(SparseMatrix.fromDense([0, Infinity], 1, 2)), '"matrix[0]"', ArgumentRangeError],
      [
        () => Adapter.lora(f(5), f(4), { ...shape, rank: 1, alpha: 16 } as never),
        '"alpha" expected to be given as scale, which is alpha / rank, got 16',
        ArgumentRangeError,
      ],
      [() => Adapter.rows([4], f(5), shape), '"list[0]" expected an integer from 0 to 3', ArgumentRangeError],
      [() => Adapter.rows([1, 3, 1], f(15), shape), '"list[2]" expected each index once', ArgumentRangeError],
      [() => Adapter.rows([1, 2], f(9), shape), '"data" expected 10 values', ArgumentRangeError],
      [() => Adapter.cols([-1], f(4), shape), '"list[0]"', ArgumentRangeError],
      [() => Adapter.cols(5 as never, f(4), shape), '"list" expected an array', ArgumentTypeError],
      [() => Adapter.cols([0.5], f(4), shape), '"list[0]"', ArgumentRangeError],
      [() => Adapter.cols([1], f(4).fill(Infinity, 2), shape), '"data[2]"', ArgumentRangeError],
    ];
    for (const [make, message, type] of broken) {
      expect(make, message).toThrow(message);
      expect(make, message).toThrow(type as never);
    }
  });
});

/** What the present adapters give, merged one after the other into the originals, each sum rounded to f32. */
const fresh = (base: Float32Array, list: readonly Known[]): Float32Array =>
  Float32Array.from(base, (w, i) => list.reduce((sum, { delta }) => Math.fround(sum + delta[i]), w));

describe('merged weights', () => {
  test.each(SIZES)('%i x %i: apply then remove is the identity, bit by bit', (rows, cols) => {
    rows = Math.max(3, rows);
    for (const known of assortment(rows, cols)) {
      const { name, adapter } = known;
      const base = awkward(rows, cols, 5);
      const w = awkward(rows, cols, 5);
      const merged = new MergedWeights(w, rows, cols);
      merged.add(adapter);
      expectClose(w, fresh(base, [known]), 0, name);
      expect(merged.bytes).toBe(4 * adapter.touched);
      merged.remove(adapter);
      expect(bits(w), name).toEqual(bits(base));
      expect(merged.bytes).toBe(0);
    }
  });

  test('any order of adding and removing: always what merging afresh gives, and in the end the originals', () => {
    const [rows, cols] = [19, 23];
    const pool = assortment(rows, cols);
    const next = rng(8);
    for (let round = 0; round < 20; round++) {
      const base = awkward(rows, cols, round);
      const w = awkward(rows, cols, round);
      const merged = new MergedWeights(w, rows, cols);
      let present: Known[] = [];
      for (let step = 0; step < 40; step++) {
        const known = pool[Math.floor(((next() + 1) / 2) * pool.length)];
        if (present.includes(known)) {
          merged.remove(known.adapter);
          present = present.filter((k) => k !== known);
        } else {
          merged.add(known.adapter);
          present.push(known);
        }
        expect(merged.adapters).toEqual(present.map((k) => k.adapter));
        expectClose(w, fresh(base, present), 0);
      }
      if (round % 2) merged.clear();
      else for (const { adapter } of present) merged.remove(adapter);
      expect(merged.adapters).toEqual([]);
      expect(bits(w)).toEqual(bits(base));
    }
  });

  test('an adapter between two that overlap it, and each other elsewhere', () => {
    const [rows, cols] = [6, 6];
    const a = slab('rows', rows, cols, [0, 1], 1);
    const b = slab('rows', rows, cols, [3, 4], 2);
    const c = slab('cols', rows, cols, [2], 3);
    const base = randf(36, 4);
    for (const order of [
      [a, b, c],
      [a, c, b],
      [c, a, b],
    ]) {
      for (const out of order) {
        const w = base.slice();
        const merged = new MergedWeights(w, rows, cols);
        for (const k of order) merged.add(k.adapter);
        merged.remove(out.adapter);
        const left = order.filter((k) => k !== out);
        expectClose(w, fresh(base, left), 0);
        for (const k of left) merged.remove(k.adapter);
        expect(bits(w)).toEqual(bits(base));
      }
    }
  });

  test('touches nothing around a view', () => {
    const all = randf(100, 1);
    const before = all.slice();
    const merged = new MergedWeights(all.subarray(20, 60), 8, 5);
    const { adapter } = lora(8, 5, 2, 3);
    merged.add(adapter);
    expect(all.subarray(0, 20)).toEqual(before.subarray(0, 20));
    expect(all.subarray(60)).toEqual(before.subarray(60));
    expect(all.subarray(20, 60)).not.toEqual(before.subarray(20, 60));
    merged.remove(adapter);
    expect(all).toEqual(before);
  });

  test('refuses what does not fit, and is as before', () => {
    const w = randf(20, 1);
    expect(() => new MergedWeights(w, 4, 4)).toThrow(ArgumentRangeError);
    expect(() => new MergedWeights(w, -1, 4)).toThrow(/"rows" expected an integer/);
    expect(() => new MergedWeights([1] as never, 1, 1)).toThrow(ArgumentTypeError);
    const merged = new MergedWeights(w, 4, 5);
    const [a, b] = [lora(4, 5, 1, 2).adapter, lora(4, 5, 1, 3).adapter];
    merged.add(a);
    const after = w.slice();
    expect(() => merged.add(a)).toThrow(/"adapter" expected one that is not merged yet/);
    expect(() => merged.remove(b)).toThrow(/"adapter" expected one that is merged/);
    expect(() => merged.add(lora(5, 4, 1, 2).adapter)).toThrow(/"adapter" expected 4 x 5, got "5 x 4"/);
    expect(() => merged.add({} as never)).toThrow(ArgumentTypeError);
    expect(() => merged.remove(null as never)).toThrow(ArgumentTypeError);
    expect(w).toEqual(after);
    expect(merged.adapters).toEqual([a]);
    const memory = new WebAssembly.Memory({ initial: 1 });
    const inside = new MergedWeights(new Float32Array(memory.buffer, 0, 20), 4, 5);
    inside.add(a);
    memory.grow(1);
    expect(() => inside.remove(a)).toThrow(/memory was moved/);
    expect(() => inside.add(b)).toThrow(/memory was moved/);
  });
});

describe('merged sparse matrix', () => {
  const [rows, cols] = [17, 21];
  const known = [
    entries(rows, cols, 0.1, 1),
    entries(rows, cols, 0.3, 2),
    entries(rows, cols, 0, 3),
    slab('rows', rows, cols, [4, 0], 4),
    slab('cols', rows, cols, [20, 7], 5),
  ];
  const bases = (['csr', 'bsr', 'bitmask'] as const).flatMap((format) =>
    [0, 0.2, 1].map((density) => {
      const dense = entries(rows, cols, density, 9).delta;
      return SparseMatrix.fromDense(Float32Array.from(dense), rows, cols, { format });
    }),
  );

  test('holds what the base and the adapters store, and gives the base itself back', () => {
    for (const base of bases) {
      const merged = new MergedMatrix(base);
      const original = base.toDense();
      expect(merged.matrix).toBe(base);
      const want = Float64Array.from(original);
      const stored = base.toCSR();
      const union = new Set<number>();
      for (let r = 0; r < rows; r++)
        for (let i = stored.rowPointers[r]; i < stored.rowPointers[r + 1]; i++)
          union.add(r * cols + stored.columnIndices[i]);
      for (const { adapter, delta } of known) {
        const m = merged.add(adapter);
        expect(merged.matrix).toBe(m);
        delta.forEach((d, i) => {
          want[i] = Math.fround(want[i] + d);
          if (d !== 0) union.add(i);
        });
        expect(m.format).toBe('csr');
        expect(m.stored).toBe(union.size);
        expectClose(m.toDense(), want, 0);
      }
      for (const i of [1, 4, 0, 2, 3]) {
        merged.remove(known[i].adapter);
        const left = merged.adapters.map((a) => known.find((k) => k.adapter === a)!);
        const sum = Float32Array.from(original, (v, j) => left.reduce((s, k) => Math.fround(s + k.delta[j]), v));
        expectClose(merged.matrix.toDense(), sum, 0);
      }
      expect(merged.matrix).toBe(base);
      expect(base.toDense()).toEqual(original);
    }
  });

  test('refuses low-rank adapters, other sizes, the same twice', () => {
    const merged = new MergedMatrix(bases[1]);
    const { adapter } = known[0];
    expect(() => new MergedMatrix({} as never)).toThrow(/"base" expected a SparseMatrix/);
    expect(() => merged.add(lora(rows, cols, 2, 1).adapter)).toThrow(
      /"adapter" expected rows, cols or a sparse one, got "lora"/,
    );
    expect(() => merged.add(entries(cols, rows, 0.5, 1).adapter)).toThrow(/"adapter" expected 17 x 21/);
    expect(() => merged.remove(adapter)).toThrow(ArgumentRangeError);
    merged.add(adapter);
    expect(() => merged.add(adapter)).toThrow(ArgumentRangeError);
    expect(merged.remove(adapter)).toBe(bases[1]);
  });
});

test('merging is fetched when asked for', async () => {
  const w = new Float32Array(6);
  const merged = await mergedWeights(w, 2, 3);
  const { adapter, delta } = slab('rows', 2, 3, [1], 1);
  merged.add(adapter);
  expectClose(w, delta, 0);
  await expect(mergedWeights(w, 3, 3)).rejects.toThrow(/"weights" expected 9 values/);
  const base = SparseMatrix.fromDense(new Float32Array(6), 2, 3);
  const sparse = await mergedMatrix(base);
  expectClose(sparse.add(adapter).toDense(), delta, 0);
  expect(sparse.remove(adapter)).toBe(base);
  await expect(mergedMatrix(null as never)).rejects.toThrow(ArgumentTypeError);
});
