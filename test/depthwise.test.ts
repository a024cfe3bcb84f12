import { describe, expect, test } from 'vitest';
import {
  type DepthwiseShape,
  depthwiseCalls,
  depthwiseScratchBytes,
  supportsDepthwise,
} from '../src/kernel/depthwise.ts';
import { packDepthwise } from '../src/pack/depthwise.ts';
import { depthwise } from '../src/reference/depthwise.ts';
import { Bench, ISAS, randf } from './support/kernels.ts';

interface Case extends DepthwiseShape {
  lanes: number;
  min: number;
  max: number;
  bias?: Float32Array;
}

const OPEN = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };

/** Size of an output axis with `after` rows or columns of padding at the end. */
const outSize = (n: number, kernel: number, stride: number, before: number, after: number) =>
  Math.floor((n + before + after - kernel) / stride) + 1;

const mark = 1234.5;

/** Runs it and compares with the reference; the lanes and bytes that are not outputs must keep their mark. */
function check(bench: Bench, c: Case, x: Float32Array, weights: Float32Array): void {
  bench.reset();
  const pixels = c.outHeight * c.outWidth;
  const plain = c.lanes === 0;
  const panelStride = plain ? 0 : 4 * c.lanes * c.channels + 64;
  const floats = plain ? c.channels * pixels : (Math.ceil(pixels / c.lanes) * panelStride) / 4;
  const y = bench.alloc(4 * floats, 'y');
  bench.f32(y, floats).fill(mark);
  const calls = depthwiseCalls({
    ...c,
    x: bench.put(x, 'x'),
    weights: bench.put(packDepthwise(weights, c.bias, c.channels, c.kernel), 'weights'),
    y,
    yChannelStride: plain ? 4 * pixels : 4 * c.lanes,
    yPanelStride: panelStride,
    scratch: bench.alloc(depthwiseScratchBytes(c), 'scratch'),
  });
  for (const { kernel, args } of calls) bench.exports[kernel](...args);
  bench.check();
  const expected = depthwise(x, weights, c.bias, c);
  const actual = bench.f32(y, floats);
  const left = new Uint8Array(floats).fill(1);
  const fail = (what: string) => {
    throw new Error(`${JSON.stringify({ ...c, bias: undefined })} ${what}`);
  };
  expected.forEach((raw, i) => {
    const channel = Math.floor(i / pixels);
    const p = i % pixels;
    const at = plain ? i : Math.floor(p / c.lanes) * (panelStride / 4) + channel * c.lanes + (p % c.lanes);
    left[at] = 0;
    const e = Number.isNaN(raw) ? raw : Math.min(c.max, Math.max(c.min, raw));
    if (!Object.is(actual[at], e) && !(Math.abs(actual[at] - e) <= 1e-5)) fail(`[${i}] ${actual[at]}, expected ${e}`);
  });
  const written = actual.findIndex((v, i) => left[i] === 1 && v !== mark);
  if (written >= 0) fail(`float ${written} is no output and was written`);
}

/** [kernel, stride, top and left padding, bottom and right padding] */
const FORMS: [number, number, number, number][] = [
  [3, 1, 1, 1],
  [3, 1, 0, 0],
  [3, 1, 2, 0],
  [3, 1, 0, 2],
  [3, 1, 2, 2],
  [3, 1, 3, 3],
  [3, 1, 0, 5],
  [3, 2, 1, 1],
  [3, 2, 0, 1],
  [3, 2, 0, 0],
  [3, 2, 2, 2],
  [3, 2, 1, 4],
  [5, 1, 2, 2],
  [5, 2, 2, 2],
  [5, 2, 1, 2],
  [5, 1, 0, 0],
  [7, 1, 3, 3],
  [7, 2, 3, 2],
  [2, 2, 0, 1],
  [1, 1, 0, 0],
];

describe.each(ISAS)('depthwise %s', (isa) => {
  const bench = new Bench(isa);

  test.each(FORMS)(
    'kernel %i stride %i padding %i %i: every width, heights, layouts',
    (kernel, stride, before, after) => {
      const channels = 3;
      let cases = 0;
      for (const width of [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 23, 28])
        for (const height of [1, 2, 3, 4, 5, 8]) {
          const outHeight = outSize(height, kernel, stride, before, after);
          const outWidth = outSize(width, kernel, stride, before, after);
          if (outHeight <= 0 || outWidth <= 0) continue;
          const shape = {
            channels,
            height,
            width,
            outHeight,
            outWidth,
            kernel,
            stride,
            padTop: before,
            padLeft: before,
          };
          const x = randf(channels * height * width, width * 31 + height);
          const weights = randf(channels * kernel * kernel, kernel + width);
          const bias = cases % 4 ? randf(channels, width) : undefined;
          const limits = cases % 3 ? { min: 0, max: 0.75 } : OPEN;
          for (const lanes of [0, [8, 16, 32][cases++ % 3]])
            check(bench, { ...shape, ...limits, lanes, bias }, x, weights);
        }
      expect(cases).toBeGreaterThan(20);
    },
  );

  test('padding that differs by side', () => {
    const channels = 2;
    for (const stride of [1, 2])
      for (const [padTop, padLeft] of [
        [0, 1],
        [1, 0],
        [2, 1],
        [1, 2],
        [0, 4],
      ])
        for (const width of [4, 9, 16]) {
          const outHeight = outSize(6, 3, stride, padTop, 1);
          const outWidth = outSize(width, 3, stride, padLeft, 1);
          const shape = { channels, height: 6, width, outHeight, outWidth, kernel: 3, stride, padTop, padLeft };
          check(bench, { ...shape, ...OPEN, lanes: 16 }, randf(channels * 6 * width), randf(channels * 9, 2));
        }
  });

  test('NaN and infinities reach the windows that hold them, and no others', () => {
    for (const kernel of [3, 5])
      for (const stride of [1, 2])
        for (const width of [9, 13])
          for (const lanes of [0, 8]) {
            const pad = kernel >> 1;
            const x = randf(2 * 10 * width, 3);
            x[0] = Number.NaN;
            x[2 * width - 1] = Number.POSITIVE_INFINITY;
            x[5 * width + 4] = Number.NEGATIVE_INFINITY;
            x[x.length - 1] = Number.NaN;
            const size = (n: number) => outSize(n, kernel, stride, pad, pad);
            const shape = {
              channels: 2,
              height: 10,
              width,
              outHeight: size(10),
              outWidth: size(width),
              kernel,
              stride,
            };
            const all = { ...shape, padTop: pad, padLeft: pad, lanes, min: 0, max: 6 };
            check(bench, all, x, randf(2 * kernel * kernel, 4));
          }
  });

  test('reads and writes nothing past a plane that ends where the memory ends', () => {
    for (const kernel of [3, 5])
      for (const stride of [1, 2])
        for (const width of [1, 3, 4, 5, 7, 8, 14]) {
          bench.reset();
          const pad = kernel >> 1;
          const size = (n: number) => outSize(n, kernel, stride, pad, pad);
          const shape = { channels: 1, height: 5, width, outHeight: size(5), outWidth: size(width), kernel, stride };
          const all = { ...shape, padTop: pad, padLeft: pad, ...OPEN, lanes: 0 };
          const weights = bench.put(packDepthwise(randf(kernel * kernel), undefined, 1, kernel));
          const scratch = bench.alloc(depthwiseScratchBytes(all));
          const end = bench.memory.buffer.byteLength;
          const bytes = [4 * 5 * width, 4 * all.outHeight * all.outWidth];
          const place = { yChannelStride: bytes[1], yPanelStride: 0, weights, scratch };
          const atEnd = [
            { x: end - bytes[0], y: end - bytes[0] - bytes[1] },
            { x: end - bytes[0] - bytes[1], y: end - bytes[1] },
          ];
          for (const where of atEnd)
            for (const { kernel, args } of depthwiseCalls({ ...all, ...place, ...where }))
              expect(() => bench.exports[kernel](...args)).not.toThrow();
        }
  });

  test('no channels: nothing is written', () => {
    const shape = {
      channels: 0,
      height: 4,
      width: 4,
      outHeight: 4,
      outWidth: 4,
      kernel: 3,
      stride: 1,
      padTop: 1,
      padLeft: 1,
    };
    check(bench, { ...shape, ...OPEN, lanes: 16 }, new Float32Array(), new Float32Array());
  });
});

test('supports square kernels with stride 1 or 2', () => {
  const base = { kernel: [3, 3], stride: [1, 1], dilation: [1, 1] } as const;
  expect(supportsDepthwise(base)).toBe(true);
  expect(supportsDepthwise({ ...base, kernel: [5, 5], stride: [2, 2] })).toBe(true);
  expect(supportsDepthwise({ ...base, kernel: [1, 3] })).toBe(false);
  expect(supportsDepthwise({ ...base, stride: [1, 2] })).toBe(false);
  expect(supportsDepthwise({ ...base, stride: [3, 3] })).toBe(false);
  expect(supportsDepthwise({ ...base, dilation: [2, 2] })).toBe(false);
});
