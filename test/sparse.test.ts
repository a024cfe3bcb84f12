// The kernel-level API: sparse matrices of every format, and the operators over them.
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { Engine, SparseFormatError, SparseMatrix, type SparseOptions } from '../src/index.ts';
import { ISAS, randf, rng } from './support/kernels.ts';
import { expectClose, tolerance } from './support/spmm.ts';

const pruned = (rows: number, cols: number, density: number, seed = 1, [r, c] = [1, 1]): Float32Array => {
  const next = rng(seed);
  const keep = Array.from({ length: Math.ceil(rows / r) * Math.ceil(cols / c) }, () => (next() + 1) / 2 < density);
  return Float32Array.from({ length: rows * cols }, (_, i) => {
    const at = Math.floor(Math.floor(i / cols) / r) * Math.ceil(cols / c) + Math.floor((i % cols) / c);
    return keep[at] ? next() || 0.5 : 0;
  });
};

/** At most n of every m inputs. */
const nm = (rows: number, cols: number, n: number, m: number): Float32Array => {
  const next = rng(n * 100 + m);
  const w = new Float32Array(rows * cols);
  for (let r = 0; r < rows; r++)
    for (let g = 0; g < cols; g += m)
      for (let j = 0; j < n; j++) {
        const k = g + Math.floor(((next() + 1) / 2) * m);
        if (k < cols) w[r * cols + k] = next() || 0.5;
      }
  return w;
};

const BLOCKS = [
  [2, 1],
  [4, 1],
  [8, 1],
  [16, 1],
  [1, 4],
  [1, 8],
  [1, 16],
  [4, 4],
  [8, 8],
  [16, 16],
] as const;
const PATTERNS = [
  [1, 2],
  [2, 4],
  [1, 4],
  [2, 8],
  [1, 8],
  [1, 16],
  [1, 32],
  [5, 7],
  [31, 32],
] as const;

describe('formats', () => {
  const shapes = [
    [0, 0],
    [0, 5],
    [5, 0],
    [1, 1],
    [7, 9],
    [16, 32],
    [33, 37],
  ];

  test.each<[string, SparseOptions]>([
    ['csr', { format: 'csr' }],
    ['bitmask', { format: 'bitmask' }],
    ...BLOCKS.map((block): [string, SparseOptions] => [`bsr ${block.join('x')}`, { format: 'bsr', block }]),
    ...[1, 2, 4, 8, 16].map((group): [string, SparseOptions] => [`groups of ${group}`, { format: 'group', group }]),
  ])('%s: dense and back, exactly', (_, options) => {
    for (const [rows, cols] of shapes) {
      for (const density of [0, 0.01, 0.3, 1]) {
        const w = pruned(rows, cols, density, rows + cols);
        const m = SparseMatrix.fromDense(w, rows, cols, options);
        expect(m.toDense()).toEqual(w);
        expect(m.nonzeros).toBe(w.filter((v) => v !== 0).length);
        expect(m.density).toBeCloseTo(rows * cols ? m.nonzeros / (rows * cols) : 0);
        expect(m.stored).toBeGreaterThanOrEqual(m.nonzeros);
        const csr = SparseMatrix.fromCSR(m.toCSR());
        expect(csr.toDense()).toEqual(w);
      }
    }
  });

  test.each(PATTERNS)('%i:%i: dense and back, exactly, in packed indices', (n, m) => {
    for (const [rows, cols] of shapes) {
      const w = nm(rows, cols, n, m);
      const s = SparseMatrix.fromDense(w, rows, cols, { format: 'nm', n, m });
      expect(s.toDense()).toEqual(w);
      const places = rows * Math.ceil(cols / m) * n;
      expect(s.bytes).toBe(4 * places + Math.ceil((places * Math.ceil(Math.log2(m))) / 8));
    }
  });

  test('all six patterns of 2:4, and fewer', () => {
    for (let bits = 0; bits < 16; bits++) {
      const w = Float32Array.from({ length: 4 }, (_, i) => (bits & (1 << i) ? i + 1 : 0));
      const made = () => SparseMatrix.fromDense(w, 1, 4, { format: 'nm', n: 2, m: 4 });
      if (w.filter((v) => v).length > 2) expect(made).toThrow(/row 0, inputs 0 to 3: more than 2 of 4/);
      else expect(made().toDense()).toEqual(w);
    }
  });

  test('-0 counts as zero; NaN and infinities are kept', () => {
    const w = new Float32Array([-0, Number.NaN, 0, Number.NEGATIVE_INFINITY]);
    for (const format of ['csr', 'bitmask', 'bsr', 'group'] as const) {
      const m = SparseMatrix.fromDense(w, 1, 4, { format });
      expect([...m.toDense()].map(String)).toEqual(['0', 'NaN', '0', '-Infinity']);
      expect(m.nonzeros).toBe(2);
    }
  });

  test('float16 and int8 hold what they can, and say so in bytes', () => {
    const w = pruned(24, 40, 0.3, 5);
    const f32 = SparseMatrix.fromDense(w, 24, 40, { format: 'csr' });
    const f16 = SparseMatrix.fromDense(w, 24, 40, { format: 'csr', dtype: 'float16' });
    const i8 = SparseMatrix.fromDense(w, 24, 40, { format: 'csr', dtype: 'int8' });
    expect(f32.bytes - f16.bytes).toBe(2 * f32.nonzeros);
    expect(f32.bytes - i8.bytes).toBe(3 * f32.nonzeros - 4 * 24);
    f16.toDense().forEach((v, i) => {
      expect(Math.abs(v - w[i])).toBeLessThanOrEqual(Math.abs(w[i]) * 2 ** -11 + 2 ** -25);
    });
    i8.toDense().forEach((v, i) => {
      const row = w.subarray(Math.floor(i / 40) * 40, (Math.floor(i / 40) + 1) * 40);
      expect(Math.abs(v - w[i])).toBeLessThanOrEqual(Math.max(...row.map(Math.abs)) / 254 + 1e-7);
    });
    expect(() => SparseMatrix.fromDense([1, Number.NaN], 1, 2, { dtype: 'int8' })).toThrow(/finite/);
    // A row of zeros, and one of the smallest numbers.
    expect(SparseMatrix.fromDense([0, 0, 1e-45, 0], 2, 2, { dtype: 'int8' }).toDense()).toEqual(new Float32Array(4));
  });

  test('coordinates in any order; duplicates are refused or added', () => {
    const coo = { rows: 3, cols: 4, rowIndices: [2, 0, 2], columnIndices: [3, 1, 0], values: [1, 2, 3] };
    expect(SparseMatrix.fromCOO(coo).toCSR()).toMatchObject({
      rowPointers: new Uint32Array([0, 1, 1, 3]),
      columnIndices: new Uint32Array([1, 0, 3]),
      values: new Float32Array([2, 3, 1]),
    });
    const twice = { ...coo, rowIndices: [2, 0, 2], columnIndices: [3, 1, 3] };
    expect(() => SparseMatrix.fromCOO(twice)).toThrow(/entries 0 and 2: both at row 2, column 3/);
    expect(SparseMatrix.fromCOO(twice, { sum: true }).toDense()[11]).toBe(4);
    expect(() => SparseMatrix.fromCOO({ ...coo, columnIndices: [3, 4, 0] })).toThrow(/columnIndices\[1\]/);
  });

  test('a matrix does not change with the arrays it was made from', () => {
    const m = {
      rows: 1,
      cols: 3,
      rowPointers: [0, 1],
      columnIndices: new Uint32Array([1]),
      values: new Float32Array([5]),
    };
    const s = SparseMatrix.fromCSR(m);
    m.columnIndices[0] = 0x40000000;
    m.values[0] = 7;
    expect(s.toDense()).toEqual(new Float32Array([0, 5, 0]));
    s.toDense()[1] = 9;
    expect(s.toDense()[1]).toBe(5);
  });

  test('blocks of SciPy, ragged edges dropped', () => {
    const s = SparseMatrix.fromBSR({
      ...{ rows: 3, cols: 3, block: [2, 2], pointers: [0, 1, 2], columnIndices: [0, 1] },
      values: [1, 2, 3, 4, 5, 6, 7, 8],
    });
    expect([...s.toDense()]).toEqual([1, 2, 0, 3, 4, 0, 0, 0, 5]);
  });
});

describe('malformed structures', () => {
  const valid = {
    rows: 3,
    cols: 8,
    rowPointers: [0, 2, 2, 5],
    columnIndices: [1, 6, 0, 3, 7],
    values: [1, 2, 3, 4, 5],
  };
  const bad = [0x40000000, 0x80000000, 2 ** 32, 2 ** 53, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 8];

  test('2 000 mutations of an index, a pointer or a length are all refused', () => {
    let refused = 0;
    fc.assert(
      fc.property(
        fc.constantFrom('rowPointers', 'columnIndices', 'rows', 'cols', 'values' as const),
        fc.nat(5),
        fc.constantFrom(...bad),
        fc.constantFrom('set', 'cut', 'add'),
        (field, i, value, how) => {
          const m = structuredClone(valid) as Record<string, number | number[]>;
          const list = m[field];
          if (!Array.isArray(list)) m[field] = value === 8 ? -8 : value;
          else if (how === 'cut') list.pop();
          else if (how === 'add') list.push(value);
          else if (field === 'values') list.length = i % 5;
          else list[i % list.length] = value;
          // Sizes that fit by accident.
          if (field === 'rows' && m.rows === 3) return;
          expect(() => SparseMatrix.fromCSR(m as never)).toThrow(SparseFormatError);
          refused++;
        },
      ),
      { numRuns: 2000 },
    );
    expect(refused).toBeGreaterThan(1900);
  });

  test('unsorted and repeated columns, sizes beyond memory, wrong types', () => {
    expect(() => SparseMatrix.fromCSR({ ...valid, columnIndices: [6, 1, 0, 3, 7] })).toThrow(/ascending, unique/);
    expect(() => SparseMatrix.fromCSR({ ...valid, columnIndices: [1, 1, 0, 3, 7] })).toThrow(/ascending, unique/);
    expect(() => SparseMatrix.fromCSR({ ...valid, rows: 2 ** 31, cols: 2 ** 20 })).toThrow(/rows \* cols/);
    expect(() => SparseMatrix.fromCSR(null as never)).toThrow(TypeError);
    expect(() => SparseMatrix.fromCSR({ ...valid, values: 5 as never })).toThrow(/m\.values/);
    expect(() => SparseMatrix.fromDense(new Float32Array(5), 2, 3)).toThrow(RangeError);
    expect(() => SparseMatrix.fromDense('123456' as never, 2, 3)).toThrow(TypeError);
    expect(() => SparseMatrix.fromDense([1], 1, 1, { format: 'ell' as never })).toThrow(/"format"/);
    expect(() => SparseMatrix.fromDense([1], 1, 1, { format: 'nm', n: 4, m: 4 })).toThrow(/below m/);
    expect(() => SparseMatrix.fromDense([1], 1, 1, { format: 'bsr', block: [0, 1] })).toThrow(/block/);
  });
});

describe.each(ISAS)('operators, %s', (isa) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await Engine.create({ isa, deterministic: isa === 'simd128' });
  });

  /** Y[rows][columns] in f64. */
  const product = (
    w: Float32Array,
    x: Float32Array,
    rows: number,
    cols: number,
    columns: number,
    bias?: Float32Array,
  ) =>
    Float32Array.from({ length: rows * columns }, (_, i) => {
      const [r, p] = [Math.floor(i / columns), i % columns];
      let sum = bias ? bias[r] : 0;
      for (let k = 0; k < cols; k++) if (w[r * cols + k]) sum += w[r * cols + k] * x[k * columns + p];
      return Math.min(2, Math.max(-1, sum));
    });
  const transposed = (a: Float32Array, rows: number, cols: number) =>
    Float32Array.from({ length: a.length }, (_, i) => a[(i % rows) * cols + Math.floor(i / rows)]);

  test('both layouts, any number of columns, every format', () => {
    const [rows, cols] = [21, 35];
    const w = pruned(rows, cols, 0.3, 3, [4, 1]);
    const bias = randf(rows, 4);
    const formats: SparseOptions[] = [{}, { format: 'bsr' }, { format: 'group' }, { format: 'bitmask' }];
    for (const options of formats) {
      const m = SparseMatrix.fromDense(w, rows, cols, options);
      for (const columns of [0, 1, 2, 4, 5, 16, 49, 70]) {
        const x = randf(cols * columns, columns + 1);
        const want = product(w, x, rows, cols, columns, bias);
        const limits = { bias, min: -1, max: 2 };
        expectClose(engine.spmm(m, x, limits), want, tolerance(cols), `features, ${columns}`);
        const tokens = engine.spmm(m, transposed(x, cols, columns), { ...limits, layout: 'tokens' });
        expectClose(transposed(tokens, columns, rows), want, tolerance(cols), `tokens, ${columns}`);
      }
    }
    const x = randf(cols, 9);
    const want = product(w, x, rows, cols, 1);
    expectClose(engine.spmv(SparseMatrix.fromDense(w, rows, cols), x, { min: -1, max: 2 }), want, tolerance(cols));
    const dense = { data: w, rows, cols };
    expectClose(engine.spmm(dense, x, { min: -1, max: 2 }), want, tolerance(cols));
  });

  test('a prepared operator keeps its memory, and its views see what the last run made', () => {
    const w = SparseMatrix.fromDense(pruned(64, 48, 0.2, 5), 64, 48);
    const before = engine.arena.used;
    const op = engine.prepare(w, { columns: 20 });
    const inUse = engine.arena.used;
    const x = randf(48 * 20, 6);
    const first = op.run(x);
    op.input.set(x);
    op.execute();
    expect(op.output).toEqual(first);
    const out = new Float32Array(64 * 20);
    expect(op.run(x, out)).toBe(out);
    expect(out).toEqual(first);
    expect(engine.arena.used).toBe(inUse);
    // Memory grows: views made before are dead, those made now are not.
    const stale = op.input;
    const block = engine.arena.alloc(64 << 20);
    expect(stale.length).toBe(0);
    expect(op.run(x)).toEqual(first);
    engine.arena.release(block);
    op.dispose();
    op.dispose();
    expect(engine.arena.used).toBe(before);
    expect(() => op.run(x)).toThrow(/disposed|dispose/);
  });

  test('sddmm', () => {
    const p = SparseMatrix.fromDense(pruned(9, 12, 0.4, 8, [4, 4]), 9, 12, { format: 'bsr', block: [4, 4] });
    const [a, b] = [randf(9 * 6, 1), randf(12 * 6, 2)];
    const got = engine.sddmm(p, a, b, { scale: 2 });
    const dense = p.toDense();
    const want = dense.map((v, i) => {
      if (v === 0) return 0;
      let sum = 0;
      for (let k = 0; k < 6; k++) sum += a[Math.floor(i / 12) * 6 + k] * b[(i % 12) * 6 + k];
      return 2 * sum;
    });
    expectClose(got.toDense(), want, 1e-5);
    expect(() => engine.sddmm(p, a, b.subarray(6))).toThrow(/"b"/);
    expect(() => engine.sddmm(p, a.subarray(1), b)).toThrow(/"a"/);
  });

  test('bad input is refused before any kernel runs, and the engine stays usable', () => {
    const w = SparseMatrix.fromDense(pruned(8, 6, 0.5, 9), 8, 6);
    const x = randf(6 * 4, 1);
    const used = engine.arena.used;
    expect(() => engine.spmm(w, new Float32Array(25))).toThrow(/"x" expected a multiple of 6/);
    expect(() => engine.spmm(w, new Float64Array(24) as never)).toThrow(TypeError);
    expect(() => engine.spmm({} as never, x)).toThrow(/w\.rows/);
    expect(() => engine.spmm(null as never, x)).toThrow(TypeError);
    expect(() => engine.spmm(w, x, { bias: new Float32Array(7) })).toThrow(/"bias" expected 8 values/);
    expect(() => engine.spmm(w, x, { min: 2, max: 1 })).toThrow(/"min"/);
    expect(() => engine.spmm(w, x, { max: Number.NaN })).toThrow(/"max"/);
    expect(() => engine.spmm(w, x, { layout: 'rows' as never })).toThrow(/"layout"/);
    expect(() => engine.spmm(w, x, { columns: 3 })).toThrow(/"x" expected 18 values/);
    expect(() => engine.spmm(w, x, { out: new Float32Array(31) })).toThrow(/"out"/);
    const shared = new Float32Array(64);
    expect(() => engine.spmm(w, shared.subarray(0, 24), { out: shared.subarray(20, 52) })).toThrow(/"out"/);
    expect(() => engine.prepare(w, {} as never)).toThrow(/"columns"/);
    expect(() => engine.prepare(w, { columns: 2 ** 31 })).toThrow(/memory/);
    expect(engine.arena.used).toBe(used);
    expect(engine.spmm(w, x)).toHaveLength(32);
  });
});

test('an engine that was disposed refuses', async () => {
  const engine = await Engine.create();
  const w = SparseMatrix.fromDense([1, 0, 0, 1], 2, 2);
  const op = engine.prepare(w, { columns: 8 });
  engine.dispose();
  expect(() => engine.spmm(w, new Float32Array(16))).toThrow(/dispose/);
  expect(() => op.run(new Float32Array(16))).toThrow(/dispose/);
});
