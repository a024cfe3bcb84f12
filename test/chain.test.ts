// Chains of int8 layers: bit-equal to exact integers, layer by layer; the same bits with threads.
import { describe, expect, test } from 'vitest';
import {
  ArgumentRangeError,
  ArgumentTypeError,
  Engine,
  type Int8Layer,
  type Quantization,
  SparseMatrix,
} from '../src/index.ts';
import { referenceInt8, referenceQuantized, referenceRange, referenceSums } from '../src/reference/int8.ts';
import { integers, matrix, transposed } from './support/integers.ts';
import { ISAS, randf } from './support/kernels.ts';

const LIMITS = { int8: [-128, 127], uint8: [0, 255] } as const;

function weights(rows: number, cols: number, density: number, group: number, seed: number) {
  const q = integers(rows, cols, density, group, seed);
  const scales = randf(rows, seed + 1).map((v) => (Math.abs(v) + 0.1) / 500);
  return { q, scales, w: matrix(q, scales, rows, cols) };
}

type Made = ReturnType<typeof weights>;

/** Y [rows][columns] of X [cols][columns], one definition after the other. */
function expected(
  layers: readonly (Int8Layer & Made)[],
  x: Float32Array,
  columns: number,
  min: number,
  max: number,
): Float32Array {
  const known = (q: Quantization) => new Array(columns).fill({ scale: Math.fround(q.scale), zero: q.zeroPoint });
  const [{ input = 'token' }] = layers;
  const dynamic = typeof input === 'string';
  let by = dynamic ? referenceRange(x, columns, input, 127, 0) : known(input);
  const [lo, hi] = dynamic ? [-127, 127] : LIMITS[input.type];
  let q = referenceQuantized(x, by, lo, hi);
  let y: Float32Array = new Float32Array(0);
  layers.forEach(({ q: w, scales, bias = new Float32Array(scales.length), activation }, i) => {
    const rows = scales.length;
    const sums = referenceSums(w, q, by, rows);
    const fixed = i > 0 || !dynamic;
    const next = layers[i + 1]?.input as Quantization | undefined;
    if (!next) {
      y = referenceInt8(sums, scales, by, fixed, bias, { min, max });
      return;
    }
    const to = activation?.input ?? next;
    const [least, most] = LIMITS[to.type];
    const integers = referenceInt8(sums, scales, by, fixed, bias, {
      min: least,
      max: most,
      scale: to.scale,
      zero: to.zeroPoint,
    });
    const [bottom, top] = LIMITS[next.type];
    const even = (v: number) => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));
    q = Int32Array.from(integers, (v) => {
      if (!activation) return v;
      const steps = activation.f(to.scale * (v - to.zeroPoint)) / next.scale;
      return Math.max(bottom, Math.min(top, (Number.isNaN(steps) ? 0 : even(steps)) + next.zeroPoint));
    });
    by = known(next);
  });
  return y;
}

const gelu = (x: number) => 0.5 * x * (1 + Math.tanh(0.7978845608 * (x + 0.044715 * x ** 3)));

describe.each(ISAS)('%s', (isa) => {
  test.each([
    ['one layer, scales found in each run', [20, 33], 1, ['token']],
    ['one layer, of all columns', [20, 33], 1, ['tensor']],
    ['one layer, static', [5, 7], 0.5, [{ type: 'uint8', scale: 0.02, zeroPoint: 128 }]],
    ['two', [40, 70, 9], 0.3, ['token', { type: 'int8', scale: 0.02, zeroPoint: -20 }]],
    [
      'three, dense',
      [16, 33, 26, 8],
      1,
      ['tensor', { type: 'uint8', scale: 0.01, zeroPoint: 0 }, { type: 'int8', scale: 0.05, zeroPoint: 3 }],
    ],
    ['dense, more inputs than a block', [9, 1701, 5], 1, ['token', { type: 'uint8', scale: 0.02, zeroPoint: 100 }]],
    [
      'more inputs than a block',
      [3300, 1601, 3],
      0.1,
      [
        { type: 'int8', scale: 0.01, zeroPoint: 5 },
        { type: 'uint8', scale: 0.02, zeroPoint: 100 },
      ],
    ],
    ['a row and a column', [1, 1, 1], 1, ['token', { type: 'int8', scale: 0.001, zeroPoint: 0 }]],
    ['nothing but zeros', [12, 8, 4], 0, ['token', { type: 'int8', scale: 0.1, zeroPoint: 7 }]],
  ] as [string, number[], number, Int8Layer['input'][]][])('%s', async (_, sizes, density, inputs) => {
    using engine = await Engine.create({ isa });
    using pair = await Engine.create({ isa, threads: 2 });
    // What lies in memory must not count.
    for (const { arena } of [engine, pair]) {
      const at = arena.alloc(4 << 20);
      const { buffer } = arena.view('uint8', at, 1);
      new Int16Array(buffer, at, 2 << 20).fill(0x7fff);
      arena.release(at);
    }
    for (const group of [1, 4]) {
      for (const activated of [false, true]) {
        const layers = inputs.map((input, i) => {
          const made = weights(sizes[i + 1], sizes[i], density, group, 10 * i + group);
          const activation = { f: gelu, input: { type: 'int8', scale: 0.03, zeroPoint: -10 } as const };
          const bias = i % 2 ? undefined : randf(sizes[i + 1], i + 50);
          return { ...made, input, bias, ...(activated && i + 1 < inputs.length && { activation }) };
        });
        for (const columns of sizes[0] > 1000 ? [9] : [0, 1, 7, 8, 21, 40]) {
          const x = randf(sizes[0] * columns, columns);
          const limits = columns % 2 ? { min: -0.5, max: 0.7 } : {};
          const want = expected(layers, x, columns, limits.min ?? -Infinity, limits.max ?? Infinity);
          for (const layout of ['features', 'tokens'] as const) {
            const tokens = layout === 'tokens';
            const from = tokens ? transposed(x, sizes[0], columns) : x;
            const to = tokens ? transposed(want, sizes[sizes.length - 1], columns) : want;
            const used = engine.arena.used;
            for (const host of [engine, pair]) {
              const op = await host.prepareInt8(layers, { columns, layout, ...limits });
              expect(op.run(from)).toEqual(to);
              op.input.set(from);
              op.execute();
              expect(op.output).toEqual(to);
              expect([op.rows, op.cols, op.kernels.length]).toEqual([sizes[sizes.length - 1], sizes[0], inputs.length]);
              op.dispose();
            }
            expect(engine.arena.used).toBe(used);
          }
        }
      }
    }
  });

  test('NaN and infinities: static scales limit them, others spoil their own column', async () => {
    using engine = await Engine.create({ isa });
    const { w } = weights(6, 5, 1, 4, 1);
    const x = randf(5 * 4, 2);
    x.set([NaN, Infinity, -Infinity], 0);
    const some = await engine.prepareInt8([{ w, input: { type: 'int8', scale: 0.01, zeroPoint: 0 } }], { columns: 4 });
    expect(some.run(x).every(Number.isFinite)).toBe(true);
    const own = await engine.prepareInt8([{ w }], { columns: 4 });
    expect([...own.run(x)].map(Number.isNaN)).toEqual([...own.output.keys()].map((i) => i % 4 < 3));
  });
});

test('a row of zeros gives its bias, whatever the steps of the input; scales that float32 cannot meet are refused', async () => {
  using engine = await Engine.create();
  const w = SparseMatrix.fromDense(Float32Array.of(0, 0, 1, 0), 2, 2, { dtype: 'int8' });
  const bias = Float32Array.of(0.123, 0.5);
  const input = { type: 'int8', scale: 1, zeroPoint: 3 } as const;
  const op = await engine.prepareInt8([{ w, bias, input }], { columns: 3 });
  const y = op.run(new Float32Array(6));
  expect(y.subarray(0, 3)).toEqual(new Float32Array(3).fill(0.123));
  const tiny = { ...input, scale: 1e-38 };
  const huge = SparseMatrix.fromDense(Float32Array.of(1e6, 0, 1, 0), 2, 2, { dtype: 'int8' });
  const layers = [
    { w: huge, input },
    { w, input: tiny },
  ];
  await expect(engine.prepareInt8(layers, { columns: 1 })).rejects.toThrow(/a step that float32 can count/);
  op.dispose();
  expect(engine.arena.used).toBe(0);
});

test('bad input: typed errors that name the layer, before anything is kept', async () => {
  using engine = await Engine.create();
  const { w } = weights(6, 5, 1, 4, 1);
  const q = { type: 'int8', scale: 0.1, zeroPoint: 0 } as const;
  const square = weights(5, 5, 1, 4, 1).w;
  const f = (x: number) => x;
  const none = null as never;
  const float = SparseMatrix.fromDense(new Float32Array(25).fill(1), 5, 5);
  for (const [layers, options, error, message] of [
    [none, { columns: 1 }, ArgumentTypeError, '"layers" expected an array of layers, got null'],
    [[], { columns: 1 }, ArgumentRangeError, '"layers" expected at least one'],
    [[none], { columns: 1 }, ArgumentTypeError, '"layers[0]" expected a layer'],
    [[{ w: {} }], { columns: 1 }, ArgumentTypeError, '"layers[0].w" expected a SparseMatrix'],
    [
      [{ w: float }],
      { columns: 1 },
      ArgumentRangeError,
      '"layers[0].w" expected a matrix of dtype int8, got "float32"',
    ],
    [[{ w }, { w: square, input: q }], { columns: 1 }, ArgumentRangeError, '"layers[1].w" expected 6 columns'],
    [[{ w: square }, { w }], { columns: 1 }, ArgumentTypeError, '"layers[1].input" expected a quantization'],
    [[{ w, input: 'row' }], { columns: 1 }, ArgumentTypeError, '"layers[0].input" expected a quantization'],
    [
      [{ w, input: { ...q, type: 'int4' } }],
      { columns: 1 },
      ArgumentRangeError,
      '"layers[0].input.type" expected int8 or uint8',
    ],
    [
      [{ w, input: { ...q, scale: 0 } }],
      { columns: 1 },
      ArgumentRangeError,
      '"layers[0].input.scale" expected a finite, positive',
    ],
    [
      [{ w, input: { ...q, zeroPoint: 128 } }],
      { columns: 1 },
      ArgumentRangeError,
      '"layers[0].input.zeroPoint" expected an integer',
    ],
    [[{ w, bias: new Float32Array(5) }], { columns: 1 }, ArgumentRangeError, '"layers[0].bias" expected 6 values'],
    [
      [{ w, bias: new Float32Array(6).fill(NaN) }],
      { columns: 1 },
      ArgumentRangeError,
      '"layers[0].bias" expected finite',
    ],
    [
      [{ w, activation: { f, input: q } }],
      { columns: 1 },
      ArgumentRangeError,
      '"layers[0].activation" expected none after the last',
    ],
    [
      [
        { w: square, activation: { input: q } },
        { w, input: q },
      ],
      { columns: 1 },
      ArgumentTypeError,
      '"layers[0].activation.f" expected a function',
    ],
    [[{ w }], null, ArgumentTypeError, '"options" expected an object'],
    [[{ w }], { columns: 1.5 }, ArgumentRangeError, '"columns" expected an integer'],
    [[{ w }], { columns: 1, layout: 'rows' }, ArgumentRangeError, '"layout" expected'],
    [[{ w }], { columns: 1, min: NaN }, ArgumentRangeError, '"min" expected a number'],
    [[{ w }], { columns: 1, min: 2, max: 1 }, ArgumentRangeError, '"min" expected at most'],
  ] as [never, never, typeof ArgumentTypeError, string][]) {
    const made = engine.prepareInt8(layers, options);
    await expect(made).rejects.toThrow(error);
    await expect(made).rejects.toThrow(message);
  }
  const op = await engine.prepareInt8([{ w }], { columns: 2 });
  expect(() => op.run(new Float32Array(9))).toThrow(/"x" expected 10 values/);
  expect(op.run(new Float32Array(10))).toEqual(new Float32Array(12));
  op.dispose();
  expect(() => op.run(new Float32Array(10))).toThrow(/dispose/);
  expect(engine.arena.used).toBe(0);
});
