// Values in every type and format: what goes in comes out, bit for bit, and halves stay halves in the kernels of few tokens.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { numberToHalf } from '../src/half.ts';
import { Engine, SparseFormatError, SparseMatrix, type SparseOptions } from '../src/index.ts';
import { referenceSpmv } from '../src/reference/spmv.ts';
import { ISAS, randf, rng } from './support/kernels.ts';
import { expectClose, tolerance } from './support/spmm.ts';

/** A half from its definition. */
function halfValue(bits: number): number {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : (fraction / 1024) * 2 ** -14);
}

/** Half-precision numbers, nonzero at a share of places that `group` rows have in common. */
function halves(rows: number, cols: number, density: number, group = 1, seed = 1): Float32Array {
  const [keep, value] = [rng(seed), rng(seed + 1)];
  const lists = Array.from({ length: Math.ceil(rows / group) * cols }, () => (keep() + 1) / 2 < density);
  return Float32Array.from({ length: rows * cols }, (_, i) => {
    const at = Math.floor(Math.floor(i / cols) / group) * cols + (i % cols);
    return lists[at] ? halfValue(numberToHalf(value() || 0.5)) : 0;
  });
}

/** Structures of one matrix, 3 x 8, and the places that their slots have; -1: past the last row. */
const shape = { rows: 3, cols: 8 };
const STRUCTURES: Record<string, { places: number[]; bytes: number; make(values: never, o: object): SparseMatrix }> = {
  csr: {
    places: [1, 6, 16, 19, 23],
    bytes: 4 * 4 + 2 * 5,
    make: (values, o) =>
      SparseMatrix.fromCSR({ ...shape, rowPointers: [0, 2, 2, 5], columnIndices: [1, 6, 0, 3, 7], values }, o),
  },
  bsr: {
    places: [1, 9, 18, -1],
    bytes: 4 * 3 + 2 * 2,
    make: (values, o) =>
      SparseMatrix.fromBSR({ ...shape, block: [2, 1], rowPointers: [0, 1, 2], columnIndices: [1, 2], values }, o),
  },
  group: {
    places: [0, 8, 7, 15, 17, -1, 20, -1],
    bytes: 2 * 4,
    make: (values, o) => SparseMatrix.fromGroups({ ...shape, group: 2, columnIndices: [0, 7, 1, 4], values }, o),
  },
  nm: {
    places: [0, 3, 5, 7, 8, 9, 14, 15, 17, 18, 20, 23],
    bytes: 3,
    make: (values, o) =>
      SparseMatrix.fromNM({ ...shape, n: 2, m: 4, indices: new Uint8Array([0xdc, 0xe4, 0xc9]), values }, o),
  },
  bitmask: {
    places: [0, 5, 16, 17, 18],
    bytes: 3,
    make: (values, o) => SparseMatrix.fromBitmask({ ...shape, mask: new Uint8Array([0b100001, 0, 0b111]), values }, o),
  },
};

describe.each(Object.entries(STRUCTURES))('%s', (format, { places, bytes, make }) => {
  const n = places.length;
  const dense = (of: (slot: number, row: number) => number) => {
    const out = new Float32Array(24);
    places.forEach((at, slot) => {
      if (at >= 0) out[at] = of(slot, at >> 3);
    });
    return out;
  };
  const inside = places.filter((p) => p >= 0).length;
  /** The same matrix after a journey through CSR, and through its own format. */
  const same = (m: SparseMatrix, want: Float32Array, dtype: 'float32' | 'float16' | 'int8', size: number) => {
    expect(m.format).toBe(format);
    expect(m.dtype).toBe(dtype);
    expect(m.toDense()).toEqual(want);
    expect([m.stored, m.nonzeros, m.density]).toEqual([n, inside, inside / 24]);
    expect(m.bytes).toBe(bytes + size);
    expect(SparseMatrix.fromCSR(m.toCSR(), { dtype: dtype === 'int8' ? 'float32' : dtype }).toDense()).toEqual(want);
    const saved = m.toStoredCSR();
    expect(
      SparseMatrix.fromCSR(saved, saved)
        .toDense()
        .map((v) => 1 / v),
    ).toEqual(m.toDense().map((v) => 1 / v));
    const again = SparseMatrix.fromCSR(saved, saved);
    expect([again.dtype, again.nonzeros]).toEqual([dtype, m.nonzeros]);
    expect(again.toStoredCSR()).toEqual(saved);
    expect(again.toDense()).toEqual(want);
    if (dtype === 'int8') return;
    const own: Partial<Record<string, SparseOptions>> = { bsr: { block: [2, 1] }, group: { group: 2, k: 2 } };
    const options: SparseOptions = { format: m.format, dtype, ...own[format] };
    expect(SparseMatrix.fromDense(want, 3, 8, options).toDense()).toEqual(want);
  };

  test('float32', () => {
    const values = Float32Array.from({ length: n }, (_, i) => (i + 1) / 3);
    same(
      make(values as never, {}),
      dense((slot) => values[slot]),
      'float32',
      4 * n,
    );
  });

  test('float16, as bits and as numbers', () => {
    // The largest, the least normal and subnormal numbers, 1/3, and so on.
    const bits = Uint16Array.from({ length: n }, (_, i) => [0x7bff, 0x8400, 0x0001, 0x3555, 0xfbff, 0x83ff][i % 6]);
    const want = dense((slot) => halfValue(bits[slot]));
    same(make(bits as never, { dtype: 'float16' }), want, 'float16', 2 * n);
    same(make(Array.from(bits, halfValue) as never, { dtype: 'float16' }), want, 'float16', 2 * n);
  });

  test('int8, quantised already', () => {
    const values = Int8Array.from({ length: n }, (_, i) => (i % 2 ? -1 : 1) * (127 - 9 * i));
    const scales = [0.5, 3, 2 ** -20];
    const m = make(values as never, { dtype: 'int8', scales });
    same(
      m,
      dense((slot, row) => values[slot] * scales[row]),
      'int8',
      n + 4 * 3,
    );
  });

  test.each(['float32', 'float16', 'int8'] as const)('%s: too few values, or too many, are refused', (dtype) => {
    for (const length of [n - 1, n + 1]) {
      expect(() => make(new Float32Array(length) as never, { dtype })).toThrow(SparseFormatError);
    }
  });
});

test('a bitmask of all 65536 halves', () => {
  const values = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const mask = new Uint8Array(8192).fill(255);
  const m = SparseMatrix.fromBitmask({ rows: 256, cols: 256, mask, values }, { dtype: 'float16' });
  m.toDense().forEach((v, i) => {
    if (!Object.is(v, Math.fround(halfValue(i)))) throw new Error(`bits ${i}: expected ${halfValue(i)}, got ${v}`);
  });
  expect(m.nonzeros).toBe(65534);
  expect(m.bytes).toBe(8192 + 2 * 65536);
});

describe.each(ISAS)('%s: halves, one to eight tokens', (isa) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await Engine.create({ isa });
  });
  afterAll(() => engine.dispose());

  test('groups of 16 keep them in memory: half the bytes', async () => {
    const w = halves(100, 300, 0.2, 16);
    const kept = await engine.prepare(SparseMatrix.fromDense(w, 100, 300, { dtype: 'float16' }), { columns: 1 });
    const expanded = await engine.prepare(SparseMatrix.fromDense(w, 100, 300), { columns: 1 });
    expect([kept.kernel, expanded.kernel]).toEqual(['f16_group16_spmv', 'f32_group16_spmv']);
    expect(kept.weightBytes).toBeLessThan(0.6 * expanded.weightBytes);
    const x = randf(300, 2);
    expectClose(kept.run(x), referenceSpmv(w, x, { rows: 100, cols: 300, tokens: 1 }), tolerance(300), 'f16');
    expectClose(kept.run(x), expanded.run(x), tolerance(300), 'f16 and f32');
    kept.dispose();
    expanded.dispose();
    // Without zeros halves are slower from anywhere; with few in common, windows are.
    for (const [data, kernel] of [
      [halves(100, 300, 1), 'f32_dense_gemv'],
      [halves(100, 300, 0.1), 'f32_window_spmv'],
    ] as const) {
      using op = await engine.prepare(SparseMatrix.fromDense(data, 100, 300, { dtype: 'float16' }), { columns: 1 });
      expect(op.kernel).toBe(kernel);
    }
  });

  test('of every format and shape: as the numbers they stand for', async () => {
    const kernels = new Set<string>();
    for (const [rows, cols, density, group] of [
      [1, 1, 1, 1],
      [33, 37, 0.3, 16],
      [70, 300, 0.2, 16],
      [17, 300, 0.2, 16],
      [64, 96, 1, 1],
      [40, 200, 0.15, 1],
      [48, 64, 0, 1],
      [2, 70000, 0.01, 2],
    ]) {
      const w = halves(rows, cols, density, group, rows);
      if (rows === 48) w[20 * cols + 5] = 2 ** -24; // one, the least
      const bias = randf(rows, 3);
      for (const format of ['csr', 'bitmask', 'bsr', 'group'] as const) {
        const options: SparseOptions = { format, k: format === 'group' ? cols : undefined, dtype: 'float16' };
        const m = SparseMatrix.fromDense(w, rows, cols, options);
        for (const tokens of [1, 2, 3, 8]) {
          const x = randf(cols * tokens, tokens);
          const layer = { rows, cols, tokens, bias, min: -1, max: 2 };
          const op = await engine.prepare(m, { columns: tokens, layout: 'tokens', bias, min: -1, max: 2 });
          kernels.add(op.kernel);
          const name = `${rows}x${cols}, ${tokens} tokens, ${format}: ${op.kernel}`;
          expectClose(op.run(x), referenceSpmv(w, x, layer), tolerance(cols), name);
          op.dispose();
        }
      }
    }
    expect(kernels).toContain('f16_group16_spmv');
    expect(kernels).toContain('f32_window_spmv');
  });

  test('NaN and infinities, in weights (which float32 then holds) and in inputs', async () => {
    const w = halves(64, 200, 0.3, 16);
    const x = randf(200, 4);
    const layer = { rows: 64, cols: 200, tokens: 1 };
    const make = (data: Float32Array) =>
      engine.prepare(SparseMatrix.fromDense(data, 64, 200, { dtype: 'float16' }), { columns: 1 });
    const finite = await make(w);
    expect(finite.kernel).toBe('f16_group16_spmv');
    const wild = x.slice();
    const k = w.findIndex((v) => v !== 0); // an input of the first group
    wild[k] = Number.POSITIVE_INFINITY;
    const meets = w.filter((v, i) => v && i % 200 === k).length;
    expect(meets).toBeGreaterThan(0);
    expectClose(finite.run(wild), referenceSpmv(w, wild, layer), tolerance(200), 'an infinite input');
    wild[k] = Number.NaN;
    expect([...finite.run(wild)].filter(Number.isNaN).length).toBe(meets);
    w[k] = Number.NaN;
    w[k + 600] = Number.NEGATIVE_INFINITY;
    const odd = await make(w);
    expect(odd.kernel).not.toMatch(/^f16/);
    const want = referenceSpmv(w, x, layer);
    expect(want.filter((v) => !Number.isFinite(v)).length).toBe(2);
    expectClose(odd.run(x), want, tolerance(200), 'NaN and infinite weights');
  });
});
