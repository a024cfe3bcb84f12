// int8 products against exact integers: every value must be equal, not close.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  int8Calls,
  int8Input,
  int8PanelStride,
  int8ProductCalls,
  int8QuantizeCalls,
  int8Scratch,
  int8Table,
} from '../src/kernel/int8.ts';
import { type Int8Format, type Int8Options, type PackedInt8, packInt8, unpackInt8 } from '../src/pack/int8.ts';
import {
  type Affine,
  type Dynamic,
  type Int8Weights,
  isStatic,
  limitsOf,
  quantizeWeights,
  validateInt8,
} from '../src/pack/quantize.ts';
import {
  type Column,
  referenceInt8,
  referenceQuantized,
  referenceRange,
  referenceSums,
} from '../src/reference/int8.ts';
import { Bench, ISAS, randf, rng } from './support/kernels.ts';

const FORMATS: Int8Format[] = ['dense', 'csr', 'group4'];
const OPEN = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };

/** Weights whose zeros are shared by groups of rows. */
function weightsOf(rows: number, cols: number, density: number, group = 1, seed = 1): Int8Weights {
  const r = rng(seed);
  const weights = new Int8Array(rows * cols);
  for (let g = 0; g < rows; g += group) {
    for (let k = 0; k < cols; k++) {
      if ((r() + 1) / 2 >= density) continue;
      for (let j = g; j < Math.min(rows, g + group); j++) weights[j * cols + k] = Math.round(r() * 127);
    }
  }
  return { weights, scales: randf(rows, seed + 1).map((v) => 0.001 + Math.abs(v) / 50) };
}

type Source = 'plain' | 'panels' | 'tokens';

/** X [channels][columns] in memory; dead lanes of panels hold NaN. */
function place(bench: Bench, x: Float32Array, channels: number, columns: number, source: Source) {
  if (source === 'plain') return { x: bench.put(x, 'X'), xChannelStride: 4 * columns, xPanelStride: 64 };
  if (source === 'tokens') {
    const t = new Float32Array(x.length);
    x.forEach((v, i) => {
      t[(i % columns) * channels + Math.floor(i / columns)] = v;
    });
    return { x: bench.put(t, 'X'), xTokenStride: 4 * channels };
  }
  const stride = 64 * channels + 64;
  const at = bench.alloc(stride * Math.ceil(columns / 16), 'X');
  const f32 = bench.f32(at, (stride / 4) * Math.ceil(columns / 16)).fill(Number.NaN);
  x.forEach((v, i) => {
    const [c, p] = [Math.floor(i / columns), i % columns];
    f32[(stride / 4) * (p >> 4) + 16 * c + (p & 15)] = v;
  });
  return { x: at, xChannelStride: 64, xPanelStride: stride };
}

/** How the columns of X are quantised. */
function columnsOf(x: Float32Array, columns: number, o: Pick<Int8Options, 'input' | 'activations'>): Column[] {
  const { input } = o;
  if (isStatic(input)) return new Array(columns).fill({ scale: Math.fround(input.scale), zero: input.zeroPoint });
  const u7 = o.activations === 'u7';
  if (input.range === 'extremes') return referenceRange(x, columns, input.per, u7 ? 127 : 255);
  return referenceRange(x, columns, input.per, u7 ? 63 : 127, u7 ? 64 : 0);
}

function limits({ input, activations }: Pick<Int8Options, 'input' | 'activations'>): readonly [number, number] {
  if (isStatic(input)) return limitsOf(input.type);
  if (input.range === 'extremes') return activations === 'u7' ? [0, 127] : [0, 255];
  return activations === 'u7' ? [1, 127] : [-127, 127];
}

interface Case extends Int8Options {
  rows: number;
  cols: number;
  columns: number;
  w: Int8Weights;
  source?: Source;
  x?: Float32Array;
  min?: number;
  max?: number;
  into?: 'f32' | 'tokens' | 'panels' | 'bytes';
  plain?: boolean;
  table?: Int16Array;
}

/** Runs kernels and reference; throws when a byte outside the buffers, or a dead lane of Y, was written. */
function run(bench: Bench, c: Case): { got: Float32Array; want: Float32Array; packed: PackedInt8 } {
  bench.reset();
  const { rows, cols, columns, w, source = 'panels', into = 'f32', plain = false, output } = c;
  const bias = c.bias ?? randf(rows, 5);
  const x = c.x ?? randf(cols * columns, columns + 7);
  const packed = packInt8(w, rows, cols, { ...c, bias });
  const need = int8Scratch(packed, columns);
  const scratch = bench.alloc(need.panels + need.lanes + need.sums, 'scratch');
  const tokens = into === 'tokens';
  const size = into === 'f32' || tokens ? 4 : into === 'panels' ? 2 : 1;
  const lanes = tokens ? 1 : into === 'f32' ? 16 : 8;
  const yPanelStride = tokens ? 4 * rows : plain ? lanes * size : lanes * size * rows + 64;
  const yChannelStride = plain && !tokens ? size * columns : lanes * size;
  const bytes = plain || tokens ? size * rows * columns : yPanelStride * Math.ceil(columns / lanes);
  const y = bench.alloc(bytes, 'Y');
  const at = bench.put(packed.data, 'weights');
  const table = c.table ? bench.put(new Uint8Array(c.table.buffer), 'table') : 0;
  const io = { ...place(bench, x, cols, columns, source), columns, scratch, y, yPanelStride, yChannelStride };
  const { min = OPEN.min, max = OPEN.max } = c;
  const calls =
    into === 'tokens'
      ? int8Calls(packed, at, { ...io, into, yTokenStride: 4 * rows, min, max })
      : into === 'f32'
        ? int8Calls(packed, at, { ...io, into, min, max })
        : int8Calls(packed, at, { ...io, into, table });
  for (const { kernel, args } of calls) bench.exports[kernel](...args);
  bench.check();

  const by = columnsOf(x, columns, c);
  const q = referenceQuantized(x, by, ...limits(c));
  const sums = referenceSums(w.weights, q, by, rows);
  const [lo, hi] = output ? limitsOf(output.type) : [min, max];
  const to = { min: lo, max: hi, scale: output?.scale, zero: output?.zeroPoint };
  let want = referenceInt8(sums, w.scales, by, isStatic(c.input), bias, to);
  if (c.table) want = want.map((v) => (c.table as Int16Array)[v & 255]);
  else if (into === 'panels') want = want.map((v) => v - (output as Affine).zeroPoint);

  const view = new DataView(bench.memory.buffer);
  const owned = new Uint8Array(bytes);
  const got = want.map((_, i) => {
    const [r, p] = [Math.floor(i / columns), i % columns];
    const o = Math.floor(p / lanes) * yPanelStride + r * yChannelStride + size * (p % lanes);
    owned.fill(1, o, o + size);
    if (size === 4) return view.getFloat32(y + o, true);
    if (size === 2) return view.getInt16(y + o, true);
    return output?.type === 's8' ? view.getInt8(y + o) : view.getUint8(y + o);
  });
  owned.forEach((mine, i) => {
    if (!mine && view.getUint8(y + i) !== 0xc5) throw new Error(`a dead lane or padding of Y was written, byte ${i}`);
  });
  return { got, want, packed };
}

const DYNAMIC: Dynamic[] = (['token', 'tensor'] as const).flatMap((per) =>
  (['magnitude', 'extremes'] as const).map((range) => ({ per, range })),
);

describe.each(ISAS)('%s', (isa) => {
  const bench = new Bench(isa);
  const kinds = isa === 'relaxed' ? (['i16', 'u7'] as const) : (['i16'] as const);
  const kernels = FORMATS.flatMap((format) => kinds.map((activations) => ({ format, activations })));
  const statics = {
    i16: { scale: 0.01, zeroPoint: -3, type: 's8' },
    u7: { scale: 0.02, zeroPoint: 60, type: 'u7' },
  } as const;

  test.each(kernels)('$format $activations: every number of columns, every layout of X', (k) => {
    for (let columns = 0; columns <= 35; columns++) {
      for (const source of ['plain', 'panels', 'tokens'] as const) {
        const w = weightsOf(10, 13, 0.5, 4, columns);
        const input = columns % 5 === 4 ? statics[k.activations] : DYNAMIC[columns % 5];
        const { got, want } = run(bench, {
          ...k,
          rows: 10,
          cols: 13,
          columns,
          w,
          source,
          into: source === 'tokens' ? 'tokens' : 'f32',
          plain: source === 'plain',
          input,
        });
        expect(got, `${columns} columns, ${source}`).toEqual(want);
      }
    }
  });

  test.each(kernels)('$format $activations: random shapes, densities and inputs, limits', (k) => {
    fc.assert(
      fc.property(
        fc.nat(18),
        fc.nat(70),
        fc.nat(25),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.constantFrom(...DYNAMIC, statics[k.activations]),
        fc.constantFrom('plain', 'panels', 'tokens'),
        fc.nat(1000),
        (rows, cols, columns, density, input, source, seed) => {
          const w = weightsOf(rows, cols, density, 1 + (seed % 4), seed);
          const into = source === 'tokens' ? ('tokens' as const) : ('f32' as const);
          const c = { ...k, rows, cols, columns, w, input, source: source as Source, into, min: -0.1, max: 0.2 };
          const { got, want, packed } = run(bench, c);
          expect(got).toEqual(want);
          expect(unpackInt8(packed)).toEqual(w);
        },
      ),
      { numRuns: 100 },
    );
  });

  test.each(kernels)('$format $activations: the largest sums are exact, over several blocks of inputs', (k) => {
    const cols = 4100;
    const weights = new Int8Array(5 * cols).fill(127);
    weights.fill(-127, cols, 2 * cols);
    for (let i = 0; i < cols; i += 2) weights[2 * cols + i] = -127;
    // Row 4 has sums that 16 bits hold just not, and just.
    for (let i = 0; i < cols; i++) weights[4 * cols + i] = [127, 127, 5, 0][i % 4];
    const w = { weights, scales: new Float32Array(5).fill(1) };
    for (const v of [3, -3]) {
      const type = k.activations === 'u7' ? 'u7' : 'u8';
      const most = limitsOf(type)[1];
      const x = new Float32Array(cols * 9).fill(v);
      for (const input of [
        ...DYNAMIC,
        { scale: 3 / most, zeroPoint: 0, type },
        { scale: 3 / most, zeroPoint: most, type },
      ] as const) {
        const { got, want, packed } = run(bench, { ...k, rows: 5, cols, columns: 9, w, x, input });
        expect(packed.segments.length).toBeGreaterThan(1);
        expect(got).toEqual(want);
      }
    }
  });

  test.each(kernels)('$format $activations: rows of no, one, two, three nonzeros', (k) => {
    const [rows, cols, columns] = [24, 40, 17];
    const weights = new Int8Array(rows * cols);
    for (let r = 0; r < rows; r++)
      for (let i = 0; i < Math.floor(r / 4); i++) weights[r * cols + ((r * 7 + 11 * i) % cols)] = r + i;
    const w = { weights, scales: weightsOf(rows, 1, 1).scales };
    for (const input of [...DYNAMIC, statics[k.activations]]) {
      const { got, want } = run(bench, { ...k, rows, cols, columns, w, input });
      expect(got).toEqual(want);
    }
  });

  test.each(kernels)('$format $activations: to integers, plain, in panels and through a table', (k) => {
    const [rows, cols, columns] = [11, 30, 29];
    const w = weightsOf(rows, cols, 0.6, 1, 4);
    const gelu = (v: number) => v / (1 + Math.exp(-1.702 * v));
    for (const output of [
      { scale: 0.02, zeroPoint: -7, type: 's8' },
      { scale: 0.01, zeroPoint: 130, type: 'u8' },
      { scale: 0.03, zeroPoint: 64, type: 'u7' },
    ] as const) {
      for (const input of [DYNAMIC[1], statics[k.activations]]) {
        for (const into of ['panels', 'bytes'] as const) {
          for (const plain of [false, true]) {
            const c = { ...k, rows, cols, columns, w, input, output, into, plain };
            const direct = run(bench, c);
            expect(direct.got).toEqual(direct.want);
            const table = int8Table(gelu, output, output, into);
            const mapped = run(bench, { ...c, table });
            expect(mapped.got).toEqual(mapped.want);
          }
        }
      }
    }
  });

  test.each(kernels)('$format $activations: NaN and infinities, zeros, the largest and smallest floats', (k) => {
    const [rows, cols, columns] = [4, 6, 12];
    const w = {
      weights: weightsOf(rows, cols, 1).weights.map((v) => v || 1),
      scales: new Float32Array(rows).fill(0.01),
    };
    const x = randf(cols * columns, 4);
    const set = (p: number, v: number, n = 1) => {
      for (let i = 0; i < n; i++) x[i * columns + p] = v;
    };
    set(3, 0, cols);
    set(4, 1e-45, cols);
    set(5, Number.POSITIVE_INFINITY);
    set(6, 3e38);
    x[columns + 6] = -3e38;
    set(7, Number.NaN);
    set(8, Number.NEGATIVE_INFINITY);
    for (const source of ['plain', 'panels', 'tokens'] as const) {
      for (const range of ['magnitude', 'extremes'] as const) {
        const c = { ...k, rows, cols, columns, w, x, source, bias: new Float32Array(rows) };
        const own = run(bench, { ...c, input: { per: 'token', range } });
        expect(own.got).toEqual(own.want);
        for (const [i, v] of own.got.entries()) expect(Number.isNaN(v)).toBe([5, 7, 8].includes(i % columns));
        expect(own.got[3]).toBe(0);
        const one = run(bench, { ...c, input: { per: 'tensor', range } });
        expect(one.got.every(Number.isNaN)).toBe(true);
        const output = { scale: 1, zeroPoint: 3, type: 'u7' } as const;
        const whole = run(bench, { ...c, input: { per: 'token', range }, output, into: 'bytes' });
        expect(whole.got).toEqual(whole.want);
      }
      // Static scales: infinities saturate, NaN is zero.
      const { got, want } = run(bench, { ...k, rows, cols, columns, w, x, source, input: statics[k.activations] });
      expect(got).toEqual(want);
      expect(got.every(Number.isFinite)).toBe(true);
    }
  });

  test.each(kinds)('%s: ties go to the even integer, and the panels hold what ONNX defines', (activations) => {
    const x = Float32Array.from([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 300, -300]);
    const type = activations === 'u7' ? 'u7' : 'u8';
    const zeroPoint = 64;
    const w = weightsOf(1, 1, 1);
    const packed = packInt8(w, 1, 1, { format: 'csr', activations, input: { scale: 1, zeroPoint, type } });
    bench.reset();
    const at = bench.put(packed.data);
    const panels = bench.alloc(int8PanelStride(1, activations));
    const io = { ...place(bench, x, 1, 8, 'plain'), columns: 8, panels, lanes: 0 };
    for (const { kernel, args } of int8QuantizeCalls(packed, at, io)) bench.exports[kernel](...args);
    bench.check();
    const most = limitsOf(type)[1];
    const want = [0, 2, 2, 0, -2, -2, most - zeroPoint, -zeroPoint];
    if (activations === 'i16') expect([...new Int16Array(bench.memory.buffer, panels, 8)]).toEqual(want);
    else expect([...new Uint8Array(bench.memory.buffer, panels, 8)]).toEqual(want.map((v) => v + zeroPoint));
  });

  test.each(kinds)(
    '%s: two layers, requantised through a table into the panels that the next one reads',
    (activations) => {
      const [cols, mid, rows, columns] = [20, 12, 5, 13];
      const u7 = activations === 'u7';
      const hidden: Affine = { scale: 0.02, zeroPoint: -20, type: 's8' };
      const next: Affine = u7
        ? { scale: 0.03, zeroPoint: 9, type: 'u7' }
        : { scale: 0.015, zeroPoint: -100, type: 's8' };
      const first = packInt8(weightsOf(mid, cols, 0.6, 4, 1), mid, cols, {
        format: 'group4',
        activations,
        input: DYNAMIC[0],
        output: hidden,
      });
      const second = packInt8(weightsOf(rows, mid, 0.7, 4, 2), rows, mid, {
        format: 'group4',
        activations,
        input: next,
      });
      const x = randf(cols * columns, 6);
      bench.reset();
      const into = u7 ? 'bytes' : 'panels';
      const table = int8Table((v) => Math.max(0, v) ** 1.5, hidden, next, into);
      const stride = int8PanelStride(mid, activations);
      const panels = bench.alloc(stride * 2, 'panels');
      const need = int8Scratch(first, columns);
      const y = bench.alloc(4 * rows * columns, 'Y');
      const calls = [
        ...int8Calls(first, bench.put(first.data), {
          ...place(bench, x, cols, columns, 'panels'),
          columns,
          scratch: bench.alloc(need.panels + need.lanes + need.sums, 'scratch'),
          into,
          y: panels,
          yPanelStride: stride,
          yChannelStride: u7 ? 8 : 16,
          table: bench.put(new Uint8Array(table.buffer)),
        }),
        ...int8ProductCalls(second, bench.put(second.data), {
          panels,
          lanes: 0,
          sums: 0,
          columns,
          into: 'f32',
          y,
          yPanelStride: 64,
          yChannelStride: 4 * columns,
          ...OPEN,
        }),
      ];
      for (const { kernel, args } of calls) bench.exports[kernel](...args);
      bench.check();
      const by = columnsOf(x, columns, { input: DYNAMIC[0], activations });
      const q = referenceQuantized(x, by, ...limits({ input: DYNAMIC[0], activations }));
      const [w1, w2] = [unpackInt8(first), unpackInt8(second)];
      const none = new Float32Array(12);
      const sums = referenceSums(w1.weights, q, by, mid);
      const middle = referenceInt8(sums, w1.scales, by, false, none, { min: -128, max: 127, scale: 0.02, zero: -20 });
      const q2 = Int32Array.from(middle, (v) => {
        const r = Math.max(0, 0.02 * (v + 20)) ** 1.5 / next.scale;
        return Math.max(limitsOf(next.type)[0], Math.min(limitsOf(next.type)[1], Math.round(r) + next.zeroPoint));
      });
      const by2 = new Array(columns).fill({ scale: Math.fround(next.scale), zero: next.zeroPoint });
      const want = referenceInt8(referenceSums(w2.weights, q2, by2, rows), w2.scales, by2, true, none, OPEN);
      expect(bench.f32(y, rows * columns)).toEqual(want);
      expect(new Set(q2).size).toBeGreaterThan(20);
    },
  );
});

test('quantizeWeights: largest magnitude is 127, rows of zeros have scale 1, zeros stay', () => {
  const w = Float32Array.from([0, 2, -4, 1, 0, 0, 0, 0, 1e-45, 0, 0, 0]);
  const q = quantizeWeights(w, 3, 4);
  expect([...q.weights]).toEqual([0, 64, -127, 32, 0, 0, 0, 0, 0, 0, 0, 0]);
  expect([...q.scales]).toEqual([Math.fround(4 / 127), 1, 1]);
  validateInt8(q, 3, 4);
  expect(() => quantizeWeights(Float32Array.of(1, Number.NaN), 1, 2)).toThrow(/finite/);
  expect(() => quantizeWeights(Float32Array.of(1, Number.POSITIVE_INFINITY), 1, 2)).toThrow(/finite/);
  expect(() => quantizeWeights(w, 3, 5)).toThrow(/"weights"/);
});

test('bad scales, weights, zero points and sizes are refused', () => {
  const w = { weights: new Int8Array(8).fill(1), scales: new Float32Array(2).fill(1) };
  const input: Affine = { scale: 1, zeroPoint: 0, type: 's8' };
  const options: Int8Options = { format: 'dense', activations: 'i16', input };
  const pack =
    (change: Partial<Int8Weights>, more: Partial<Int8Options> = {}, cols = 4) =>
    () =>
      packInt8({ ...w, ...change }, 2, cols, { ...options, ...more });
  pack({})();
  for (const s of [Number.NaN, 0, -1, Number.POSITIVE_INFINITY]) {
    expect(pack({ scales: Float32Array.of(1, s) })).toThrow(/"scales"/);
    expect(pack({}, { input: { ...input, scale: s } })).toThrow(/"input.scale"/);
    expect(pack({}, { output: { ...input, scale: s } })).toThrow(/"output.scale"/);
  }
  expect(pack({ weights: new Int8Array(8).fill(-128) })).toThrow(/"weights"/);
  expect(pack({}, {}, 5)).toThrow(/"weights"/);
  expect(pack({}, { bias: new Float32Array(3) })).toThrow(/"bias"/);
  expect(pack({}, { bias: Float32Array.of(0, Number.NaN) })).toThrow(/"bias"/);
  expect(pack({}, { input: { ...input, zeroPoint: 128 } })).toThrow(/"input.zeroPoint"/);
  expect(pack({}, { input: { ...input, zeroPoint: 0.5 } })).toThrow(/"input.zeroPoint"/);
  expect(pack({}, { activations: 'u7' })).toThrow(/"input.type"/);
  expect(pack({}, { input: { ...input, type: 'u7' } })).toThrow(/"input.type"/);
  // 70000 * 127 * 255 > 2^31
  const long = { weights: new Int8Array(70000).fill(127), scales: Float32Array.of(1) };
  expect(() => packInt8(long, 1, 70000, options)).toThrow(/32 bits/);
});

test('layers over the same input share its quantised panels', () => {
  const options: Int8Options = { format: 'csr', activations: 'i16', input: DYNAMIC[0] };
  const a = packInt8(weightsOf(3, 9, 0.5), 3, 9, options);
  expect(int8Input(packInt8(weightsOf(5, 9, 0.5), 5, 9, { ...options, format: 'group4' }))).toBe(int8Input(a));
  expect(int8Input(packInt8(weightsOf(5, 9, 0.5), 5, 9, { ...options, format: 'dense' }))).not.toBe(int8Input(a));
});
