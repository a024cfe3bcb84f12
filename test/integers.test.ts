// Products in integers through the operators: bits equal to exact integers, whatever the kernel, and the choice of kernels.
import { describe, expect, test } from 'vitest';
import { ArgumentRangeError, ArgumentTypeError, Engine, SparseMatrix } from '../src/index.ts';
import { chooseFew } from '../src/kernel/few.ts';
import { chooseInt8, STEPS } from '../src/kernel/select-int8.ts';
import { Model } from '../src/model.ts';
import { packSpmvInt8, WINDOWS } from '../src/pack/spmv-int8.ts';
import { referenceSpmm } from '../src/reference/dense.ts';
import { referenceInt8, referenceQuantized, referenceRange, referenceSums } from '../src/reference/int8.ts';
import { integers, matrix, transposed } from './support/integers.ts';
import { ISAS, randf, rng } from './support/kernels.ts';
import { expectClose, tolerance } from './support/spmm.ts';

const KINDS = {
  int8: { steps: 127, zero: 0, limits: [-127, 127] },
  uint7: { steps: 127, zero: undefined, limits: [0, 127] },
} as const;

/** Y [rows][columns] of X [cols][columns], in exact integers. */
function exact(
  kind: keyof typeof KINDS,
  weights: Int8Array,
  scales: Float32Array,
  x: Float32Array,
  columns: number,
  o: { bias?: Float32Array; min?: number; max?: number } = {},
): Float32Array {
  const { steps, zero, limits } = KINDS[kind];
  const by = referenceRange(x, columns, 'token', steps, zero);
  const q = referenceQuantized(x, by, limits[0], limits[1]);
  const sums = referenceSums(weights, q, by, scales.length);
  const { bias = new Float32Array(scales.length), min = -Infinity, max = Infinity } = o;
  return referenceInt8(sums, scales, by, false, bias, { min, max });
}

const scalesOf = (rows: number) => randf(rows, 9).map((v) => 0.001 + Math.abs(v) / 50);

describe.each(ISAS)('%s', (isa) => {
  test.each(['int8', 'uint7'] as const)('%s: every format, few columns and many, both layouts', async (activations) => {
    using engine = await Engine.create({ isa });
    const formats = new Set<string>();
    for (const [rows, cols, density, group] of [
      [21, 70, 0, 1],
      [64, 100, 0.02, 1],
      [67, 150, 0.2, 1],
      [66, 150, 0.3, 4],
      [33, 131, 1, 1],
      [12, 3500, 0.3, 1],
      [1, 1, 1, 1],
    ]) {
      const weights = integers(rows, cols, density, group);
      const scales = scalesOf(rows);
      const w = matrix(weights, scales, rows, cols);
      for (const columns of [1, 2, 3, 8, 9, 37]) {
        const x = randf(cols * columns, columns + 3).map((v) => v + 0.3);
        const o = { bias: randf(rows, 4), min: -0.7, max: 0.9 };
        const want = exact(activations, weights, scales, x, columns, o);
        for (const layout of ['features', 'tokens'] as const) {
          const given = layout === 'tokens' ? transposed(x, cols, columns) : x;
          using op = await engine.prepare(w, { ...o, columns, layout, activations });
          formats.add(op.format);
          const got = op.run(given);
          const y = layout === 'tokens' ? transposed(got, columns, rows) : got;
          expect(y, `${rows}x${cols}x${columns} ${layout} ${op.kernel}`).toEqual(want);
          if (activations === 'uint7' && op.format !== 'window') {
            expect(op.kernel.includes('q7spmm')).toBe(isa === 'relaxed');
          }
        }
      }
    }
    expect([...formats].sort()).toEqual(['csr', 'dense', 'group4', 'window']);
  });

  test('a column of NaN, infinities, zeros or tiny numbers is its own affair', async () => {
    using engine = await Engine.create({ isa });
    const [rows, cols] = [40, 60];
    const weights = integers(rows, cols, 0.3, 1).map((v, i) => (i % cols < 2 ? 5 : v));
    const scales = scalesOf(rows);
    const w = matrix(weights, scales, rows, cols);
    for (const columns of [6, 20]) {
      const x = randf(cols * columns, 5);
      x[0] = Number.NaN;
      x[columns + 1] = Number.POSITIVE_INFINITY;
      x[2] = Number.NEGATIVE_INFINITY;
      for (let k = 0; k < cols; k++) [x[k * columns + 3], x[k * columns + 4]] = [0, k % 2 ? 1e-45 : -3e-45];
      for (const activations of ['int8', 'uint7'] as const) {
        const want = exact(activations, weights, scales, x, columns);
        for (let p = 0; p < columns; p++) expect(Number.isNaN(want[p])).toBe(p < 3);
        const given = transposed(x, cols, columns);
        const y = await engine.spmm(w, given, { activations, layout: 'tokens' });
        expect(transposed(y, columns, rows)).toEqual(want);
        expect(await engine.spmm(w, x, { activations })).toEqual(want);
      }
    }
  });

  test('float32: few tokens of a large int8 matrix meet its integers as floats', async () => {
    using engine = await Engine.create({ isa });
    // More bytes as f32 than a cache holds.
    const [rows, cols] = [2048, 4096];
    const weights = integers(rows, cols, 0.3, 1);
    const scales = scalesOf(rows);
    scales[7] = 0;
    const w = matrix(weights, scales, rows, cols);
    const decoded = Float64Array.from(weights, (v, i) => v * scales[Math.floor(i / cols)]);
    const bias = randf(rows, 3);
    for (const columns of [1]) {
      const x = randf(cols * columns, 5);
      const o = { bias, min: -3, max: 40 };
      using op = await engine.prepare(w, { ...o, columns, layout: 'tokens' });
      expect(op.kernel).toBe('i8_window_f32spmv');
      expect(op.weightBytes).toBeLessThan(rows * cols);
      const y = transposed(op.run(transposed(x, cols, columns)), columns, rows);
      for (let r = 0; r < rows; r++) {
        for (let p = 0; p < columns; p++) {
          let sum = bias[r];
          for (let k = 0; k < cols; k++) sum += decoded[r * cols + k] * x[k * columns + p];
          const error = Math.abs(y[r * columns + p] - Math.min(40, Math.max(-3, sum)));
          expect(error).toBeLessThan(tolerance(cols));
        }
      }
    }
  });

  test('float32: a small int8 matrix is multiplied as before', async () => {
    using engine = await Engine.create({ isa, deterministic: isa === 'simd128' });
    const [rows, cols] = [40, 60];
    const weights = integers(rows, cols, 0.2, 1);
    const scales = scalesOf(rows);
    const w = matrix(weights, scales, rows, cols);
    for (const columns of [1, 5, 20]) {
      const x = randf(cols * columns, 2);
      const want = referenceSpmm(w.toDense(), x, rows, cols, columns);
      expectClose(await engine.spmm(w, x, { columns }), want, tolerance(cols));
    }
  });
});

test('one thread or more, one instruction set or the other: the same bits', async () => {
  const [rows, cols] = [520, 1900];
  const weights = integers(rows, cols, 0.3, 1);
  const w = matrix(weights, scalesOf(rows), rows, cols);
  const engines = await Promise.all(ISAS.flatMap((isa) => [1, 2, 3].map((threads) => Engine.create({ isa, threads }))));
  for (const columns of [1, 4, 20, 300]) {
    for (const layout of ['features', 'tokens'] as const) {
      for (const activations of ['int8', 'uint7'] as const) {
        const x = randf(cols * columns, 6);
        const [one, ...others] = await Promise.all(engines.map((e) => e.spmm(w, x, { columns, layout, activations })));
        for (const y of others) expect(Buffer.from(y.buffer).equals(Buffer.from(one.buffer))).toBe(true);
      }
    }
  }
  for (const e of engines) e.dispose();
});

describe('chooseInt8', () => {
  test.each([
    // columns, rows that share their zeros, zeros, outputs may lie in lanes
    [64, 1, 0, false, 'dense'],
    [64, 1, 0.4, false, 'dense'],
    [64, 1, 0.55, false, 'csr'],
    [64, 1, 0.95, false, 'csr'],
    [64, 4, 0.1, false, 'dense'],
    [64, 4, 0.3, false, 'group4'],
    [64, 4, 0.95, false, 'group4'],
    [1, 1, 0, false, 'dense'],
    [1, 1, 0, true, 'window'],
    [1, 1, 0.7, true, 'window'],
    [1, 1, 0.95, true, 'window'],
    [4, 1, 0.7, true, 'window'],
    [8, 1, 0.3, true, 'dense'],
    [8, 4, 0.8, true, 'group4'],
  ] as const)('%i columns, groups of %i, %f zeros, lanes %s: %s', (columns, group, zeros, lanes, format) => {
    const weights = integers(256, 768, 1 - zeros, group);
    for (const [isa, kind] of [
      ['simd128', 'i16'],
      ['relaxed', 'i16'],
      ['relaxed', 'u7'],
    ] as const) {
      expect(chooseInt8(isa, kind, weights, 256, 768, columns, lanes).format).toBe(format);
    }
  });

  test.each([
    // rows, zeros, how many weights are positive
    ['simd128', 'i16', 256, 0.7, 0.5, 'bytes'],
    ['relaxed', 'i16', 256, 0.7, 0.5, 'signs'],
    ['relaxed', 'u7', 256, 0.7, 0.5, 'quads'],
    // The one sign that there is fills half of a step.
    ['relaxed', 'i16', 256, 0.7, 1, 'bytes'],
    ['relaxed', 'u7', 256, 0.7, 1, 'quads'],
    ['relaxed', 'i16', 256, 0.97, 0.5, 'bytes'],
    // More bytes than a cache is sure to hold.
    ['relaxed', 'i16', 32768, 0.5, 0.5, 'pairs'],
  ] as const)('%s, %s, %i rows, %f zeros, %f positive: %s', (isa, kind, rows, zeros, positive, windows) => {
    const sign = rng(3);
    const weights = integers(rows, 768, 1 - zeros, 1).map((v) =>
      (sign() + 1) / 2 < positive ? Math.abs(v) : -Math.abs(v),
    );
    expect(chooseInt8(isa, kind, weights, rows, 768, 1, true)).toMatchObject({ format: 'window', windows });
  });

  test('steps of windows are estimated to 8 %', () => {
    for (const density of [0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.8, 1]) {
      const [rows, cols] = [160, 768];
      const weights = integers(rows, cols, density, 1, 7);
      const scales = new Float32Array(rows).fill(1);
      for (const windows of ['pairs', 'bytes', 'signs', 'quads'] as const) {
        const steps = packSpmvInt8({ weights, scales }, rows, cols, undefined, windows, 1).stored / 16;
        const { height } = WINDOWS[windows];
        const guess = (rows / height) * cols * STEPS[windows](density);
        expect(Math.abs(guess / steps - 1), `${windows} ${density}: ${guess} of ${steps}`).toBeLessThan(0.08);
      }
    }
  });

  test('rows whose sums windows might not hold, and nothing at all', () => {
    const wide = new Int8Array(66400).fill(1);
    expect(chooseInt8('simd128', 'i16', wide, 1, 66400, 1, true).formats.window).toBeUndefined();
    expect(chooseInt8('simd128', 'i16', new Int8Array(0), 0, 5, 1, true).format).toBeDefined();
  });
});

test('int8 weights as floats where f32 weights do not stay in a cache', () => {
  for (const [rows, cols, density, pick] of [
    [2048, 4096, 0.3, { int8: true }],
    [1024, 4096, 0.2, {}],
    [3072, 768, 0.2, {}],
  ] as const) {
    const w = Float32Array.from(integers(rows, cols, density, 1));
    for (const isa of ['simd128', 'relaxed'] as const) {
      expect(chooseFew(isa, false, w, rows, cols, 1, 'int8')).toMatchObject({ format: 'window', ...pick });
      expect(chooseFew(isa, false, w, rows, cols, 1).int8).toBeUndefined();
    }
  }
});

test('bad input: integers of -128, sums beyond 32 bits, more rows and columns than fit', async () => {
  using engine = await Engine.create();
  const csr = { rows: 1, cols: 2, rowPointers: [0, 2], columnIndices: [0, 1], values: Int8Array.of(-128, 5) };
  const w = SparseMatrix.fromCSR(csr, { dtype: 'int8', scales: [1] });
  expect(await engine.spmm(w, Float32Array.of(1, 1))).toEqual(Float32Array.of(-123));
  for (const activations of ['int8', 'uint7'] as const) {
    await expect(engine.spmm(w, new Float32Array(2), { activations })).rejects.toThrow(
      /"w" expected integers from -127 to 127 for u?int[78] activations, got -128/,
    );
  }
  const n = 2 ** 20;
  const huge = SparseMatrix.fromCOO(
    { rows: n, cols: n, rowIndices: [5], columnIndices: [7], values: [2] },
    { dtype: 'int8' },
  );
  await expect(engine.spmm(huge, new Float32Array(n), { activations: 'int8' })).rejects.toMatchObject({
    code: 'SPARSE_FORMAT',
  });
});

test('a bias of infinities or NaN, and rows as long as sums can be: taken or not, whatever the kernel', async () => {
  const cols = 133144; // of 127 times 127, the most that 32 bits hold
  const long = (n: number) =>
    SparseMatrix.fromCSR(
      {
        rows: 1,
        cols: n,
        rowPointers: [0, n],
        columnIndices: Uint32Array.from({ length: n }, (_, i) => i),
        values: new Int8Array(n).fill(127),
      },
      { dtype: 'int8', scales: [1] },
    );
  const w = SparseMatrix.fromDense(randf(256, 3), 16, 16, { dtype: 'int8' });
  for (const isa of ISAS) {
    using engine = await Engine.create({ isa });
    for (const activations of ['int8', 'uint7'] as const) {
      for (const columns of [1, 8, 40]) {
        for (const b of [Infinity, -Infinity, NaN]) {
          const bias = new Float32Array(16).fill(b);
          const y = await engine.spmm(w, new Float32Array(16 * columns).fill(1), { columns, activations, bias });
          expect(y).toEqual(new Float32Array(16 * columns).fill(b));
        }
      }
      const y = await engine.spmv(long(cols), new Float32Array(cols).fill(1), { activations });
      expect(y[0]).toBeCloseTo(127 * cols, -1);
      const refused = engine.spmv(long(cols + 1000), new Float32Array(cols + 1000).fill(1), { activations });
      await expect(refused).rejects.toThrow(/"w" expected magnitudes of 16909320 together in row 0/);
    }
  }
});

test('options that are no object: typed errors', async () => {
  using engine = await Engine.create();
  const none = null as never;
  const w = SparseMatrix.fromDense(new Float32Array(4).fill(1), 2, 2);
  const x = new Float32Array(2);
  const message = /"options" expected an object, got null/;
  expect(() => SparseMatrix.fromDense(x, 1, 2, none)).toThrow(message);
  const csr = { rows: 1, cols: 1, rowPointers: [0, 0], columnIndices: [], values: [] };
  expect(() => SparseMatrix.fromCSR(csr, none)).toThrow(message);
  expect(() => SparseMatrix.fromCOO({ rows: 1, cols: 1, rowIndices: [], columnIndices: [], values: [] }, none)).toThrow(
    message,
  );
  await expect(engine.spmm(w, x, none)).rejects.toThrow(message);
  await expect(engine.spmv(w, x, none)).rejects.toThrow(message);
  await expect(engine.sddmm(w, x, x, none)).rejects.toThrow(message);
  await expect(Engine.create(none)).rejects.toThrow(message);
  await expect(Engine.create({ maxBytes: '100' as never })).rejects.toThrow(/"maxBytes" expected a positive number/);
  await expect(Model.load(new Uint8Array(4), none)).rejects.toThrow(message);
});

test('views of the memory, given to products while another makes it grow', async () => {
  using engine = await Engine.create();
  const small = SparseMatrix.fromDense(Float32Array.of(1, 2, 3, 4), 2, 2);
  using op = await engine.prepare(small, { columns: 2 });
  op.input.set([1, 2, 3, 4]);
  const row = { data: op.input.subarray(0, 2), rows: 1, cols: 2 };
  const [, y, z, prepared] = await Promise.all([
    engine.spmm(small, new Float32Array(8e6)),
    engine.spmm(small, op.input, { bias: op.input.subarray(0, 2) }),
    engine.spmv(small, op.input.subarray(0, 2)),
    engine.prepare(row, { columns: 1, bias: op.input.subarray(2, 3) }),
  ]);
  expect(prepared.run(Float32Array.of(10, 1))).toEqual(Float32Array.of(15));
  expect(y).toEqual(Float32Array.of(8, 11, 17, 24));
  expect(z).toEqual(Float32Array.of(5, 11));
  for (const w of [5, 'w', null, undefined]) {
    await expect(engine.spmm(w as never, new Float32Array(2))).rejects.toBeInstanceOf(ArgumentTypeError);
    await expect(engine.prepare(w as never, { columns: 1 })).rejects.toBeInstanceOf(ArgumentTypeError);
  }
});

test('bad input: typed errors', async () => {
  using engine = await Engine.create();
  const int8 = matrix(integers(4, 5, 0.5, 1), scalesOf(4), 4, 5);
  const f32 = SparseMatrix.fromDense(new Float32Array(20).fill(1), 4, 5);
  const x = new Float32Array(10);
  for (const activations of ['int7', 'u7', '', null, 7]) {
    await expect(engine.spmm(int8, x, { activations: activations as never })).rejects.toThrow(
      /"activations" expected float32, int8 or uint7/,
    );
  }
  for (const activations of ['int8', 'uint7'] as const) {
    await expect(engine.spmm(f32, x, { activations })).rejects.toThrow(/"activations" expected float32, unless w is/);
    await expect(engine.spmm(f32, x, { activations })).rejects.toBeInstanceOf(ArgumentRangeError);
  }
});
