import { describe, expect, test } from 'vitest';
import type { KernelCall } from '../src/kernel/call.ts';
import { softmaxCalls } from '../src/kernel/pointwise.ts';
import { softmax } from '../src/reference/softmax.ts';
import { Bench, ISAS, randf } from './support/kernels.ts';

const run = (bench: Bench, calls: KernelCall[]) => {
  for (const { kernel, args } of calls) bench.exports[kernel](...args);
  bench.check();
};
const FLT_MIN = 2 ** -126;

/** The first element off by more than `relative` of its size plus `absolute`, or of another class. */
function mismatch(
  actual: Float32Array,
  expected: ArrayLike<number>,
  relative: number,
  absolute = 2 * FLT_MIN,
): string | undefined {
  for (let i = 0; i < expected.length; i++) {
    const e = Math.fround(expected[i]);
    const close = Math.abs(actual[i] - expected[i]) <= relative * Math.abs(expected[i]) + absolute;
    if (!(Object.is(actual[i], e) || close)) return `[${i}] ${actual[i]}, expected ${e}`;
  }
  return undefined;
}

describe.each(ISAS)('softmax %s', (isa) => {
  test.each([false, true])('every length and inner size, in place; logarithm %s', (log) => {
    const bench = new Bench(isa);
    for (const outer of [0, 1, 3])
      for (const inner of [1, 2, 3, 4, 5, 8, 9, 19])
        for (let n = 0; n <= 40; n += inner === 1 ? 1 : 3) {
          bench.reset();
          const data = randf(outer * n * inner, n + inner).map((v) => v * 30 + 100);
          const expected = softmax(data, outer, n, inner, log);
          const [x, y] = [bench.put(data, 'x'), bench.alloc(data.byteLength, 'y')];
          run(bench, softmaxCalls({ x, y, outer, n, inner, log }));
          // The logarithm of a sum near one loses what the sum rounds.
          const wrong = mismatch(bench.f32(y, data.length), expected, 2e-6, log ? 5e-7 : 2 * FLT_MIN);
          expect(wrong && `${outer} x ${n} x ${inner} ${wrong}`).toBeUndefined();
          const separate = bench.f32(y, data.length).slice();
          run(bench, softmaxCalls({ x, y: x, outer, n, inner, log }));
          expect(bench.f32(x, data.length)).toEqual(separate);
        }
  });

  test.each([false, true])('infinities, NaN and masks; logarithm %s', (log) => {
    const bench = new Bench(isa);
    for (const inner of [1, 3, 4])
      for (const n of [1, 3, 4, 6, 9])
        for (const fill of [-Infinity, Infinity, Number.NaN, 1e38])
          for (const all of [false, true]) {
            bench.reset();
            const data = randf(n * inner, n).map((v, i) => (all || i === n - 1 ? fill : v));
            const [x, y] = [bench.put(data, 'x'), bench.alloc(data.byteLength, 'y')];
            run(bench, softmaxCalls({ x, y, outer: 1, n, inner, log }));
            const expected = softmax(data, 1, n, inner, log);
            expect(mismatch(bench.f32(y, data.length), expected, 1e-6, 1e-6)).toBeUndefined();
          }
  });

  test('panels: over channels, the padding untouched', () => {
    const bench = new Bench(isa);
    const [panels, channels, lanes, gap] = [3, 5, 8, 16];
    const row = channels * lanes + gap;
    const data = randf(panels * row, 4);
    const x = bench.put(data);
    run(bench, softmaxCalls({ x, y: x, outer: panels, n: channels, inner: lanes, outerStride: 4 * row }));
    const expected = data.slice();
    for (let p = 0; p < panels; p++) {
      const panel = data.subarray(p * row, p * row + channels * lanes);
      expected.set(softmax(panel, 1, channels, lanes, false), p * row);
    }
    expect(mismatch(bench.f32(x, data.length), expected, 1e-6)).toBeUndefined();
  });
});
