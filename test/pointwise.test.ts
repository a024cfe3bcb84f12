import { describe, expect, test } from 'vitest';
import type { KernelCall } from '../src/kernel/call.ts';
import {
  type BinaryKind,
  binaryCalls,
  broadcastCalls,
  preluCalls,
  UNARY as UNARY_KINDS,
  type UnaryKind,
  unaryCalls,
} from '../src/kernel/pointwise.ts';
import { BINARY, UNARY } from '../src/reference/pointwise.ts';
import { Bench, ISAS, randf } from './support/kernels.ts';

const run = (bench: Bench, calls: KernelCall[]) => {
  for (const { kernel, args } of calls) bench.exports[kernel](...args);
  bench.check();
};
const FLT_MIN = 2 ** -126;
const SPECIAL = [0, -0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1, -1, 3.4e38, -3.4e38, 1e-30];

/** The first element off by more than `relative` of its size plus `absolute`, or of another class. */
function mismatch(
  actual: Float32Array,
  expected: ArrayLike<number>,
  relative: number,
  absolute = 2 * FLT_MIN,
  input?: ArrayLike<number>,
): string | undefined {
  for (let i = 0; i < expected.length; i++) {
    const e = Math.fround(expected[i]);
    const close = Math.abs(actual[i] - expected[i]) <= relative * Math.abs(expected[i]) + absolute;
    if (!(Object.is(actual[i], e) || close)) return `[${i}] ${input?.[i] ?? ''}: ${actual[i]}, expected ${e}`;
  }
  return undefined;
}

/** Each operator's parameters, relative error, absolute error per size of x where cancellation is the formula's own. */
const PARAMETERS: { [K in UnaryKind]?: [a?: number, b?: number, relative?: number, perX?: number] } = {
  clamp: [-0.5, 0.75, 0],
  hardsigmoid: [0.3, 0.6, 1e-6, 1e-7],
  hardswish: [undefined, undefined, 1e-6, 1e-7],
  leakyrelu: [0.1],
  elu: [1.5],
  gelu: [undefined, undefined, 5e-7, 1e-7],
  // The argument of its exp is itself rounded: relatively worst where the result is next to nothing.
  gelutanh: [undefined, undefined, 2e-6, 1e-10],
};

describe.each(ISAS)('unary %s', (isa) => {
  test.each(UNARY_KINDS)('%s: lengths 0 to 40, in place, accurate from 1e-30 to 1e30', (kind) => {
    const bench = new Bench(isa);
    const [a, b, relative = 5e-7, perX = 0] = PARAMETERS[kind] ?? [];
    const reference = (x: Float32Array) =>
      Float64Array.from(x, (v) => UNARY[kind](v, Math.fround(a!), Math.fround(b!)));
    for (let n = 0; n <= 40; n++) {
      bench.reset();
      const data = randf(n, n + 1).map((v) => 4 * v);
      const x = bench.put(data, 'x');
      const y = bench.alloc(4 * n, 'y');
      run(bench, unaryCalls(kind, { x, y, n, a, b }));
      const expected = reference(data);
      const wrong = mismatch(bench.f32(y, n), expected, relative, 4 * perX + 2 * FLT_MIN, data);
      expect(wrong && `n ${n} ${wrong}`).toBeUndefined();
      expect(bench.f32(x, n)).toEqual(data);
      const separate = bench.f32(y, n).slice();
      run(bench, unaryCalls(kind, { x, y: x, n, a, b }));
      expect(bench.f32(x, n)).toEqual(separate);
    }
    // Both signs, all magnitudes, dense where the functions bend.
    const wide: number[] = [...SPECIAL, 2e-38, 1e-39, -1e-39];
    for (let m = -30; m < 31; m += 0.01) wide.push(10 ** m, -(10 ** m));
    for (let v = -110; v < 110; v += 0.0137) wide.push(v);
    const data = Float32Array.from(wide);
    const x = bench.put(data, 'x');
    const y = bench.alloc(4 * data.length, 'y');
    run(bench, unaryCalls(kind, { x, y, n: data.length, a, b }));
    const actual = bench.f32(y, data.length);
    const expected = reference(data);
    for (let i = 0; i < data.length; i++) {
      const one = mismatch(
        actual.subarray(i, i + 1),
        expected.subarray(i, i + 1),
        relative,
        (perX + FLT_MIN) * Math.min(1e3, Math.abs(data[i])) + 2 * FLT_MIN,
        [data[i]],
      );
      if (one) throw new Error(`${kind} ${one}`);
    }
  });

  test('exp at its ends, and exact at 0; odd functions keep the sign of zero', () => {
    const bench = new Bench(isa);
    const data = Float32Array.of(88.7, 88.73, 89, 1e30, -87, -88, -104, 0, -0);
    const x = bench.put(data);
    const y = bench.alloc(4 * data.length);
    run(bench, unaryCalls('exp', { x, y, n: data.length }));
    const e = bench.f32(y, data.length);
    expect(e[0] / Math.exp(data[0])).toBeCloseTo(1, 6);
    expect(Array.from(e.subarray(1, 4))).toEqual([Infinity, Infinity, Infinity]);
    expect(e[4]).toBeLessThan(2 * FLT_MIN);
    expect(Array.from(e.subarray(5))).toEqual([0, 0, 1, 1]);
    for (const kind of ['tanh', 'erf'] as const) {
      run(bench, unaryCalls(kind, { x, y, n: data.length }));
      expect(Array.from(bench.f32(y, 9)).slice(7)).toEqual([0, -0]);
      expect(Math.max(...bench.f32(y, 9))).toBe(1);
    }
  });

  test('parameters default to ONNX’s', () => {
    const bench = new Bench(isa);
    const data = Float32Array.of(-2, 0.4, Infinity);
    const x = bench.put(data);
    const y = bench.alloc(12);
    const defaults: [UnaryKind, number, number][] = [
      ['clamp', -Infinity, Infinity],
      ['leakyrelu', 0.01, 0],
      ['elu', 1, 0],
      ['hardsigmoid', 0.2, 0.5],
    ];
    for (const [kind, a, b] of defaults) {
      run(bench, unaryCalls(kind, { x, y, n: 3 }));
      const expected = Array.from(data, (v) => UNARY[kind](v, a, b));
      expect(mismatch(bench.f32(y, 3), expected, 1e-6)).toBeUndefined();
    }
  });
});

const KINDS: BinaryKind[] = ['add', 'sub', 'mul', 'div', 'max', 'min'];
const special = (data: Float32Array, seed: number) =>
  data.map((v, i) => ((i * 7 + seed) % 11 === 0 ? SPECIAL[(i + seed) % SPECIAL.length] : v));
const within = (v: number, min = -Infinity, max = Infinity) => Math.max(min, Math.min(v, max));

describe.each(ISAS)('binary %s', (isa) => {
  test.each(KINDS)('%s: lengths 0 to 40, in place of either, limits, NaN and Infinity', (kind) => {
    const bench = new Bench(isa);
    for (let n = 0; n <= 40; n++)
      for (const limits of [{}, { min: 0 }, { min: -0.25, max: 0.5 }]) {
        bench.reset();
        const [p, q] = [special(randf(n, n + 1), n), special(randf(n, n + 50), n + 5)];
        const expected = Array.from(p, (v, i) => within(Math.fround(BINARY[kind](v, q[i])), limits.min, limits.max));
        for (const target of ['y', 'a', 'b']) {
          const [a, b, y] = [bench.put(p, 'a'), bench.put(q, 'b'), bench.alloc(4 * n, 'y')];
          const at = { a, b, y }[target]!;
          run(bench, binaryCalls(kind, { a, b, y: at, n, ...limits }));
          const wrong = mismatch(bench.f32(at, n), expected, 0, 0);
          // Signs of zero aside, f32 arithmetic is exact arithmetic rounded once.
          expect(wrong && `n ${n} into ${target} ${wrong}`).toBeUndefined();
        }
      }
  });

  test.each(KINDS)('%s broadcast: every form, both orders, strides between panels', (kind) => {
    const bench = new Bench(isa);
    const shapes = [1, 2, 3].flatMap((outer) =>
      [1, 2, 5].flatMap((mid) => [1, 3, 4, 8, 9, 16, 21].map((i) => [outer, mid, i])),
    );
    for (const [outer, mid, inner] of shapes)
      for (const form of ['scalar', 'mid', 'inner'] as const)
        for (const swap of [false, true])
          for (const gap of [undefined, 0, 16]) {
            bench.reset();
            const row = mid * inner + (gap ?? 0);
            const p = randf(outer * row, outer + inner);
            const q = randf({ scalar: 1, mid, inner }[form], 9);
            const min = -0.5;
            const expected = new Float32Array(outer * row).fill(Number.NaN);
            for (let o = 0; o < outer; o++)
              for (let m = 0; m < mid; m++)
                for (let i = 0; i < inner; i++) {
                  const at = o * row + m * inner + i;
                  const pair: [number, number] = [p[at], q[{ scalar: 0, mid: m, inner: i }[form]]];
                  expected[at] = within(Math.fround(BINARY[kind](pair[+swap], pair[1 - +swap])), min);
                }
            const [a, b, y] = [bench.put(p, 'a'), bench.put(q, 'b'), bench.alloc(4 * p.length, 'y')];
            bench.f32(y, p.length).fill(Number.NaN);
            const outerStride = gap === undefined ? undefined : 4 * row;
            const call = { a, b, outer, mid, inner, form, swap, outerStride, min };
            run(bench, broadcastCalls(kind, { ...call, y }));
            const wrong = mismatch(bench.f32(y, p.length), expected, 0, 0);
            expect(wrong && `${outer} x ${mid} x ${inner} ${form} ${swap} ${gap} ${wrong}`).toBeUndefined();
            run(bench, broadcastCalls(kind, { ...call, y: a }));
            for (let i = 0; i < p.length; i++) if (Number.isNaN(expected[i])) expected[i] = p[i];
            expect(mismatch(bench.f32(a, p.length), expected, 0, 0)).toBeUndefined();
          }
  });

  test('prelu: a slope a channel, one slope, panels', () => {
    const bench = new Bench(isa);
    for (const [outer, mid, inner, gap] of [
      [1, 1, 37, 0],
      [2, 3, 7, 0],
      [3, 5, 1, 0],
      [2, 4, 8, 16],
    ]) {
      bench.reset();
      const row = mid * inner + gap;
      const data = special(randf(outer * row, inner), 1);
      const slopes = randf(mid, 2);
      const [x, slope] = [bench.put(data, 'x'), bench.put(slopes, 'slope')];
      run(bench, preluCalls({ x, slope, y: x, outer, mid, inner, outerStride: 4 * row }));
      const expected = data.map((v, i) =>
        i % row < mid * inner ? Math.fround(BINARY.prelu(v, slopes[Math.floor((i % row) / inner)])) : v,
      );
      expect(mismatch(bench.f32(x, data.length), expected, 0, 0)).toBeUndefined();
    }
  });
});
