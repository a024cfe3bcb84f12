import { describe, expect, test } from 'vitest';
import type { KernelCall } from '../src/kernel/call.ts';
import { col2imCalls, im2panelCalls, stemCalls, stemScratchBytes, supportsStem } from '../src/kernel/conv.ts';
import { packStem } from '../src/pack/conv.ts';
import { col2im, convolution, type Geometry, im2col } from '../src/reference/conv.ts';
import { packPanels } from '../src/reference/layout.ts';
import { Bench, ISAS, randf, rng } from './support/kernels.ts';

const run = (bench: Bench, calls: readonly KernelCall[]) => {
  for (const { kernel, args } of calls) bench.exports[kernel](...args);
  bench.check();
};
const filled = (bench: Bench, floats: number, name: string) => {
  const at = bench.alloc(4 * floats, name);
  bench.f32(at, floats).fill(Number.NaN);
  return at;
};
/** Compares element by element, naming the first that differs: many times faster than toEqual. */
const same = (got: ArrayLike<number>, expected: ArrayLike<number>, what: unknown) => {
  expect(got.length).toBe(expected.length);
  for (let n = 0; n < got.length; n++) {
    const e = Math.fround(expected[n]);
    if (got[n] !== e && !(Number.isNaN(got[n]) && Number.isNaN(e))) {
      throw new Error(`element ${n} is ${got[n]}, expected ${e}: ${JSON.stringify(what)}`);
    }
  }
};
/** The input where memory begins or ends: a read before or after it traps. */
const atEdge = (bench: Bench, data: Float32Array, end: boolean) => {
  if (end) bench.memory.grow(1);
  const x = end ? bench.memory.buffer.byteLength - data.byteLength : 0;
  bench.f32(x, data.length).set(data);
  return x;
};
// Distinct values, so that an element in the wrong place cannot pass.
const iota = (n: number) => Float32Array.from({ length: n }, (_, i) => i + 1);

type Window = Pick<Geometry, 'kernel' | 'stride' | 'dilation' | 'pad'>;
const win = (kh: number, kw: number, sh = 1, sw = sh, dh = 1, dw = dh, top = 0, left = top): Window => ({
  kernel: [kh, kw],
  stride: [sh, sw],
  dilation: [dh, dw],
  pad: [top, left],
});
/** `after` rows and columns of padding at the end, cut off where negative; undefined where no window fits. */
function geometry(w: Window, channels: number, height: number, width: number, after: number): Geometry | undefined {
  const out = [height, width].map((n, d) =>
    Math.floor((n + w.pad[d] + after - (w.kernel[d] - 1) * w.dilation[d] - 1) / w.stride[d] + 1),
  );
  return out[0] < 1 || out[1] < 1 ? undefined : { ...w, channels, height, width, outHeight: out[0], outWidth: out[1] };
}

const WINDOWS: Window[] = [
  win(1, 1),
  win(3, 3, 1, 1, 1, 1, 1),
  win(3, 3, 2, 2, 1, 1, 1),
  win(3, 3, 2, 2, 1, 1, 0),
  win(2, 2, 2),
  win(1, 1, 2),
  win(1, 1, 3),
  win(5, 5, 1, 1, 1, 1, 2),
  win(7, 7, 2, 2, 1, 1, 3),
  win(3, 3, 1, 1, 2, 2, 2),
  win(3, 2, 2, 1, 1, 3, 0, 2),
  win(1, 5, 1, 3, 1, 1, 0, 2),
  win(4, 4, 4),
];

describe.each(ISAS)('conv %s', (isa) => {
  test.each(WINDOWS)('im2panel %o', (w) => {
    const bench = new Bench(isa);
    const check = (g: Geometry, lanes: 8 | 16 | 32, all: Float64Array, firstPanel: number, panels: number) => {
      bench.reset();
      const taps = g.channels * g.kernel[0] * g.kernel[1];
      const floats = taps * lanes + 16;
      const expected = all.subarray(firstPanel * floats, (firstPanel + panels) * floats);
      const x = bench.put(iota(g.channels * g.height * g.width), 'input');
      const y = filled(bench, expected.length, 'panels');
      run(bench, im2panelCalls({ ...g, x, y, yPanelStride: 4 * floats, lanes, firstPanel, panels }));
      const got = bench.f32(y, expected.length);
      // Dead lanes hold anything, the space between panels must stay as it was.
      for (let n = 0; n < got.length; n++) {
        const at = n % floats;
        if (at < taps * lanes && Number.isNaN(expected[n])) got[n] = Number.NaN;
      }
      same(got, expected, { ...g, lanes, firstPanel, panels });
    };
    const expectedOf = (g: Geometry, lanes: number) => {
      const taps = g.channels * g.kernel[0] * g.kernel[1];
      const columns = im2col(iota(g.channels * g.height * g.width), g);
      return packPanels(columns, taps, g.outHeight * g.outWidth, lanes, taps * lanes + 16);
    };
    for (let height = 1; height <= 9; height++) {
      for (let width = 1; width <= 9; width++) {
        for (const after of [0, w.pad[0], 2]) {
          const g = geometry(w, 1 + ((height + width) % 3), height, width, after);
          if (g) check(g, 16, expectedOf(g, 16), 0, Math.ceil((g.outHeight * g.outWidth) / 16));
        }
      }
    }
    for (const lanes of [8, 16, 32] as const) {
      for (const [height, width] of [
        [7, 40],
        [14, 14],
        [30, 33],
      ]) {
        const g = geometry(w, 5, height, width, w.pad[0]) as Geometry;
        const all = Math.ceil((g.outHeight * g.outWidth) / lanes);
        const expected = expectedOf(g, lanes);
        for (const first of [0, 1, all - 1, all]) {
          for (const panels of [0, 1, 2, 3, all - first]) {
            if (first + panels <= all) check(g, lanes, expected, first, panels);
          }
        }
      }
    }
  });

  test.each([
    [20, 32, 32, 8],
    [40, 16, 16, 32],
    [9, 64, 64, 8],
    [3, 31, 33, 3],
  ])(
    'im2panel of %i channels of %i x %i: planes that share cache sets, %i at a time',
    (channels, height, width, most) => {
      const bench = new Bench(isa);
      const g = geometry(win(3, 3, 1, 1, 1, 1, 1), channels, height, width, 1) as Geometry;
      const floats = channels * 9 * 16 + 16;
      const all = Math.ceil((height * width) / 16);
      const image = iota(channels * height * width);
      const expected = packPanels(im2col(image, g), channels * 9, height * width, 16, floats);
      // Not from the first panel on, and not to the last.
      const [firstPanel, panels] = [1, all - 2];
      const x = bench.put(image, 'input');
      const y = filled(bench, panels * floats, 'panels');
      const calls = im2panelCalls({ ...g, x, y, yPanelStride: 4 * floats, lanes: 16, firstPanel, panels });
      expect(calls.length).toBe(Math.ceil(channels / most));
      run(bench, calls);
      same(bench.f32(y, panels * floats), expected.subarray(floats, (1 + panels) * floats), g);
    },
  );

  test.each([false, true])('im2panel reads its input only, NaN and infinities stay in their place (%o)', (end) => {
    const bench = new Bench(isa);
    const r = rng(5);
    for (const w of WINDOWS) {
      const g = geometry(w, 2, 9, 11, 2) as Geometry;
      bench.reset();
      bench.alloc(2048, 'space');
      const image = iota(g.channels * g.height * g.width);
      image.forEach((_, i) => {
        if (r() > 0.4) image[i] = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY][i % 3];
      });
      const taps = g.channels * g.kernel[0] * g.kernel[1];
      const pixels = g.outHeight * g.outWidth;
      const panels = Math.ceil(pixels / 16);
      const y = filled(bench, panels * taps * 16, 'panels');
      const x = atEdge(bench, image, end);
      run(bench, im2panelCalls({ ...g, x, y, yPanelStride: 64 * taps, lanes: 16, firstPanel: 0, panels }));
      const got = bench.f32(y, panels * taps * 16);
      const columns = new Float32Array(taps * pixels);
      for (let t = 0; t < taps; t++) {
        for (let p = 0; p < pixels; p++) {
          columns[t * pixels + p] = got[Math.floor(p / 16) * taps * 16 + t * 16 + (p % 16)];
        }
      }
      same(columns, im2col(image, g), g);
    }
  });

  const integers = (n: number, seed: number) => randf(n, seed).map((v) => Math.round(8 * v));
  /** Compares every element of a plain or panelled output, and that dead lanes and padding stay NaN, as {@link filled} left them. */
  function stem(bench: Bench, g: Geometry, rows: number, lanes: number, image: Float32Array, edge?: boolean) {
    bench.reset();
    bench.alloc(2048, 'space');
    const pixels = g.outHeight * g.outWidth;
    // Small integers: sums are exact, in any order.
    const weights = integers(rows * g.channels * 9, rows);
    const bias = rows % 2 ? undefined : integers(rows, 5);
    const panel = lanes * rows + 16;
    const floats = lanes ? Math.ceil(pixels / lanes) * panel : rows * pixels;
    const scratchBytes = stemScratchBytes(g.channels);
    const [min, max] = rows % 3 ? [-40, 60] : [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    const y = filled(bench, floats, 'output');
    const io = {
      ...{ ...g, rows, lanes, y, min, max, padTop: g.pad[0], padLeft: g.pad[1] },
      ...{ yChannelStride: 4 * (lanes || pixels), yPanelStride: 4 * (lanes && panel) },
      weights: bench.put(packStem(weights, bias, rows, g.channels), 'weights'),
      scratch: bench.alloc(scratchBytes, 'scratch'),
    };
    const x = edge === undefined ? bench.put(image, 'input') : atEdge(bench, image, edge);
    run(bench, stemCalls({ ...io, x }));
    const expected = convolution(image, weights, bias, rows, g, min, max);
    const placed = lanes ? packPanels(expected, rows, pixels, lanes, panel) : expected;
    same(bench.f32(y, floats), placed, { ...g, rows, lanes });
  }

  test.each([1, 3])('stem of %i channels, every size and padding', (channels) => {
    const bench = new Bench(isa);
    for (let height = 1; height <= 9; height++) {
      for (let width = 1; width <= 9; width++) {
        for (const [top, left, after] of [
          [0, 0, 0],
          [0, 0, 1],
          // Cut off: fewer windows than fit.
          [0, 0, -2],
          [1, 1, 1],
          [2, 1, 0],
          [1, 2, 2],
          [2, 2, 2],
        ]) {
          const g = geometry(win(3, 3, 2, 2, 1, 1, top, left), channels, height, width, after);
          const image = integers(channels * height * width, height * width);
          if (g) for (const lanes of [0, 16]) stem(bench, g, 1 + ((height + width) % 9), lanes, image);
        }
      }
    }
  });

  test('stem of large and ragged images, any lanes', () => {
    const bench = new Bench(isa);
    for (const [height, width, rows] of [
      [40, 34, 8],
      [37, 19, 16],
      [33, 65, 6],
      [70, 3, 4],
      [18, 256, 12],
      [5, 600, 3],
    ]) {
      const g = geometry(win(3, 3, 2, 2, 1, 1, 1), 3, height, width, 1) as Geometry;
      for (const lanes of [0, 8, 16, 32]) stem(bench, g, rows, lanes, integers(3 * height * width, 9));
    }
  });

  test.each([false, true])('stem reads its input only (%o)', (end) => {
    const bench = new Bench(isa);
    for (const pad of [0, 1, 2]) {
      for (const [height, width] of [
        [9, 10],
        [4, 24],
        [8, 9],
        [7, 1],
      ]) {
        const g = geometry(win(3, 3, 2, 2, 1, 1, pad), 1, height, width, 2) as Geometry;
        stem(bench, g, 5, 0, integers(height * width, 4), end);
      }
    }
  });

  test('stem keeps NaN where windows see it', () => {
    const bench = new Bench(isa);
    for (const lanes of [0, 16]) {
      const g = geometry(win(3, 3, 2, 2, 1, 1, 1), 3, 12, 22, 1) as Geometry;
      const image = integers(3 * 12 * 22, 2);
      for (const at of [0, 21, 100, 264, 3 * 264 - 1]) image[at] = Number.NaN;
      stem(bench, g, 4, lanes, image);
      stem(bench, g, 8, lanes, image);
    }
  });

  test('stem is for 3x3 with stride 2 of one or three channels', () => {
    const is = (w: Window, channels: number) => supportsStem({ ...w, channels });
    expect(is(win(3, 3, 2), 1) && is(win(3, 3, 2), 3)).toBe(true);
    const not = [is(win(3, 3, 2), 2), is(win(3, 3, 1), 3), is(win(3, 5, 2), 3), is(win(3, 3, 2, 1), 3)];
    expect([...not, is(win(3, 3, 2, 2, 2), 3)]).toEqual([false, false, false, false, false]);
  });

  test.each([...WINDOWS, win(4, 4, 2, 2, 1, 1, 1), win(3, 3, 3, 3)])('col2im %o', (w) => {
    const bench = new Bench(isa);
    const check = (height: number, width: number, extra: number) => {
      const size = [height, width].map(
        (n, d) => (n - 1) * w.stride[d] + (w.kernel[d] - 1) * w.dilation[d] + 1 - 2 * w.pad[d] + extra,
      );
      if (size[0] < 1 || size[1] < 1) return;
      const channels = 1 + ((height + width) % 3);
      const g = { ...w, channels, height, width, outHeight: size[0], outWidth: size[1] };
      bench.reset();
      const products = integers(channels * w.kernel[0] * w.kernel[1] * height * width, 7 + width);
      if (extra) products[products.length >> 1] = Number.NaN;
      const bias = integers(channels, 3);
      const [min, max] = extra ? [-9, 12] : [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
      const x = bench.put(products, 'products');
      const y = filled(bench, channels * size[0] * size[1], 'output');
      run(bench, col2imCalls({ ...g, x, y, bias: bench.put(bias, 'bias'), min, max }));
      same(bench.f32(y, channels * size[0] * size[1]), col2im(products, bias, g, min, max), g);
    };
    for (let height = 1; height <= 9; height++) {
      for (let width = 1; width <= 9; width++) for (const extra of [0, 1]) check(height, width, extra);
    }
    check(3, 33, 0);
    check(5, 40, 1);
  });

  test('col2im leaves the bits of what nothing lands on', () => {
    const bench = new Bench(isa);
    const w = win(1, 1, 2);
    const bias = Float32Array.of(-0);
    const x = bench.put(new Float32Array(24).fill(2), 'products');
    const y = filled(bench, 3 * 15, 'output');
    const shape = { channels: 1, height: 2, width: 8, outHeight: 3, outWidth: 15 };
    const free = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };
    run(bench, col2imCalls({ ...w, ...shape, ...free, x, y, bias: bench.put(bias, 'bias') }));
    const got = bench.f32(y, 45);
    for (let n = 0; n < 45; n++) expect(got[n]).toBe(n % 30 < 15 && (n % 15) % 2 === 0 ? 2 : -0);
  });
});
