import { describe, expect, it } from 'vitest';
import { ModelFormatError, UnsupportedOpError } from '../src/errors.ts';
import type { Attr } from '../src/graph/ir.ts';
import { Tensor } from '../src/tensor.ts';
import { close, f32, i64, list, range, run } from './support/ops.ts';

describe('normalisations', () => {
  it('BatchNormalization', () => {
    const p = [f32([2, 1]), f32([1, 0]), f32([1, 3]), f32([4, 9])];
    close(run('BatchNormalization', [f32([1, 5, 3, 9], [1, 2, 2]), ...p], { epsilon: 0 })[0], [1, 5, 0, 2]);
    expect(() => run('BatchNormalization', [range([1, 3, 2]), ...p])).toThrow(ModelFormatError);
    expect(() => run('BatchNormalization', [range([1, 2, 2]), ...p], { training_mode: 1 })).toThrow(/training_mode/);
  });

  it('InstanceNormalization and GroupNormalization', () => {
    const x = f32([1, 3, 10, 30], [1, 2, 2]);
    const unit = [f32([1, 2]), f32([0, 1])];
    close(run('InstanceNormalization', [x, ...unit], { epsilon: 0 })[0], [-1, 1, -1, 3]);
    const one = f32([1, 1, 1, 5], [1, 4, 1]);
    const four = [f32([1, 1, 1, 2]), f32([0, 0, 0, 1])];
    close(run('GroupNormalization', [one, ...four], { num_groups: 2, epsilon: 1 })[0], [
      0,
      0,
      -2 / 5 ** 0.5,
      1 + 4 / 5 ** 0.5,
    ]);
    for (const num_groups of [3, 0, -2]) {
      expect(() => run('GroupNormalization', [one, ...four], { num_groups })).toThrow(ModelFormatError);
    }
  });

  it('LayerNormalization gives mean and inverse deviation, and broadcasts its parameters', () => {
    const x = f32([1, 3, 2, 6], [2, 2]);
    const [y, mean, inverse] = run('LayerNormalization', [x, f32([1, 2]), f32([0, 1])], { epsilon: 0 }, 3);
    close(y, [-1, 3, -1, 3]);
    expect([mean.dims, list(mean), list(inverse)]).toEqual([
      [2, 1],
      [2, 4],
      [1, 0.5],
    ]);
    close(run('LayerNormalization', [x, f32([1, 2], [2, 1])], { epsilon: 0 })[0], [-1, 1, -2, 2]);
    close(run('LayerNormalization', [x, f32([1, 2], [1, 2])], { epsilon: 0, axis: 0 })[0], [
      -2 / 3.5 ** 0.5,
      0,
      -1 / 3.5 ** 0.5,
      6 / 3.5 ** 0.5,
    ]);
    expect(run('LayerNormalization', [range([0, 3]), range([3])])[0].dims).toEqual([0, 3]);
  });

  it('RMSNormalization, LpNormalization, LRN, MeanVarianceNormalization', () => {
    close(run('RMSNormalization', [f32([3, 4], [1, 2]), f32([1, 10])], { epsilon: 0 })[0], [
      3 / 12.5 ** 0.5,
      40 / 12.5 ** 0.5,
    ]);
    const x = f32([3, 0, 4, 0], [2, 2]);
    close(run('LpNormalization', [x], { axis: 0 })[0], [0.6, 0, 0.8, 0]);
    close(run('LpNormalization', [x], { axis: 0, p: 1 })[0], [3 / 7, 0, 4 / 7, 0]);
    const channels = f32([1, 2, 3], [1, 3, 1]);
    close(run('LRN', [channels], { size: 2, alpha: 2, beta: 1, bias: 1 })[0], [1 / 6, 2 / 14, 3 / 10]);
    close(run('MeanVarianceNormalization', [f32([1, 3, 5, 5], [2, 2])], { axes: [1] })[0], [-1, 1, 0, 0]);
  });

  it('a large mean costs nothing', () => {
    const x = f32([2 ** 20, 2 ** 20 + 1], [1, 2]);
    close(run('LayerNormalization', [x, f32([1, 1])], { epsilon: 0 })[0], [-1, 1]);
  });
});

describe('softmax', () => {
  it('along any axis, of any size of value', () => {
    const x = f32([0, 1000, Math.log(3), 1000], [2, 2]);
    close(run('Softmax', [x], { axis: 0 })[0], [0.25, 0.5, 0.75, 0.5]);
    close(run('LogSoftmax', [x], { axis: 0 })[0], [Math.log(0.25), Math.log(0.5), Math.log(0.75), Math.log(0.5)]);
    expect(list(run('Hardmax', [x], { axis: 0 })[0])).toEqual([0, 1, 1, 0]);
    expect(run('Softmax', [range([2, 0])])[0].dims).toEqual([2, 0]);
    expect(list(run('Softmax', [f32([5], [])])[0])).toEqual([1]);
    expect(() => run('Softmax', [x], { axis: 2 })).toThrow(ModelFormatError);
  });

  it('one NaN spoils its line and no other', () => {
    const [y] = run('Softmax', [f32([1, Number.NaN, 2, 2], [2, 2])]);
    expect(list(y)).toEqual([Number.NaN, Number.NaN, 0.5, 0.5]);
  });
});

describe('matrix products', () => {
  it('MatMul broadcasts batches and knows vectors', () => {
    const a = range([2, 1, 2, 3]);
    const b = range([3, 3, 2]);
    const [y] = run('MatMul', [a, b]);
    expect(y.dims).toEqual([2, 3, 2, 2]);
    // The last batch: [[6 7 8], [9 10 11]] x [[12 13], [14 15], [16 17]]
    expect(list(y).slice(-4)).toEqual([298, 319, 424, 454]);
    expect(run('MatMul', [range([3]), range([3])])[0].dims).toEqual([]);
    expect(list(run('MatMul', [range([3]), range([3])])[0])).toEqual([5]);
    expect(run('MatMul', [range([2, 3, 4]), range([4])])[0].dims).toEqual([2, 3]);
    expect(list(run('MatMul', [range([2, 0]), range([0, 2])])[0])).toEqual([0, 0, 0, 0]);
    expect(() => run('MatMul', [range([2, 3]), range([2, 3])])).toThrow(ModelFormatError);
    expect(() => run('MatMul', [range([2, 2, 3]), range([3, 3, 2])])).toThrow(ModelFormatError);
    expect(() => run('MatMul', [range([]), range([3])])).toThrow(ModelFormatError);
    expect(() => run('MatMul', [range([3]), range([3], 'int64')])).toThrow(/do not mix/);
  });

  it('MatMul of integers is exact, modulo their width', () => {
    const big = (type: 'int64' | 'uint64', v: bigint[]) => new Tensor(type, v, [1, 2]);
    const [y] = run('MatMul', [big('int64', [2n ** 53n + 1n, 1n]), new Tensor('int64', [1n, 1n], [2, 1])]);
    expect([...y.data]).toEqual([2n ** 53n + 2n]);
    const [z] = run('MatMul', [big('uint64', [2n ** 63n, 3n]), new Tensor('uint64', [2n, 1n], [2, 1])]);
    expect([...z.data]).toEqual([3n]);
    const [w] = run('MatMul', [new Tensor('int32', [123456789], [1, 1]), new Tensor('int32', [987654321], [1, 1])]);
    expect(list(w)).toEqual([Math.imul(123456789, 987654321)]);
  });

  it('Gemm transposes, scales, and broadcasts C', () => {
    const a = f32([1, 2, 3, 4], [2, 2]);
    const b = f32([1, 10, 100, 1000], [2, 2]);
    expect(list(run('Gemm', [a, b])[0])).toEqual([201, 2010, 403, 4030]);
    expect(list(run('Gemm', [a, b], { transA: 1 })[0])).toEqual([301, 3010, 402, 4020]);
    expect(list(run('Gemm', [a, b], { transB: 1 })[0])).toEqual([21, 2100, 43, 4300]);
    const c = f32([1, 2], [2, 1]);
    expect(list(run('Gemm', [a, b, c], { alpha: 2, beta: -1 })[0])).toEqual([401, 4019, 804, 8058]);
    expect(() => run('Gemm', [a, b, range([3])])).toThrow(ModelFormatError);
  });

  it('MatMulInteger and QLinearMatMul take zero points and scales per row and column', () => {
    const a = new Tensor('uint8', [11, 7, 3, 10], [2, 2]);
    const b = new Tensor('uint8', [1, 4, 2, 5], [2, 2]);
    const zeros = [new Tensor('uint8', [7, 3]), new Tensor('uint8', [1, 2])];
    // [[4 0], [0 7]] x [[0 2], [1 3]]
    expect(list(run('MatMulInteger', [a, b, ...zeros])[0])).toEqual([0, 8, 7, 21]);
    const [y] = run('QLinearMatMul', [
      a,
      f32([1, 2]),
      zeros[0],
      b,
      f32([0.5]),
      zeros[1],
      f32([1]),
      new Tensor('uint8', [250]),
    ]);
    expect(list(y)).toEqual([250, 254, 255, 255]);
  });

  it.each([
    ['ij->ji', [[2, 3]], [3, 2], [0, 3, 1, 4, 2, 5]],
    ['ii', [[3, 3]], [], [12]],
    ['ii->i', [[3, 3]], [3], [0, 4, 8]],
    [
      'ij,jk',
      [
        [2, 2],
        [2, 2],
      ],
      [2, 2],
      [2, 3, 6, 11],
    ],
    [
      'b...ij,...j->b...i',
      [
        [2, 1, 1, 2],
        [2, 2],
      ],
      [2, 2, 1],
      [1, 3, 3, 13],
    ],
    ['...->...', [[2, 2]], [2, 2], [0, 1, 2, 3]],
    ['i,i,i->', [[3], [3], [3]], [], [9]],
    ['i,j->', [[0], [2]], [], [0]],
    [' a b , b -> a', [[2, 2], [2]], [2], [1, 3]],
  ])('Einsum %s', (equation, shapes, dims, want) => {
    const [y] = run(
      'Einsum',
      (shapes as number[][]).map((s) => range(s)),
      { equation },
    );
    expect([y.dims, list(y)]).toEqual([dims, want]);
  });

  it('Einsum refuses what does not fit', () => {
    for (const equation of ['ij,jk', 'ijk', 'i', 'ij->ijk', 'ij->ii', 'ii']) {
      expect(() => run('Einsum', [range([2, 3])], { equation }), equation).toThrow(ModelFormatError);
    }
  });

  it('Det', () => {
    const [y] = run('Det', [f32([0, 2, 3, 4, 1, 2, 2, 4], [2, 2, 2])]);
    close(y, [-6, 0]);
    expect(list(run('Det', [range([0, 0])])[0])).toEqual([1]);
  });
});

describe('Resize', () => {
  const line = f32([1, 2, 3, 4], [4]);
  const resize = (
    x: Tensor,
    attrs: Record<string, Attr>,
    by: { scales?: number[]; sizes?: number[]; roi?: number[] },
  ) => run('Resize', [x, by.roi && f32(by.roi), by.scales && f32(by.scales), by.sizes && i64(by.sizes)], attrs)[0];

  it.each([
    ['half_pixel', [1, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4]],
    ['asymmetric', [1, 1.5, 2, 2.5, 3, 3.5, 4, 4]],
    ['align_corners', [0, 1, 2, 3, 4, 5, 6, 7].map((i) => 1 + (i * 3) / 7)],
  ])('linear, %s', (mode, want) => {
    close(resize(line, { mode: 'linear', coordinate_transformation_mode: mode }, { scales: [2] }), want);
  });

  it('scales count the length before it was rounded down', () => {
    const x = f32([1, 2, 3, 4, 5, 6, 7, 8], [1, 1, 2, 4]);
    const attrs = { mode: 'linear', coordinate_transformation_mode: 'align_corners' };
    // ONNX's own example: 2.4 columns long, so that the second lies at 3 / 1.4.
    close(resize(x, attrs, { scales: [1, 1, 0.6, 0.6] }), [1, 1 + 3 / 1.4]);
  });

  it.each([
    ['round_prefer_floor', [1, 1, 2, 2, 3, 3, 4, 4]],
    ['round_prefer_ceil', [1, 2, 2, 3, 3, 4, 4, 4]],
    ['floor', [1, 1, 2, 2, 3, 3, 4, 4]],
    ['ceil', [1, 2, 2, 3, 3, 4, 4, 4]],
  ])('nearest, %s', (nearest_mode, want) => {
    const attrs = { nearest_mode, coordinate_transformation_mode: 'asymmetric' };
    expect(list(resize(line, attrs, { scales: [2] }))).toEqual(want);
  });

  it('cubic keeps constants, and is exact on the inputs', () => {
    close(resize(f32([5, 5, 5]), { mode: 'cubic' }, { sizes: [7] }), new Array(7).fill(5));
    const y = resize(line, { mode: 'cubic', coordinate_transformation_mode: 'align_corners' }, { sizes: [7] });
    close(
      new Tensor(
        'float32',
        [0, 2, 4, 6].map((i) => y.data[i] as number),
      ),
      [1, 2, 3, 4],
    );
  });

  it('antialiasing averages what falls together', () => {
    close(resize(f32([0, 0, 8, 0, 0, 0]), { mode: 'linear', antialias: 1 }, { sizes: [2] }), [16 / 9, 8 / 9]);
  });

  it('crops, and extrapolates outside', () => {
    const attrs = { mode: 'linear', coordinate_transformation_mode: 'tf_crop_and_resize', extrapolation_value: -1 };
    close(resize(line, attrs, { sizes: [3], roi: [1 / 3, 1] }), [2, 3, 4]);
    close(resize(line, attrs, { sizes: [3], roi: [0.5, 1.5] }), [2.5, 4, -1]);
  });

  it('keeps the aspect ratio, over the axes named', () => {
    const x = range([1, 2, 4]);
    const attrs = { axes: [-1, 1], keep_aspect_ratio_policy: 'not_larger' };
    expect(resize(x, attrs, { sizes: [8, 6] }).dims).toEqual([1, 4, 8]);
    expect(resize(x, { ...attrs, keep_aspect_ratio_policy: 'not_smaller' }, { sizes: [8, 6] }).dims).toEqual([
      1, 6, 12,
    ]);
  });

  it('nearest takes any type; the rest is refused by name', () => {
    const x = new Tensor('uint8', [1, 2], [2]);
    expect(list(resize(x, {}, { scales: [2] }))).toEqual([1, 1, 2, 2]);
    expect(() => resize(x, { mode: 'linear' }, { scales: [2] })).toThrow(UnsupportedOpError);
    expect(() => resize(x, { mode: 'area' }, { scales: [2] })).toThrow(ModelFormatError);
    expect(() => resize(x, {}, {})).toThrow(ModelFormatError);
    expect(() => resize(range([0]), {}, { sizes: [2] })).toThrow(ModelFormatError);
    expect(resize(range([0, 2]), {}, { scales: [2, 2] }).dims).toEqual([0, 4]);
  });

  it('an output length is computed in float32, as scales are', () => {
    expect(resize(range([10]), {}, { scales: [0.7] }).dims).toEqual([7]);
  });
});
