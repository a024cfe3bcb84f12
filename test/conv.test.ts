import { describe, expect, test } from 'vitest';
import type { KernelCall } from '../src/kernel/call.ts';
import { im2panelCalls } from '../src/kernel/conv.ts';
import { type Geometry, im2col } from '../src/reference/conv.ts';
import { packPanels } from '../src/reference/layout.ts';
import { Bench, ISAS, rng } from './support/kernels.ts';

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
/** `after` rows and columns of padding at the end; undefined where no window fits. */
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
});
