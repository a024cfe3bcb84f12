// Pruned k×k convolutions over padded rows, against the f64 reference, on every SpMM kernel.
import { describe, expect, test } from 'vitest';
import { rowConvCalls } from '../src/kernel/rowconv.ts';
import type { Variant } from '../src/kernel/variants.ts';
import { packRowConv, type RowConv, rowLayout } from '../src/pack/rowconv.ts';
import { unpackSpmm } from '../src/pack/spmm.ts';
import { convolution } from '../src/reference/conv.ts';
import { Bench, ISAS, randf, rng } from './support/kernels.ts';
import { expectClose, spmmVariants, tolerance } from './support/spmm.ts';

const VARIANTS = spmmVariants().filter((v) => v.format !== 'dense');

type Window = Pick<RowConv, 'kernel' | 'stride' | 'dilation' | 'pad'>;

const WINDOWS: readonly Window[] = [
  { kernel: [3, 3], stride: [1, 1], dilation: [1, 1], pad: [1, 1] },
  { kernel: [3, 3], stride: [2, 2], dilation: [1, 1], pad: [1, 1] },
  { kernel: [3, 3], stride: [2, 2], dilation: [1, 1], pad: [0, 0] },
  { kernel: [5, 5], stride: [1, 1], dilation: [1, 1], pad: [2, 2] },
  { kernel: [2, 4], stride: [1, 3], dilation: [1, 1], pad: [0, 2] },
  { kernel: [1, 3], stride: [1, 1], dilation: [1, 2], pad: [0, 2] },
  { kernel: [3, 2], stride: [2, 1], dilation: [2, 3], pad: [2, 3] },
  { kernel: [4, 4], stride: [2, 2], dilation: [1, 3], pad: [3, 1] },
];

/** The shape of a convolution; undefined where no window fits. Right and bottom are padded like left and top. */
function shapeOf(w: Window, channels: number, height: number, width: number): RowConv | undefined {
  const [outHeight, outWidth] = [height, width].map(
    (n, d) => Math.floor((n + 2 * w.pad[d] - (w.kernel[d] - 1) * w.dilation[d] - 1) / w.stride[d]) + 1,
  );
  return outHeight > 0 && outWidth > 0 ? { ...w, channels, height, width, outHeight, outWidth } : undefined;
}

const pruned = (n: number, density: number, seed: number): Float32Array => {
  const r = rng(seed);
  return Float32Array.from({ length: n }, () => ((r() + 1) / 2 < density ? r() || 0.5 : 0));
};

function run(bench: Bench, variant: Variant, c: RowConv, w: Float32Array, outputs: number, x: Float32Array, io = {}) {
  bench.reset();
  const layout = rowLayout(c)!;
  const bias = randf(outputs, 9);
  const packed = packRowConv(w, outputs, c, layout, variant, bias);
  expect(unpackSpmm(packed)).toEqual(w.map((v) => (v === 0 ? 0 : v)));
  const at = bench.put(packed.data, 'weights');
  const scratch = bench.alloc(layout.bytes, 'rows');
  bench.f32(scratch, layout.bytes / 4).fill(Number.NaN);
  const y = bench.alloc(4 * outputs * c.outHeight * c.outWidth, 'Y');
  const limits = { min: -0.75, max: 1.25, ...io };
  const calls = rowConvCalls(packed, at, c, layout, { x: bench.put(x, 'X'), y, scratch, ...limits });
  for (const { kernel, args } of calls) bench.exports[kernel](...args);
  bench.check();
  const got = bench.f32(y, outputs * c.outHeight * c.outWidth);
  return { got, bias, blocks: layout.blocks, limits };
}

describe.each(ISAS)('%s', (isa) => {
  const bench = new Bench(isa);

  test.each(VARIANTS)('$name: windows, sizes and densities', (variant) => {
    let cases = 0;
    for (const [n, w] of WINDOWS.entries()) {
      for (const [height, width] of [
        [1, 1],
        [2, 5],
        [5, 2],
        [7, 7],
        [4, 19],
        [3, 37],
        [3, 66],
      ]) {
        const c = shapeOf(w, 3, height, width);
        if (!c) continue;
        cases++;
        const x = randf(3 * height * width, 100 * n + width);
        const weights = pruned(7 * 3 * w.kernel[0] * w.kernel[1], [0.3, 0, 1, 0.02][cases % 4], cases);
        const { got, bias, limits } = run(bench, variant, c, weights, 7, x);
        const want = convolution(x, weights, bias, 7, c, limits.min, limits.max);
        expectClose(got, want, tolerance(3 * 25), `window ${n}, ${height}x${width}`);
      }
    }
    expect(cases).toBeGreaterThan(40);
  });

  test.each(VARIANTS)('$name: channels in several blocks, the last one smaller', (variant) => {
    const c = shapeOf(WINDOWS[0], 70, 5, 60)!;
    const x = randf(70 * 5 * 60, 1);
    const weights = pruned(6 * 70 * 9, 0.2, 2);
    const open = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };
    const { got, bias, blocks } = run(bench, variant, c, weights, 6, x, open);
    expect(blocks).toBeGreaterThan(1);
    expectClose(got, convolution(x, weights, bias, 6, c), tolerance(70 * 9));
  });

  test.each(VARIANTS)('$name: a dense block of large kernels on a narrow image', (variant) => {
    const c = shapeOf({ kernel: [7, 7], stride: [1, 1], dilation: [1, 1], pad: [3, 3] }, 90, 7, 7)!;
    const x = randf(90 * 49, 1);
    const weights = pruned(4 * 90 * 49, 1, 2);
    const open = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };
    const { got, bias } = run(bench, variant, c, weights, 4, x, open);
    expectClose(got, convolution(x, weights, bias, 4, c), tolerance(90 * 49));
  });

  test('infinities and NaN reach the pixels whose weights meet them, and no others', () => {
    const c = shapeOf(WINDOWS[0], 2, 5, 20)!;
    const x = randf(2 * 5 * 20, 3);
    x[2 * 20 + 10] = Number.POSITIVE_INFINITY; // channel 0, row 2, column 10
    x[5 * 20 + 20 + 5] = Number.NaN; // channel 1, row 1, column 5
    const weights = new Float32Array(2 * 2 * 9);
    weights[4] = 1; // output 0: the middle of channel 0
    weights[18 + 9 + 5] = -1; // output 1: right of the middle of channel 1
    const { got } = run(bench, VARIANTS[0], c, weights, 2, x, { min: Number.NEGATIVE_INFINITY, max: 8 });
    const odd = [...got.keys()].filter((i) => !(Math.abs(got[i]) < 7));
    expect(odd).toEqual([2 * 20 + 10, 5 * 20 + 20 + 4]);
    expect(got[2 * 20 + 10]).toBe(8);
  });
});

test('an image too wide for 16-bit offsets is left to other kernels', () => {
  expect(rowLayout(shapeOf(WINDOWS[0], 1, 3, 5460)!)).toBeUndefined();
  expect(rowLayout(shapeOf(WINDOWS[0], 1, 3, 5400)!)).toBeDefined();
  expect(rowLayout(shapeOf({ ...WINDOWS[0], kernel: [64, 64] }, 1, 64, 64)!)).toBeUndefined();
});
