// The kernel-level API: sparse matrices of every format, and the operators over them.
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { Engine, SparseFormatError, SparseMatrix, type SparseOptions } from '../src/index.ts';
import { MAX_COLS } from '../src/pack/spmm.ts';
import { referenceQuantized, referenceRange, referenceSums } from '../src/reference/int8.ts';
import { MAX_SIZE } from '../src/sparse/check.ts';
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
    ...[1, 2, 4, 8, 16].map((group): [string, SparseOptions] => [
      `groups of ${group}`,
      { format: 'group', group, k: 37 },
    ]),
  ])('%s: dense and back, exactly', (_, options) => {
    for (const [rows, cols] of shapes) {
      for (const density of [0, 0.01, 0.3, 1]) {
        const w = pruned(rows, cols, density, rows + cols);
        const m = SparseMatrix.fromDense(w, rows, cols, { ...options, k: options.k && Math.min(options.k, cols) });
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
      const count = w.filter((v) => v).length;
      if (count > 2) expect(made).toThrow(`row 0, columns 0 to 3: expected at most 2 nonzeros, got ${count}`);
      else expect(made().toDense()).toEqual(w);
    }
  });

  test('-0 counts as zero; NaN and infinities are kept', () => {
    const w = new Float32Array([-0, Number.NaN, 0, Number.NEGATIVE_INFINITY]);
    for (const format of ['csr', 'bitmask', 'bsr', 'group', 'nm'] as const) {
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
    expect(() => SparseMatrix.fromCOO(twice)).toThrow(/entry 2: .*row 2, column 3 twice; { sum: true }/);
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
      ...{ rows: 3, cols: 3, block: [2, 2], rowPointers: [0, 1, 2], columnIndices: [0, 1] },
      values: [1, 2, 3, 4, 5, 6, 7, 8],
    });
    expect([...s.toDense()]).toEqual([1, 2, 0, 3, 4, 0, 0, 0, 5]);
  });
});

test('balanced groups: as many inputs each, or filled up to k with zeros', () => {
  const w = new Float32Array([1, 0, 2, 0, 4, 3, 0, 0]);
  const made = (k?: number) => SparseMatrix.fromDense(w, 4, 2, { format: 'group', group: 2, k });
  expect(() => made()).toThrow(/rows 2 to 3: expected 1 inputs, as in the first group .*, got 2/);
  expect(() => made(0)).toThrow(/rows 0 to 1: expected at most 0 inputs, got 1/);
  expect(() => made(3)).toThrow(/k: expected an integer from 0 to 2, got 3/);
  expect(made(2).stored).toBe(8);
  expect(made(2).toDense()).toEqual(w);
});

test('options of another format are refused: they have no effect', () => {
  const w = new Float32Array(16);
  for (const [name, value, of] of [
    ['block', [4, 1], 'bsr'],
    ['group', 4, 'group'],
    ['k', 1, 'group'],
    ['n', 1, 'nm'],
    ['m', 4, 'nm'],
  ] as const) {
    const message = `"${name}" expected to be left out unless format is '${of}'`;
    expect(() => SparseMatrix.fromDense(w, 4, 4, { [name]: value })).toThrow(message);
    expect(() => SparseMatrix.fromDense(w, 4, 4, { [name]: value, format: 'bitmask' })).toThrow(message);
  }
});

test('values that come quantized, or as bits', () => {
  const csr = { rows: 2, cols: 3, rowPointers: [0, 1, 3], columnIndices: [1, 0, 2] };
  const values = new Int8Array([100, -128, 3]);
  const m = SparseMatrix.fromCSR({ ...csr, values }, { dtype: 'int8', scales: [0.5, 2] });
  expect([...m.toDense()]).toEqual([0, 50, 0, -256, 0, 6]);
  expect(m.dtype).toBe('int8');
  const bits = SparseMatrix.fromCSR(
    { ...csr, values: new Uint16Array([0x3c00, 0xc000, 0x7c00]) },
    { dtype: 'float16' },
  );
  expect([...bits.toCSR().values]).toEqual([1, -2, Number.POSITIVE_INFINITY]);
  for (const scales of [[1], [1, Number.NaN], [Number.POSITIVE_INFINITY, 1], [1, -1], ['1', 1]]) {
    expect(() => SparseMatrix.fromCSR({ ...csr, values }, { dtype: 'int8', scales: scales as number[] })).toThrow(
      SparseFormatError,
    );
  }
  expect(() => SparseMatrix.fromCSR({ ...csr, values }, { scales: [1, 1] })).toThrow(/scales/);
});

test('entries that are zero stay stored in CSR, and toCSR keeps them', () => {
  const csr = { rows: 2, cols: 70000, rowPointers: [0, 2, 2], columnIndices: [3, 69999], values: [0, 7] };
  const m = SparseMatrix.fromCSR(csr);
  expect([m.nonzeros, m.stored]).toEqual([1, 2]);
  expect(m.toCSR()).toEqual({
    ...csr,
    rowPointers: new Uint32Array([0, 2, 2]),
    columnIndices: new Uint32Array([3, 69999]),
    values: new Float32Array([0, 7]),
  });
});

test('the largest matrix is the largest that a kernel takes', () => {
  expect(MAX_SIZE).toBe(MAX_COLS);
});

test('a matrix whose dense form would fit nowhere', () => {
  const size = 2 ** 26 - 1;
  const m = SparseMatrix.fromCOO({
    rows: 2,
    cols: size,
    rowIndices: [1, 0],
    columnIndices: [size - 1, 0],
    values: [1, 2],
  });
  expect(m.toCSR().columnIndices).toEqual(new Uint32Array([0, size - 1]));
  const square = { rows: 70000, cols: 70000, rowPointers: new Uint32Array(70001), columnIndices: [], values: [] };
  expect(() => SparseMatrix.fromCSR(square).toDense()).toThrow(SparseFormatError);
});

describe('malformed structures', () => {
  const coo = { rows: 3, cols: 8, rowIndices: [0, 0, 2], columnIndices: [1, 6, 0], values: [1, 2, 3] };
  const csr = { rows: 3, cols: 8, rowPointers: [0, 2, 2, 5], columnIndices: [1, 6, 0, 3, 7], values: [1, 2, 3, 4, 5] };
  const bsr = { ...csr, rows: 5, block: [2, 1], values: new Array(10).fill(1) };
  const group = { rows: 3, cols: 8, group: 2, columnIndices: [1, 6, 0, 7], values: new Array(8).fill(1) };
  const nm = { rows: 2, cols: 8, n: 2, m: 4, indices: new Uint8Array([0x44, 0x48]), values: new Array(8).fill(1) };
  const bitmask = { rows: 3, cols: 6, mask: new Uint8Array([0b100001, 0, 0b111]), values: [1, 2, 3, 4, 5] };
  const kinds: Record<string, [object, (m: never) => SparseMatrix]> = {
    coo: [coo, (m) => SparseMatrix.fromCOO(m)],
    csr: [csr, (m) => SparseMatrix.fromCSR(m)],
    bsr: [bsr, (m) => SparseMatrix.fromBSR(m)],
    group: [group, (m) => SparseMatrix.fromGroups(m)],
    nm: [nm, (m) => SparseMatrix.fromNM(m)],
    bitmask: [bitmask, (m) => SparseMatrix.fromBitmask(m)],
  };
  test('nm: no bits past the last index', () => {
    const three = { rows: 3, cols: 4, n: 1, m: 4, indices: new Uint8Array([0b00100100]), values: [1, 2, 3] };
    expect(SparseMatrix.fromNM(three).toDense()[1 * 4 + 1]).toBe(2);
    const more = { ...three, indices: new Uint8Array([0b01100100]) };
    expect(() => SparseMatrix.fromNM(more)).toThrow(/indices\[0\]: expected no bits past the last index/);
  });

  /** Wrong wherever they stand. */
  const bad = [0x40000000, 0x80000000, 2 ** 32, 2 ** 53, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY];
  const types = [
    (a: ArrayLike<number>) => Array.from(a),
    (a: ArrayLike<number>) => Int32Array.from(a),
    (a: ArrayLike<number>) => Float64Array.from(a),
  ];

  test.each(Object.keys(kinds))('%s: sound as it stands, from any kind of array', (kind) => {
    const [m, make] = kinds[kind];
    for (const from of types) {
      const copy = Object.entries(m).map(([k, v]) => [k, Array.isArray(v) && k !== 'block' ? from(v) : v]);
      expect(make(Object.fromEntries(copy) as never).toDense()).toEqual(make(m as never).toDense());
    }
  });

  test.each(Object.keys(kinds))(
    '%s: 1 000 mutations of an entry, a size, a length or a type are all refused',
    (kind) => {
      const [valid, make] = kinds[kind];
      let refused = 0;
      fc.assert(
        fc.property(
          fc.constantFrom(...Object.keys(valid)),
          fc.nat(20),
          fc.constantFrom(...bad),
          fc.constantFrom('set', 'cut', 'add', 'type', 'swap'),
          fc.constantFrom(...types),
          (field, i, value, how, from) => {
            const m = structuredClone(valid) as Record<string, unknown>;
            const list = m[field] as number[];
            const bytes = list instanceof Uint8Array;
            if (how === 'type')
              m[field] = [undefined, null, '3', 3n, {}, [[1]], new DataView(new ArrayBuffer(8))][i % 7];
            else if (typeof list === 'number') m[field] = value === 0x40000000 ? -8 : value;
            else if (how === 'cut') m[field] = list.slice(0, -1);
            else if (how === 'add') m[field] = bytes ? new Uint8Array([...list, 0]) : [...list, 0];
            else if (field === 'values') m[field] = [...list].map((v, k) => (k === i % list.length ? `${v}` : v));
            else if (kind === 'bitmask') (list as unknown as Uint8Array)[i % 3] ^= how === 'set' ? 0x40 : 1;
            else if (kind === 'nm') (list as unknown as Uint8Array)[i % 2] = [0, 0x55, 0x46, 0x54, 0xff][i % 5];
            else if (how === 'set' || kind === 'coo') {
              list[i % list.length] = value;
              if (Number.isInteger(value) && value <= 0x7fffffff && field !== 'block') m[field] = from(list);
            } else list.reverse();
            expect(
              () => make(m as never),
              JSON.stringify(m, (_, v) => (typeof v === 'bigint' ? `${v}` : v)),
            ).toThrow(SparseFormatError);
            refused++;
          },
        ),
        { numRuns: 1000 },
      );
      expect(refused).toBe(1000);
    },
  );

  test('unsorted and repeated columns, sizes past what is exact, wrong types', () => {
    expect(() => SparseMatrix.fromCSR({ ...csr, columnIndices: [6, 1, 0, 3, 7] })).toThrow(/ascending, unique/);
    expect(() => SparseMatrix.fromCSR({ ...csr, columnIndices: [1, 1, 0, 3, 7] })).toThrow(/ascending, unique/);
    for (const [rows, cols] of [
      [2 ** 26, 0],
      [0, 2 ** 26],
      [2 ** 31, 1],
      [1, 2 ** 32],
      [2 ** 53, 1],
      [2 ** 31 - 1, 2 ** 31 - 1],
    ]) {
      for (const [, make] of Object.values(kinds)) {
        expect(() => make({ ...csr, ...bsr, ...coo, ...nm, ...group, ...bitmask, rows, cols } as never)).toThrow(
          SparseFormatError,
        );
      }
      expect(() => SparseMatrix.fromDense([1], rows, cols)).toThrow(SparseFormatError);
    }
    expect(() => SparseMatrix.fromCSR(null as never)).toThrow(TypeError);
    expect(() => SparseMatrix.fromCSR({ ...csr, values: 5 as never })).toThrow(/values: expected an array/);
    expect(() => SparseMatrix.fromDense(new Float32Array(5), 2, 3)).toThrow(RangeError);
    expect(() => SparseMatrix.fromDense('123456' as never, 2, 3)).toThrow(TypeError);
    expect(() => SparseMatrix.fromDense([1], 1, 1, { format: 'ell' as never })).toThrow(/"format"/);
    expect(() => SparseMatrix.fromDense([1], 1, 1, { dtype: 'f8' as never })).toThrow(/"dtype"/);
    expect(() => SparseMatrix.fromDense([1], 1, 1, { format: 'nm', n: 4, m: 4 })).toThrow(/below m/);
    expect(() => SparseMatrix.fromDense([1], 1, 1, { format: 'bsr', block: [0, 1] })).toThrow(/block/);
  });

  test('an array that changes while it is read is read once', () => {
    let reads = 0;
    const columnIndices = [1, 6, 0, 3, 7];
    Object.defineProperty(columnIndices, 4, { get: () => (reads++ ? 0x40000000 : 7), enumerable: true });
    expect(SparseMatrix.fromCSR({ ...csr, columnIndices }).toCSR().columnIndices[4]).toBe(7);
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

  test('both layouts, any number of columns, every format', async () => {
    const [rows, cols] = [21, 35];
    const w = pruned(rows, cols, 0.3, 3, [4, 1]);
    const bias = randf(rows, 4);
    const formats: SparseOptions[] = [{}, { format: 'bsr' }, { format: 'group', k: 35 }, { format: 'bitmask' }];
    formats.push({ dtype: 'float16' }, { dtype: 'int8' });
    for (const options of formats) {
      const m = SparseMatrix.fromDense(w, rows, cols, options);
      const exact = m.toDense(); // rounded, where values are stored in fewer bits
      for (const columns of [0, 1, 2, 4, 5, 16, 49, 70]) {
        const x = randf(cols * columns, columns + 1);
        const want = product(exact, x, rows, cols, columns, bias);
        const limits = { bias, min: -1, max: 2 };
        expectClose(await engine.spmm(m, x, limits), want, tolerance(cols), `features, ${columns}`);
        const tokens = await engine.spmm(m, transposed(x, cols, columns), { ...limits, layout: 'tokens' });
        expectClose(transposed(tokens, columns, rows), want, tolerance(cols), `tokens, ${columns}`);
      }
    }
    const x = randf(cols, 9);
    const want = product(w, x, rows, cols, 1);
    expectClose(
      await engine.spmv(SparseMatrix.fromDense(w, rows, cols), x, { min: -1, max: 2 }),
      want,
      tolerance(cols),
    );
    const dense = { data: w, rows, cols };
    expectClose(await engine.spmm(dense, x, { min: -1, max: 2 }), want, tolerance(cols));
  });

  test('a prepared operator keeps its memory, and its views see what the last run made', async () => {
    const w = SparseMatrix.fromDense(pruned(64, 48, 0.2, 5), 64, 48);
    const before = engine.arena.used;
    const op = await engine.prepare(w, { columns: 20 });
    const inUse = engine.arena.used;
    expect(op.bytes).toBeGreaterThanOrEqual(op.weightBytes + 4 * 20 * (48 + 64));
    expect(op.bytes).toBeLessThanOrEqual(inUse - before);
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
    expect(op.bytes).toBe(0);
    expect(engine.arena.used).toBe(before);
    expect(() => op.run(x)).toThrow(/disposed|dispose/);
  });

  test('sddmm', async () => {
    const [a, b] = [randf(9 * 6, 1), randf(11 * 6, 2)];
    const w = pruned(9, 11, 0.4, 8, [4, 4]);
    const formats: SparseOptions[] = [
      { format: 'csr' },
      { format: 'bsr', block: [4, 4] },
      { format: 'bsr', block: [2, 1] },
      { format: 'bitmask' },
    ];
    let p = SparseMatrix.fromDense(w, 9, 11);
    for (const options of formats) {
      p = SparseMatrix.fromDense(w, 9, 11, options);
      const got = await engine.sddmm(p, a, b, { scale: 2 });
      // Blocks of 2x1 hold rows that the pattern has not; blocks of 4x4 are the pattern's own.
      const stored = SparseMatrix.fromDense(w, 9, 11, options.block?.[0] === 2 ? options : {});
      const places = (await engine.sddmm(stored, new Float32Array(9).fill(1), new Float32Array(11).fill(1))).toDense();
      const want = w.map((_, i) => {
        let sum = 0;
        for (let k = 0; k < 6; k++) sum += a[Math.floor(i / 11) * 6 + k] * b[(i % 11) * 6 + k];
        return 2 * sum * places[i];
      });
      expectClose(got.toDense(), want, 1e-5);
      expect(got.format).toBe(options.format === 'bitmask' ? 'csr' : options.format);
    }
    // Places whose product is 0 stay in the pattern.
    const none = await engine.sddmm(await engine.sddmm(p, new Float32Array(9), new Float32Array(11)), a, b, {
      scale: 2,
    });
    expect(none.nonzeros).toBe(p.nonzeros);
    const empty = SparseMatrix.fromDense([], 0, 4);
    expect((await engine.sddmm(empty, new Float32Array(0), new Float32Array(12))).stored).toBe(0);
    await expect(engine.sddmm({} as never, a, b)).rejects.toThrow(/"pattern" expected a SparseMatrix/);
    await expect(engine.sddmm(p, a, b.subarray(6))).rejects.toThrow(/"b"/);
    await expect(engine.sddmm(p, a.subarray(1), b)).rejects.toThrow(/"a"/);
  });

  test('int8 matrices by quantised activations: the exact sums of integers', async () => {
    for (const [rows, cols, density] of [
      [21, 35, 0.3],
      [8, 16, 1],
      [5, 7, 0],
    ] as const) {
      const m = SparseMatrix.fromDense(pruned(rows, cols, density, 4, [4, 1]), rows, cols, { dtype: 'int8' });
      const dense = m.toDense();
      const scales = Float32Array.from({ length: rows }, (_, r) => {
        const row = [...dense.subarray(r * cols, (r + 1) * cols)].map(Math.abs);
        return Math.max(...row) / 127 || 1;
      });
      for (const columns of [1, 8, 19]) {
        const x = randf(cols * columns, columns);
        const bias = randf(rows, 3);
        const by = referenceRange(x, columns, 'token', 127, 0);
        const q = referenceQuantized(x, by, -127, 127);
        const weights = Int8Array.from(dense, (v, i) => Math.round(v / scales[Math.floor(i / cols)]));
        const want = Float32Array.from(referenceSums(weights, q, by, rows), (sum, i) => {
          const r = Math.floor(i / columns);
          return Math.min(2, Math.max(-1, sum * scales[r] * by[i % columns].scale + bias[r]));
        });
        const options = { bias, min: -1, max: 2, activations: 'int8' } as const;
        expectClose(await engine.spmm(m, x, options), want, 1e-5, `${rows}x${cols}x${columns}`);
        const tokens = await engine.spmm(m, transposed(x, cols, columns), { ...options, layout: 'tokens' });
        expectClose(transposed(tokens, columns, rows), want, 1e-5);
      }
    }
    const f32 = SparseMatrix.fromDense(new Float32Array(4), 2, 2);
    await expect(engine.spmm(f32, new Float32Array(2), { activations: 'int8' })).rejects.toThrow(/dtype int8/);
    await expect(engine.spmm(f32, new Float32Array(2), { activations: 'i8' as never })).rejects.toThrow(
      /"activations"/,
    );
  });

  test('bad input is refused before any kernel runs, and the engine stays usable', async () => {
    const w = SparseMatrix.fromDense(pruned(8, 6, 0.5, 9), 8, 6);
    const x = randf(6 * 4, 1);
    const used = engine.arena.used;
    await expect(engine.spmm(w, new Float32Array(25))).rejects.toThrow(/"x" expected a multiple of 6/);
    await expect(engine.spmm(w, new Float64Array(24) as never)).rejects.toThrow(TypeError);
    await expect(engine.spmm({ data: x } as never, x)).rejects.toThrow(/w\.rows/);
    await expect(engine.spmm(null as never, x)).rejects.toThrow(TypeError);
    await expect(engine.spmm(w, x, { bias: new Float32Array(7) })).rejects.toThrow(/"bias" expected 8 values/);
    await expect(engine.spmm(w, x, { min: 2, max: 1 })).rejects.toThrow(/"min"/);
    await expect(engine.spmm(w, x, { max: Number.NaN })).rejects.toThrow(/"max"/);
    await expect(engine.spmm(w, x, { layout: 'rows' as never })).rejects.toThrow(/"layout"/);
    await expect(engine.spmm(w, x, { columns: 3 })).rejects.toThrow(/"x" expected 18 values/);
    await expect(engine.spmm(w, x, { out: new Float32Array(31) })).rejects.toThrow(/"out"/);
    const shared = new Float32Array(64);
    await expect(engine.spmm(w, shared.subarray(0, 24), { out: shared.subarray(20, 52) })).rejects.toThrow(/"out"/);
    await expect(engine.prepare(w, {} as never)).rejects.toThrow(/"columns"/);
    await expect(engine.prepare(w, { columns: 2 ** 31 })).rejects.toThrow(/memory/);
    expect(engine.arena.used).toBe(used);
    expect(await engine.spmm(w, x)).toHaveLength(32);
  });
});

test('an engine that was disposed refuses', async () => {
  const engine = await Engine.create();
  const w = SparseMatrix.fromDense([1, 0, 0, 1], 2, 2);
  const op = await engine.prepare(w, { columns: 8 });
  engine.dispose();
  await expect(engine.spmm(w, new Float32Array(16))).rejects.toThrow(/dispose/);
  expect(() => op.run(new Float32Array(16))).toThrow(/dispose/);
});
