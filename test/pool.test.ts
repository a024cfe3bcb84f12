import { describe, expect, test } from 'vitest';
import type { KernelCall } from '../src/kernel/call.ts';
import { globalPoolCalls, poolCalls, reduceCalls } from '../src/kernel/pool.ts';
import { packPanels } from '../src/reference/layout.ts';
import { type PoolShape, pool, reduce } from '../src/reference/pool.ts';
import { Bench, ISAS, randf } from './support/kernels.ts';

const run = (bench: Bench, calls: KernelCall[]) => {
  for (const { kernel, args } of calls) bench.exports[kernel](...args);
  bench.check();
};

/** The first element that is off by more than `tolerance` times its size (or one), or not of the same class. */
function mismatch(actual: Float32Array, expected: Float64Array, tolerance: number): string | undefined {
  for (let i = 0; i < expected.length; i++) {
    const e = Math.fround(expected[i]);
    const close = Math.abs(actual[i] - e) <= tolerance * Math.max(1, Math.abs(e));
    if (!Object.is(actual[i], e) && !close) return `[${i}] ${actual[i]}, expected ${e}`;
  }
  return undefined;
}

const outSize = (n: number, k: number, s: number, d: number, before: number, after: number, ceil: boolean) => {
  const room = n + before + after - (k - 1) * d - 1;
  return room < 0 ? 0 : (ceil ? Math.ceil(room / s) : Math.floor(room / s)) + 1;
};

const WINDOWS: [kernel: number, stride: number, dilation: number, before: number, after: number][] = [
  [1, 1, 1, 0, 0],
  [2, 2, 1, 0, 0],
  [3, 2, 1, 1, 1],
  [3, 2, 1, 0, 1],
  [3, 1, 1, 1, 1],
  [5, 1, 1, 2, 2],
  [2, 1, 1, 0, 1],
  [3, 1, 2, 2, 2],
  [3, 3, 1, 1, 0],
  [2, 2, 3, 1, 1],
  [3, 4, 2, 0, 3],
];

describe.each(ISAS)('pool %s', (isa) => {
  test.each(['max', 'average'] as const)('%s: kernels, strides, dilations, pads, ceil mode, every width', (kind) => {
    const bench = new Bench(isa);
    for (const [k, s, d, before, after] of WINDOWS)
      for (const width of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 17, 24])
        for (const height of [1, 4, 7])
          for (const ceil of [false, true])
            for (const countIncludePad of kind === 'max' ? [false] : [false, true]) {
              const outHeight = outSize(height, k, s, d, before, after, ceil);
              const outWidth = outSize(width, k, s, d, before, after, ceil);
              const shape: PoolShape = {
                kind,
                channels: 2,
                height,
                width,
                outHeight,
                outWidth,
                kernel: [k, k],
                stride: [s, s],
                dilation: [d, d],
                pad: [before, before],
                padEnd: [after, after],
                countIncludePad,
              };
              bench.reset();
              const data = randf(2 * height * width, width + height);
              if (width === 13) data[11] = Number.NaN;
              if (width === 17) data[9] = Number.NEGATIVE_INFINITY;
              const x = bench.put(data, 'x');
              const y = bench.alloc(8 * outHeight * outWidth, 'y');
              run(bench, poolCalls({ ...shape, x, y }));
              const wrong = mismatch(bench.f32(y, 2 * outHeight * outWidth), pool(data, shape), 1e-6);
              if (wrong) throw new Error(`${JSON.stringify(shape)} ${wrong}`);
            }
  });

  test('kernel, stride, dilation and pads that differ by axis; pads at the end default to those before', () => {
    const bench = new Bench(isa);
    const shape: PoolShape = {
      kind: 'average',
      channels: 3,
      height: 9,
      width: 14,
      outHeight: 5,
      outWidth: 13,
      kernel: [3, 4],
      stride: [2, 1],
      dilation: [1, 1],
      pad: [1, 1],
      padEnd: [1, 1],
      countIncludePad: true,
    };
    const data = randf(3 * 9 * 14, 3);
    const { padEnd, ...rest } = shape;
    const x = bench.put(data);
    const y = bench.alloc(4 * 3 * 5 * 13);
    run(bench, poolCalls({ ...rest, x, y }));
    expect(mismatch(bench.f32(y, 3 * 5 * 13), pool(data, shape), 1e-6)).toBeUndefined();
    const wide = { ...shape, kind: 'max', kernel: [2, 5], stride: [1, 2], dilation: [3, 1], pad: [0, 2] } as const;
    const to = bench.alloc(4 * 3 * 6 * 7);
    run(bench, poolCalls({ ...wide, outHeight: 6, outWidth: 7, x, y: to }));
    expect(mismatch(bench.f32(to, 3 * 6 * 7), pool(data, { ...wide, outHeight: 6, outWidth: 7 }), 0)).toBeUndefined();
  });

  test.each([0, 8, 16, 32])('global pools, lanes %i, dead lanes never counted', (lanes) => {
    const bench = new Bench(isa);
    for (const kind of ['average', 'max'] as const)
      for (const channels of [0, 1, 2, 3, 4, 5, 8, 11])
        for (const pixels of [1, 2, 3, 4, 7, 8, 9, 15, 16, 31, 33, 49, 64]) {
          bench.reset();
          const data = randf(channels * pixels, pixels + channels);
          if (pixels === 9 && channels) data[4] = Number.NaN;
          const panelFloats = lanes * channels + 16;
          // Dead lanes and padding are NaN in the reference packing.
          const x = bench.put(lanes ? Float32Array.from(packPanels(data, channels, pixels, lanes, panelFloats)) : data);
          const y = bench.alloc(4 * channels, 'y');
          const strides = { xChannelStride: 4 * (lanes || pixels), xPanelStride: lanes ? 4 * panelFloats : 0 };
          run(bench, globalPoolCalls({ kind, x, ...strides, lanes, y, channels, pixels }));
          const expected = reduce(kind === 'max' ? 'max' : 'mean', data, channels, pixels, 1);
          expect(mismatch(bench.f32(y, channels), expected, 1e-6)).toBeUndefined();
        }
  });

  test.each(['sum', 'mean', 'max', 'min'] as const)('reduce %s, every length and inner size', (kind) => {
    const bench = new Bench(isa);
    for (const outer of [0, 1, 3])
      for (const inner of [1, 2, 3, 4, 7, 8, 9, 17])
        for (const n of [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 23, 40, 64, 65, 130]) {
          bench.reset();
          const data = randf(outer * n * inner, n + inner);
          if (n === 17 && outer) data[inner * 16] = Number.NaN;
          if (n === 23 && outer) data[inner * 3] = Number.POSITIVE_INFINITY;
          const x = bench.put(data, 'x');
          const y = bench.alloc(4 * outer * inner, 'y');
          run(bench, reduceCalls({ kind, x, y, outer, n, inner }));
          const wrong = mismatch(bench.f32(y, outer * inner), reduce(kind, data, outer, n, inner), 4e-6);
          expect(wrong && `${outer} x ${n} x ${inner}: ${wrong}`).toBeUndefined();
        }
  });

  test.each([1, 8, 9])('long sums keep their precision, inner %i', (inner) => {
    const bench = new Bench(isa);
    const n = 100_000;
    // Roundings of a constant all go one way: a single running sum is off by 1.4e-4 here.
    const data = new Float32Array(n * inner).fill(0.1);
    const x = bench.put(data);
    const y = bench.alloc(4 * inner);
    run(bench, reduceCalls({ kind: 'sum', x, y, outer: 1, n, inner }));
    const expected = reduce('sum', data, 1, n, inner);
    bench.f32(y, inner).forEach((v, i) => {
      expect(Math.abs(v / expected[i] - 1)).toBeLessThan(1e-5);
    });
  });
});
