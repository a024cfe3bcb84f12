import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ModelFormatError, UnsupportedOpError } from '../src/errors.ts';
import type { Attr } from '../src/graph/ir.ts';
import { Tensor } from '../src/tensor.ts';
import { f32, list, range, run } from './support/ops.ts';

describe('windows', () => {
  it.each([
    // in, kernel, stride, dilation, attributes → out
    [5, 3, 1, 1, {}, 3],
    [5, 3, 2, 1, { pads: [1, 1] }, 3],
    [6, 3, 2, 1, { ceil_mode: 1 }, 3],
    [6, 3, 2, 1, {}, 2],
    // The last window would begin in the right padding.
    [2, 1, 2, 1, { pads: [0, 1], ceil_mode: 1 }, 1],
    [5, 2, 2, 2, { auto_pad: 'SAME_UPPER' }, 3],
    [5, 2, 2, 2, { auto_pad: 'VALID' }, 2],
    [0, 3, 1, 1, {}, 0],
  ])('%i wide, kernel %i, stride %i, dilation %i, %o: %i', (size, kernel, stride, dilation, attrs, out) => {
    const shape = { kernel_shape: [kernel], strides: [stride], dilations: [dilation] };
    const [y] = run('MaxPool', [range([1, 1, size])], { ...shape, ...(attrs as Record<string, Attr>) });
    expect(y.dims).toEqual([1, 1, out]);
  });

  it('SAME_UPPER and SAME_LOWER differ in where the odd zero goes', () => {
    const x = f32([1, 2, 3, 4], [1, 1, 4]);
    const w = f32([1, 1], [1, 1, 2]);
    expect(list(run('Conv', [x, w], { auto_pad: 'SAME_UPPER' })[0])).toEqual([3, 5, 7, 4]);
    expect(list(run('Conv', [x, w], { auto_pad: 'SAME_LOWER' })[0])).toEqual([1, 3, 5, 7]);
  });

  it('malformed attributes are named', () => {
    const x = range([1, 1, 4, 4]);
    const malformed: Record<string, Attr>[] = [
      { pads: [1, 1] },
      { pads: [-1, 0, 0, 0] },
      { strides: [0, 1] },
      { dilations: [1] },
      { auto_pad: 'SAME' },
      { kernel_shape: [5, 5] },
      { kernel_shape: 2 },
    ];
    for (const attrs of malformed) {
      expect(() => run('MaxPool', [x], { kernel_shape: [2, 2], ...attrs })).toThrow(ModelFormatError);
    }
    expect(() => run('MaxPool', [x])).toThrow(/kernel_shape/);
    expect(() => run('MaxPool', [range([1, 1, 2, 2, 2, 2])], { kernel_shape: [1, 1, 1, 1] })).toThrow(
      UnsupportedOpError,
    );
  });
});

/** Convolution straight from its definition, in one to three dimensions, an output at a time. */
function convolve(x: Tensor, w: Tensor, a: { pads: number[]; strides: number[]; dilations: number[]; group: number }) {
  const n = x.dims.length - 2;
  const out = Array.from({ length: n }, (_, i) =>
    Math.floor(
      (x.dims[i + 2] + a.pads[i] + a.pads[n + i] - (w.dims[i + 2] - 1) * a.dilations[i] - 1) / a.strides[i] + 1,
    ),
  );
  const at = (t: Tensor, index: number[]) => {
    let o = 0;
    for (let i = 0; i < index.length; i++) {
      if (index[i] < 0 || index[i] >= t.dims[i]) return 0;
      o = o * t.dims[i] + index[i];
    }
    return t.data[o] as number;
  };
  const each = (dims: number[]): number[][] =>
    dims.reduce<number[][]>((all, d) => all.flatMap((p) => Array.from({ length: d }, (_, i) => [...p, i])), [[]]);
  const perGroup = w.dims[0] / a.group;
  return each([x.dims[0], w.dims[0], ...out]).map(([b, m, ...o]) =>
    each([...w.dims.slice(1)]).reduce((sum, [c, ...k]) => {
      const from = o.map((p, i) => p * a.strides[i] + k[i] * a.dilations[i] - a.pads[i]);
      return sum + at(w, [m, c, ...k]) * at(x, [b, Math.floor(m / perGroup) * w.dims[1] + c, ...from]);
    }, 0),
  );
}

describe('convolution', () => {
  const scenes = fc.integer({ min: 1, max: 3 }).chain((n) => {
    const per = (min: number, max: number) => fc.array(fc.integer({ min, max }), { minLength: n, maxLength: n });
    return fc.record({
      spatial: per(4, 7),
      kernel: per(1, 2),
      strides: per(1, 3),
      dilations: per(1, 2),
      begin: per(0, 2),
      end: per(0, 2),
      group: fc.integer({ min: 1, max: 2 }),
      inner: fc.integer({ min: 1, max: 2 }),
      outer: fc.integer({ min: 1, max: 2 }),
    });
  });
  const fill = (t: Tensor, seed: number) => {
    for (let i = 0; i < t.size; i++) t.data[i] = ((i * 7 + seed) % 11) - 5;
    return t;
  };

  it('agrees with the definition for any stride, dilation, padding and group', () => {
    fc.assert(
      fc.property(scenes, ({ spatial, kernel, strides, dilations, begin, end, group, inner, outer }) => {
        const x = fill(Tensor.zeros('float32', [2, group * inner, ...spatial]), 3);
        const w = fill(Tensor.zeros('float32', [group * outer, inner, ...kernel]), 1);
        const attrs = { strides, dilations, group, pads: [...begin, ...end] };
        expect(list(run('Conv', [x, w], attrs)[0])).toEqual(convolve(x, w, attrs));
      }),
      { numRuns: 150 },
    );
  });

  it('ConvTranspose is its adjoint: <conv(x), y> = <x, transposed(y)>', () => {
    fc.assert(
      fc.property(scenes, ({ spatial, kernel, strides, dilations, begin, end, group, inner, outer }) => {
        const x = fill(Tensor.zeros('float64', [1, group * inner, ...spatial]), 3);
        const w = fill(Tensor.zeros('float64', [group * outer, inner, ...kernel]), 1);
        const attrs = { strides, dilations, group, pads: [...begin, ...end] };
        const [cx] = run('Conv', [x, w], attrs);
        const y = fill(Tensor.zeros('float64', cx.dims), 8);
        // What the strides skipped at the end has to be asked for.
        const padded = spatial.map((s, i) => s + begin[i] + end[i] - (kernel[i] - 1) * dilations[i] - 1);
        const output_padding = padded.map((room, i) => room % strides[i]);
        const [ty] = run('ConvTranspose', [y, w], { ...attrs, output_padding });
        expect(ty.dims).toEqual(x.dims);
        const dot = (a: Tensor, b: Tensor) => list(a).reduce((s, v, i) => s + v * list(b)[i], 0);
        expect(dot(x, ty)).toBe(dot(cx, y));
      }),
      { numRuns: 100 },
    );
  });

  it('ConvTranspose cuts to output_shape, more at the front unless SAME_UPPER', () => {
    const x = f32([1, 2, 3], [1, 1, 3]);
    const w = f32([1, 10, 100, 1000], [1, 1, 4]);
    expect(list(run('ConvTranspose', [x, w])[0])).toEqual([1, 12, 123, 1230, 2300, 3000]);
    const lower = run('ConvTranspose', [x, w], { output_shape: [3] })[0];
    expect(list(lower)).toEqual([123, 1230, 2300]);
    const upper = run('ConvTranspose', [x, w], { output_shape: [3], auto_pad: 'SAME_UPPER' })[0];
    expect(list(upper)).toEqual([12, 123, 1230]);
    expect(run('ConvTranspose', [x, w], { strides: [2], auto_pad: 'SAME_UPPER' })[0].dims).toEqual([1, 1, 6]);
  });

  it('keeps NaN, adds the bias, and rounds once', () => {
    const x = f32([1, Number.NaN, 2 ** 24], [1, 1, 3]);
    expect(list(run('Conv', [x, f32([0], [1, 1, 1]), f32([2])])[0])).toEqual([2, Number.NaN, 2]);
    const wide = f32([2 ** 24, 1, 1], [1, 3, 1]);
    expect(list(run('Conv', [wide, f32([1, 1, 1], [1, 3, 1])])[0])).toEqual([2 ** 24 + 2]);
  });

  it('empty batches and channels', () => {
    expect(run('Conv', [range([0, 2, 4, 4]), range([3, 2, 3, 3])])[0].dims).toEqual([0, 3, 2, 2]);
    const noInput = run('Conv', [range([1, 0, 2, 2]), range([1, 0, 1, 1]), f32([7])])[0];
    expect(list(noInput)).toEqual([7, 7, 7, 7]);
  });

  it('refuses weights that do not fit', () => {
    const x = range([1, 4, 3, 3]);
    expect(() => run('Conv', [x, range([2, 3, 1, 1])])).toThrow(ModelFormatError);
    expect(() => run('Conv', [x, range([3, 2, 1, 1])], { group: 2 })).toThrow(ModelFormatError);
    expect(() => run('Conv', [x, range([2, 4, 1, 1]), range([3])])).toThrow(/bias/);
    expect(() => run('Conv', [x, range([2, 4, 1])])).toThrow(/rank/);
    expect(() => run('Conv', [range([1, 4, 3, 3], 'int32'), x])).toThrow(UnsupportedOpError);
  });

  it('ConvInteger subtracts a zero point per output channel; padding adds nothing', () => {
    const x = new Tensor('uint8', [10, 20, 30], [1, 1, 3]);
    const w = new Tensor('uint8', [1, 2, 3, 4], [2, 1, 2]);
    const zeros = [new Tensor('uint8', [10], []), new Tensor('uint8', [1, 2])];
    const [y] = run('ConvInteger', [x, w, ...zeros], { pads: [1, 0] });
    // x - 10 = 0 10 20; w - zero = [0 1] and [1 2]
    expect([y.type, list(y)]).toEqual(['int32', [0, 10, 20, 0, 20, 50]]);
  });

  it('QLinearConv rounds ties to even and saturates', () => {
    const x = new Tensor('uint8', [1, 3, 5, 200], [1, 1, 4]);
    const w = new Tensor('int8', [1], [1, 1, 1]);
    const scalar = (v: number) => f32([v], []);
    const u8 = (v: number) => new Tensor('uint8', [v], []);
    const [y] = run('QLinearConv', [x, scalar(1), u8(0), w, scalar(1), new Tensor('int8', [0]), scalar(2), u8(200)]);
    expect(list(y)).toEqual([200, 202, 202, 255]);
    const left = [x, undefined, u8(0), w, scalar(1), new Tensor('int8', [0]), scalar(2), u8(200)];
    expect(() => run('QLinearConv', left)).toThrow(/input 1 is missing/);
  });
});

describe('pools', () => {
  it('MaxPool gives indices over the whole tensor, rows first or columns first', () => {
    const x = f32([1, 9, 2, 8, 3, 7, 4, 6, 5, 0, 1, 2], [2, 1, 2, 3]);
    const attrs = { kernel_shape: [2, 2] };
    const [y, at] = run('MaxPool', [x], attrs, 2);
    expect([list(y), list(at)]).toEqual([
      [9, 9, 6, 6],
      [1, 1, 7, 7],
    ]);
    expect(list(run('MaxPool', [x], { ...attrs, storage_order: 1 }, 2)[1])).toEqual([2, 2, 8, 8]);
  });

  it('MaxPool keeps NaN and -Infinity, and pads integers with nothing', () => {
    const x = f32([Number.NEGATIVE_INFINITY, Number.NaN, 1], [1, 1, 3]);
    expect(list(run('MaxPool', [x], { kernel_shape: [1] })[0])).toEqual(list(x));
    expect(list(run('MaxPool', [x], { kernel_shape: [3] })[0])).toEqual([Number.NaN]);
    const bytes = new Tensor('int8', [-5, -7], [1, 1, 2]);
    expect(list(run('MaxPool', [bytes], { kernel_shape: [3], pads: [1, 1] })[0])).toEqual([-5, -5]);
  });

  it('AveragePool counts padding when asked, but never what ceil_mode reaches beyond it', () => {
    const x = f32([1, 2, 3, 4], [1, 1, 4]);
    const attrs = { kernel_shape: [3], strides: [2], pads: [1, 0], ceil_mode: 1 };
    expect(list(run('AveragePool', [x], attrs)[0])).toEqual([1.5, 3]);
    expect(list(run('AveragePool', [x], { ...attrs, count_include_pad: 1 })[0])).toEqual([1, 3]);
    const beyond = { kernel_shape: [3], strides: [3], ceil_mode: 1, count_include_pad: 1 };
    expect(list(run('AveragePool', [x], beyond)[0])).toEqual([2, 4]);
  });

  it('LpPool, and the global pools over any number of dimensions', () => {
    expect(list(run('LpPool', [f32([3, -4, 0], [1, 1, 3])], { kernel_shape: [2] })[0])).toEqual([5, 4]);
    const x = f32([3, -4, 6, 8], [1, 2, 1, 2, 1, 1]);
    expect(run('GlobalMaxPool', [x])[0].dims).toEqual([1, 2, 1, 1, 1, 1]);
    expect(list(run('GlobalMaxPool', [x])[0])).toEqual([3, 8]);
    expect(list(run('GlobalAveragePool', [x])[0])).toEqual([-0.5, 7]);
    expect(list(run('GlobalLpPool', [x])[0])).toEqual([5, 10]);
    expect(list(run('GlobalAveragePool', [range([1, 2, 0])])[0])).toEqual([Number.NaN, Number.NaN]);
  });
});
