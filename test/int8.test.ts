// int8 products against exact integers: every value must be equal, not close.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Activations,
  int8Calls,
  int8PanelBytes,
  int8PanelStride,
  int8ScaleBytes,
  quantizeCalls,
  scaleCalls,
} from '../src/kernel/int8.ts';
import { packInt8, unpackInt8 } from '../src/pack/int8.ts';
import { referenceInt8, referenceQuantized, referenceScales } from '../src/reference/int8.ts';
import { Bench, ISAS, randf, rng } from './support/kernels.ts';

/** Groups of 4 with so many inputs each, at seeded places. */
function weightsOf(rows: number, cols: number, density: number, seed = 1): Int8Array {
  const r = rng(seed);
  const w = new Int8Array(rows * cols);
  for (let g = 0; g < rows; g += 4)
    for (let k = 0; k < cols; k++) {
      if ((r() + 1) / 2 >= density) continue;
      for (let j = g; j < Math.min(rows, g + 4); j++) w[j * cols + k] = Math.round(r() * 127);
    }
  return w;
}
const scalesOf = (rows: number, seed = 3): Float32Array => randf(rows, seed).map((v) => 0.001 + Math.abs(v) / 50);

/** X [channels][columns], plain or in panels of 16 with NaN in the dead lanes, and how to read it. */
function activations(bench: Bench, x: Float32Array, channels: number, columns: number, plain: boolean): Activations {
  if (plain) {
    const at = bench.put(x, 'X');
    return { x: at, xChannelStride: 4 * columns, xPanelStride: 64, channels, columns };
  }
  const stride = 64 * channels + 64;
  const at = bench.alloc(stride * Math.ceil(columns / 16), 'X');
  const f32 = bench.f32(at, (stride / 4) * Math.ceil(columns / 16)).fill(Number.NaN);
  x.forEach((v, i) => {
    const [c, p] = [Math.floor(i / columns), i % columns];
    f32[(stride / 4) * (p >> 4) + 16 * c + (p & 15)] = v;
  });
  return { x: at, xChannelStride: 64, xPanelStride: stride, channels, columns };
}

interface Case {
  rows: number;
  cols: number;
  columns: number;
  weights: Int8Array;
  format: 'group4' | 'dense';
  plain?: boolean;
  per?: 'token' | 'tensor';
  x?: Float32Array;
  limits?: { min: number; max: number };
}

function run(bench: Bench, c: Case): { got: Float32Array; want: Float32Array } {
  bench.reset();
  const { rows, cols, columns, weights, format, plain = false, per = 'token' } = c;
  const limits = c.limits ?? { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };
  const x = c.x ?? randf(cols * columns, columns + 7);
  const w = { weights, scales: scalesOf(rows) };
  const bias = randf(rows, 5);
  const packed = packInt8(w, rows, cols, format, bias);
  expect(unpackInt8(packed)).toEqual(w);
  const a = activations(bench, x, cols, columns, plain);
  const io = {
    scales: bench.alloc(int8ScaleBytes(columns), 'scales'),
    panels: bench.alloc(int8PanelBytes(cols, columns), 'panels'),
  };
  const yPanelStride = plain ? 64 : 64 * rows + 64;
  const y = bench.alloc(plain ? 4 * rows * columns : yPanelStride * Math.ceil(columns / 16), 'Y');
  const yChannelStride = plain ? 4 * columns : 64;
  const calls = [
    ...scaleCalls(a, io.scales, per),
    ...quantizeCalls(a, { ...io, pairs: format === 'dense' }),
    ...int8Calls(packed, bench.put(packed.data), {
      ...io,
      columns,
      y,
      yPanelStride,
      yChannelStride,
      into: 'f32',
      ...limits,
    }),
  ];
  for (const { kernel, args } of calls) bench.exports[kernel](...args);
  bench.check();
  const scales = referenceScales(x, cols, columns, per);
  const q = referenceQuantized(x, scales, columns);
  const want = referenceInt8(w, q, scales, { rows, cols, columns, bias, ...limits });
  const got = want.map((_, i) => {
    const [r, p] = [Math.floor(i / columns), i % columns];
    return bench.f32(y + (plain ? 4 * i : yPanelStride * (p >> 4) + 64 * r + 4 * (p & 15)), 1)[0];
  });
  return { got, want };
}

describe.each(ISAS)('%s', (isa) => {
  const bench = new Bench(isa);

  test.each(['group4', 'dense'] as const)('%s: every number of columns, plain and panels', (format) => {
    for (let columns = 0; columns <= 35; columns++) {
      for (const plain of [false, true]) {
        const c = { rows: 10, cols: 13, columns, weights: weightsOf(10, 13, 0.5, columns), format, plain };
        const { got, want } = run(bench, { ...c, per: columns % 2 ? 'token' : 'tensor' });
        expect(got).toEqual(want);
      }
    }
  });

  test('random shapes and densities, limits', () => {
    fc.assert(
      fc.property(
        fc.nat(18),
        fc.nat(60),
        fc.nat(25),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.nat(1000),
        (rows, cols, columns, density, seed) => {
          const weights = weightsOf(rows, cols, density, seed);
          const limits = { min: -0.1, max: 0.2 };
          const { got, want } = run(bench, { rows, cols, columns, weights, format: 'group4', limits });
          expect(got).toEqual(want);
        },
      ),
      { numRuns: 150 },
    );
  });

  test('the largest sums are exact: 4096 products of 127 and 127, and of both signs', () => {
    const cols = 4096;
    const weights = new Int8Array(4 * cols).fill(127);
    weights.fill(-127, cols, 2 * cols);
    for (let k = 0; k < cols; k += 2) weights[2 * cols + k] = -127;
    for (const format of ['group4', 'dense'] as const) {
      const { got, want } = run(bench, {
        rows: 4,
        cols,
        columns: 9,
        weights,
        format,
        x: new Float32Array(cols * 9).fill(3),
      });
      expect(got).toEqual(want);
    }
  });

  test('zeros have scale 1; infinities and NaN make their column NaN, and no other', () => {
    const weights = weightsOf(4, 6, 1, 2).map((v) => v || 1);
    const x = randf(6 * 10, 4);
    for (let k = 0; k < 6; k++) x[k * 10 + 3] = 0;
    x[1 * 10 + 5] = Number.POSITIVE_INFINITY;
    x[2 * 10 + 7] = Number.NaN;
    const { got, want } = run(bench, { rows: 4, cols: 6, columns: 10, weights, format: 'group4', x });
    expect(got).toEqual(want);
    for (let i = 0; i < 40; i++) expect(Number.isNaN(got[i])).toBe(i % 10 === 5 || i % 10 === 7);
  });

  test('static scale and zero point: what the panel holds is the quantised value less the zero point', () => {
    const [channels, columns] = [3, 11];
    const x = randf(channels * columns, 8).map((v) => 3 * v);
    bench.reset();
    const a = activations(bench, x, channels, columns, false);
    const scales = bench.alloc(int8ScaleBytes(columns), 'scales');
    bench.f32(scales, int8ScaleBytes(columns) / 4).fill(0.01);
    const panels = bench.alloc(int8PanelBytes(channels, columns), 'panels');
    const zero = 100; // u8: 0 to 255
    for (const c of quantizeCalls(a, { scales, panels, lo: -zero, hi: 255 - zero })) bench.exports[c.kernel](...c.args);
    bench.check();
    const want = referenceQuantized(x, new Float32Array(columns).fill(0.01), columns, -zero, 255 - zero);
    const got = want.map((_, i) => {
      const [k, p] = [Math.floor(i / columns), i % columns];
      return new Int16Array(
        bench.memory.buffer,
        panels + int8PanelStride(channels) * (p >> 3) + 16 * k + 2 * (p & 7),
        1,
      )[0];
    });
    expect(got).toEqual(want);
    expect(Math.max(...got)).toBe(155);
  });

  test('two layers: requantised through a table of GELU into the panels that the next one reads', () => {
    const [k, mid, out, columns] = [20, 12, 5, 13];
    const first = { weights: weightsOf(mid, k, 0.6, 1), scales: scalesOf(mid) };
    const second = { weights: weightsOf(out, mid, 0.7, 2), scales: scalesOf(out, 9) };
    const x = randf(k * columns, 6);
    const step = 0.02;
    const table = Int16Array.from({ length: 255 }, (_, i) => {
      const v = (i - 127) * step;
      return Math.round(v / (1 + Math.exp(-1.702 * v)) / step);
    });
    const bias = randf(mid, 7);
    bench.reset();
    const a = activations(bench, x, k, columns, false);
    const scales = bench.alloc(int8ScaleBytes(columns), 'scales');
    const panels = bench.alloc(int8PanelBytes(k, columns), 'panels');
    for (const c of [...scaleCalls(a, scales, 'token'), ...quantizeCalls(a, { scales, panels })])
      bench.exports[c.kernel](...c.args);
    // In steps of the middle layer.
    const s0 = referenceScales(x, k, columns, 'token');
    const ratio = s0.map((s) => Math.fround(s / step));
    bench.f32(scales, columns).set(ratio);
    const inSteps = bias.map((b) => b / step);
    const p1 = packInt8(first, mid, k, 'group4', inSteps);
    const p2 = packInt8(second, out, mid, 'group4');
    const next = bench.alloc(int8PanelBytes(mid, columns), 'next');
    const at = bench.put(new Uint8Array(table.buffer), 'table');
    const y = bench.alloc(4 * out * columns, 'Y');
    const steps = bench.alloc(int8ScaleBytes(columns), 'steps');
    bench.f32(steps, int8ScaleBytes(columns) / 4).fill(step);
    const middle = { panels, scales, columns, y: next, yPanelStride: int8PanelStride(mid), yChannelStride: 16 };
    const last = { panels: next, scales: steps, columns, y, yPanelStride: 64, yChannelStride: 4 * columns };
    const open = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };
    for (const c of [
      ...int8Calls(p1, bench.put(p1.data), { ...middle, into: 'panels', min: -127, max: 127, table: at + 2 * 127 }),
      ...int8Calls(p2, bench.put(p2.data), { ...last, into: 'f32', ...open }),
    ])
      bench.exports[c.kernel](...c.args);
    bench.check();
    const q = referenceQuantized(x, s0, columns);
    const shape = { rows: mid, cols: k, columns, bias: inSteps, min: -127, max: 127, steps: true };
    const hidden = Int16Array.from(referenceInt8(first, q, ratio, shape), (v) => table[v + 127]);
    const flat = new Float32Array(columns).fill(step);
    const want = referenceInt8(second, hidden, flat, { rows: out, cols: mid, columns });
    expect(bench.f32(y, out * columns)).toEqual(want);
  });
});

test('bad scales, weights and sizes are refused', () => {
  const w = { weights: new Int8Array(8), scales: new Float32Array(2).fill(1) };
  expect(() => packInt8({ ...w, scales: new Float32Array([1, Number.NaN]) }, 2, 4, 'dense')).toThrow(/"scales"/);
  expect(() => packInt8({ ...w, scales: new Float32Array([1, 0]) }, 2, 4, 'dense')).toThrow(/"scales"/);
  expect(() => packInt8({ ...w, weights: new Int8Array(8).fill(-128) }, 2, 4, 'dense')).toThrow(/"weights"/);
  expect(() => packInt8(w, 2, 5, 'dense')).toThrow(/"weights"/);
  expect(() => packInt8(w, 2, 4, 'dense', new Float32Array(3))).toThrow(/"bias"/);
  expect(() =>
    packInt8({ weights: new Int8Array(5000), scales: new Float32Array(1).fill(1) }, 1, 5000, 'group4'),
  ).toThrow(/"cols"/);
});
