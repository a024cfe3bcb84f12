// Elementwise, cast and shape operators against references written from numpy's definitions, index by index.
import { describe, expect, test } from 'vitest';
import { ModelFormatError, UnsupportedOpError } from '../src/errors.ts';
import type { Attr } from '../src/graph/ir.ts';
import { erf } from '../src/ops/elementwise.ts';
import { type DType, Tensor } from '../src/tensor.ts';
import { at, built, f32, randomFrom, range, run } from './support/ops.ts';

type Args = readonly (Tensor | undefined)[];

const one = (op: string, inputs: Args, attrs?: Record<string, Attr>) => run(op, [...inputs], attrs)[0];
const i64 = (...data: (number | bigint)[]) => new Tensor('int64', data.map(BigInt));
const i32 = (...data: number[]) => new Tensor('int32', data);
const bool = (...data: number[]) => new Tensor('bool', data);
const random = randomFrom(7);
const randomDims = (rank: number, from = 0) => Array.from({ length: rank }, () => from + random(4));
/** The element that a broadcast tensor shows at an index. */
const shown = (t: Tensor, index: readonly number[]) => {
  const own = index.slice(index.length - t.dims.length);
  return at(
    t,
    own.map((i, d) => (t.dims[d] === 1 ? 0 : i)),
  );
};

describe('elementwise', () => {
  test('broadcasting, ranks 0 to 4, with zeros and ones', () => {
    for (let round = 0; round < 200; round++) {
      const dims = randomDims(random(5));
      const make = () => range(dims.slice(random(dims.length + 1)).map((n) => (random(3) ? n : 1)));
      const [a, b] = [make(), make()];
      const y = one('Sub', [a, b]);
      const rank = Math.max(a.dims.length, b.dims.length);
      const n = (t: Tensor, d: number) => t.dims[t.dims.length - rank + d] ?? 1;
      expect(y.dims).toEqual(Array.from({ length: rank }, (_, d) => (n(a, d) === 1 ? n(b, d) : n(a, d))));
      expect([...y.data]).toEqual(built(y, (i) => Math.fround(Number(shown(a, i)) - Number(shown(b, i)))));
    }
  });

  test('what does not broadcast, or is of another type, is refused', () => {
    expect(() => one('Add', [range([2, 3]), range([2])])).toThrow(
      /node "n" \(Add\): shapes \[2,3\] and \[2\] do not broadcast/,
    );
    expect(() => one('Add', [f32([1]), i64(1)])).toThrow(/input types float32, int64 differ/);
    expect(() => one('Add', [f32([1])])).toThrow(/input 1 is missing/);
    expect(() => one('Add', [bool(1), bool(1)])).toThrow(UnsupportedOpError);
    expect(() => one('Sqrt', [i64(4)])).toThrow(UnsupportedOpError);
    expect(() => one('Max', [])).toThrow(ModelFormatError);
  });

  test('64-bit integers are exact and wrap', () => {
    const big = 2n ** 62n + 1n;
    expect(one('Add', [i64(big), i64(big)]).data).toEqual(new BigInt64Array([BigInt.asIntN(64, 2n * big)]));
    expect(one('Mul', [i64(3037000500), i64(3037000501)]).data[0]).toBe(BigInt.asIntN(64, 3037000500n * 3037000501n));
    expect(one('Div', [i64(-7, 7, 7), i64(2, -2, 0)]).data).toEqual(new BigInt64Array([-3n, -3n, 0n]));
    expect(one('Abs', [i64(-big)]).data[0]).toBe(big);
    expect(one('Pow', [i64(3, -2, 2), i64(39, 63, 64)]).data).toEqual(new BigInt64Array([3n ** 39n, -(2n ** 63n), 0n]));
    expect(one('Sign', [i64(-5, 0, 9)]).data).toEqual(new BigInt64Array([-1n, 0n, 1n]));
    expect(one('Relu', [i64(-5, 9)]).data).toEqual(new BigInt64Array([0n, 9n]));
    expect(one('Max', [i64(big, 1), i64(big + 1n, 0), i64(5)]).data).toEqual(new BigInt64Array([big + 1n, 5n]));
    expect(one('Clip', [i64(-9, big), i64(-1), i64(7)]).data).toEqual(new BigInt64Array([-1n, 7n]));
    expect(one('Equal', [i64(big), i64(big - 1n)]).data[0]).toBe(0);
  });

  test('32-bit integers wrap, also above 2^53', () => {
    expect(one('Mul', [i32(0x7fffffff), i32(0x7fffffff)]).data[0]).toBe(1);
    const u = (x: number) => new Tensor('uint32', [x]);
    expect(one('Mul', [u(0xffffffff), u(0xfffffffd)]).data[0]).toBe(3);
    expect(one('Pow', [i32(3, -3), i32(21, 3)]).data).toEqual(Int32Array.of(Number(BigInt.asIntN(32, 3n ** 21n)), -27));
    expect(one('Pow', [u(3), u(21)]).data[0]).toBe(Number(BigInt.asUintN(32, 3n ** 21n)));
    expect(one('Div', [i32(-7, 7, 5), i32(2, -2, 0)]).data).toEqual(Int32Array.of(-3, -3, 0));
  });

  test.each([
    [0, [2, -2, 2, -2, 0], [1, -1, -1, 1, 0]],
    [1, [2, -2, 2, -2, 0], [1, 1, -1, -1, 0]],
  ])('Mod, fmod=%i', (fmod, b, want) => {
    const a = [5, 5, -5, -5, 0].map((x, i) => (b[i] ? x : 3));
    const fixed = fmod ? want : [1, -1, 1, -1, 0];
    expect([...one('Mod', [i64(...a), i64(...b)], { fmod }).data].map(Number)).toEqual(fixed);
    expect([...one('Mod', [i32(...a), i32(...b)], { fmod }).data]).toEqual(fixed);
    expect([...one('Mod', [f32(a.slice(0, 4)), f32(b.slice(0, 4))], { fmod }).data]).toEqual(fixed.slice(0, 4));
  });

  test('NaN and infinities', () => {
    const x = f32([Number.NaN, Infinity, -Infinity, -0, 1]);
    const of = (op: string, ...more: Tensor[]) => [...one(op, [x, ...more]).data];
    const zero = f32([0]);
    expect(of('Max', zero)).toEqual([Number.NaN, Infinity, 0, 0, 1]);
    expect([...one('Min', [zero, x]).data]).toEqual([Number.NaN, 0, -Infinity, -0, 0]);
    expect(of('Relu')).toEqual([Number.NaN, Infinity, 0, 0, 1]);
    expect(of('Clip', f32([-2], []), f32([2], []))).toEqual([Number.NaN, 2, -2, -0, 1]);
    expect(of('Sign')).toEqual([Number.NaN, 1, -1, -0, 1]);
    expect(of('IsNaN')).toEqual([1, 0, 0, 0, 0]);
    expect(of('IsInf')).toEqual([0, 1, 1, 0, 0]);
    expect([...one('IsInf', [x], { detect_positive: 0 }).data]).toEqual([0, 0, 1, 0, 0]);
    expect(of('Equal', x)).toEqual([0, 1, 1, 1, 1]);
    expect(of('Softplus')).toEqual([Number.NaN, Infinity, 0, Math.fround(Math.LN2), Math.fround(Math.log1p(Math.E))]);
    expect(of('Sigmoid')).toEqual([Number.NaN, 1, 0, 0.5, Math.fround(1 / (1 + Math.exp(-1)))]);
    expect(of('HardSigmoid')).toEqual([Number.NaN, 1, 0, 0.5, Math.fround(0.7)]);
    expect(of('Erf')).toEqual([Number.NaN, 1, -1, -0, Math.fround(0.8427007929497149)]);
  });

  test('halves round to even', () => {
    const x = f32([0.5, 1.5, 2.5, -0.5, -2.5, 1e10]);
    expect([...one('Round', [x]).data]).toEqual([0, 2, 2, -0, -2, 1e10]);
  });

  test('erf to 15 digits', () => {
    // Abramowitz & Stegun, table 7.1.
    const table = { 0.1: 0.1124629160182849, 0.5: 0.5204998778130465, 1: 0.8427007929497149, 2: 0.9953222650189527 };
    for (const [x, y] of Object.entries(table)) {
      expect(Math.abs(erf(Number(x)) - y)).toBeLessThan(4e-16);
      expect(erf(-Number(x))).toBe(-erf(Number(x)));
    }
    expect(Math.abs(erf(3) - (1 - 2.209049699858544e-5))).toBeLessThan(4e-16);
  });

  test('float32 is rounded once, float16 from the exact result', () => {
    const [a, b] = [16777216, 1.5].map((x) => new Tensor('float32', [x], []));
    expect(one('Sum', [a, b, b]).data[0]).toBe(Math.fround(16777219));
    // 1 + 2^-11 + 2^-24 is above the middle between two halves, and float32 would put it in the middle.
    const h = (bits: number) => new Tensor('float16', [bits]);
    expect(one('Add', [h(0x3c00), h(0x1000)]).data[0]).toBe(0x3c00);
    expect(one('Sum', [h(0x3c00), h(0x1000), h(0x0001)]).data[0]).toBe(0x3c01);
    expect(one('Exp', [h(0x4a00)]).data[0]).toBe(0x7c00);
  });

  test('bits', () => {
    const u8 = (...x: number[]) => new Tensor('uint8', x);
    expect([...one('BitwiseNot', [u8(1, 255)]).data]).toEqual([254, 0]);
    expect([...one('BitwiseAnd', [i64(-1), i64(2 ** 40)]).data]).toEqual([2n ** 40n]);
    expect([...one('BitwiseXor', [i32(5), i32(-1)]).data]).toEqual([-6]);
    expect([...one('BitShift', [u8(129, 1, 1), u8(1, 7, 8)], { direction: 'LEFT' }).data]).toEqual([2, 128, 0]);
    const u64 = new Tensor('uint64', [2n ** 63n]);
    expect([...one('BitShift', [u64, new Tensor('uint64', [63n])], { direction: 'RIGHT' }).data]).toEqual([1n]);
    expect(() => one('BitShift', [u8(1), u8(1)], { direction: 'UP' })).toThrow(ModelFormatError);
  });

  test('Where takes from both sides, of any type', () => {
    expect([...one('Where', [bool(1, 0), i64(1), i64(5, 6)]).data]).toEqual([1n, 6n]);
    expect([...one('Where', [bool(1, 0), bool(1), bool(0)]).data]).toEqual([1, 0]);
    expect(() => one('Where', [bool(1), f32([1]), i64(1)])).toThrow(ModelFormatError);
  });
});

describe('Cast', () => {
  const to = (x: Tensor, type: DType) => [...one('Cast', [x], { to: type }).data];
  test('floats to integers: towards zero, NaN is 0', () => {
    expect(to(f32([1.9, -1.9, Number.NaN]), 'int32')).toEqual([1, -1, 0]);
    expect(to(f32([1.9, -1.9, Number.NaN, Infinity]), 'int64')).toEqual([1n, -1n, 0n, 0n]);
    expect(to(f32([300.5, -1]), 'uint8')).toEqual([44, 255]);
  });
  test('integers wrap and widen', () => {
    expect(to(i64(2 ** 32 + 5, -1), 'int32')).toEqual([5, -1]);
    expect(to(i64(-1), 'uint64')).toEqual([2n ** 64n - 1n]);
    expect(to(new Tensor('uint64', [2n ** 63n]), 'float64')).toEqual([2 ** 63]);
    expect(to(i32(-7), 'int64')).toEqual([-7n]);
  });
  test('bool', () => {
    expect(to(f32([0, -0, 0.1, Number.NaN]), 'bool')).toEqual([0, 0, 1, 1]);
    expect(to(i64(0, 2 ** 40), 'bool')).toEqual([0, 1]);
    expect(to(bool(1, 0), 'float16')).toEqual([0x3c00, 0]);
    expect(to(bool(1, 0), 'int64')).toEqual([1n, 0n]);
  });
  test('float16: one rounding, from float64 too', () => {
    // Just above the middle of 1 and its successor: by way of float32 this would round down.
    expect(to(new Tensor('float64', [1 + 2 ** -11 + 2 ** -40]), 'float16')).toEqual([0x3c01]);
    expect(to(new Tensor('float16', [0x7bff, 0xfc00]), 'float32')).toEqual([65504, -Infinity]);
  });
  test('CastLike, and types there are no tensors of', () => {
    expect(one('CastLike', [f32([1.5]), i64(0)])).toEqual(i64(1));
    expect(() => to(f32([1]), 'bfloat16' as DType)).toThrow(UnsupportedOpError);
    expect(() => to(f32([1]), 'constructor' as DType)).toThrow(UnsupportedOpError);
  });
});

describe('shapes', () => {
  const dims = (op: string, inputs: Args, attrs?: Record<string, Attr>) => one(op, inputs, attrs).dims;
  const x = range([2, 3, 4]);

  test('Reshape', () => {
    const to = (...d: number[]) => dims('Reshape', [x, i64(...d)]);
    expect(to(4, 6)).toEqual([4, 6]);
    expect(to(0, -1)).toEqual([2, 12]);
    expect(to(-1, 0, 2)).toEqual([4, 3, 2]);
    expect(dims('Reshape', [range([0, 3]), i64(0, -1)])).toEqual([0, 0]);
    expect(dims('Reshape', [range([0, 3]), i64(3, 0)], { allowzero: 1 })).toEqual([3, 0]);
    for (const bad of [
      [5, 5],
      [-1, 5],
      [-1, -1],
      [2, 3, 4, 0],
      [-2, 3, -4],
    ])
      expect(() => to(...bad), `${bad}`).toThrow(ModelFormatError);
  });

  test('Flatten, Squeeze, Unsqueeze', () => {
    expect(dims('Flatten', [x])).toEqual([2, 12]);
    expect(dims('Flatten', [x], { axis: 0 })).toEqual([1, 24]);
    expect(dims('Flatten', [x], { axis: 3 })).toEqual([24, 1]);
    expect(dims('Flatten', [x], { axis: -1 })).toEqual([6, 4]);
    expect(() => dims('Flatten', [x], { axis: 4 })).toThrow(ModelFormatError);
    expect(dims('Squeeze', [range([1, 2, 1])])).toEqual([2]);
    expect(dims('Squeeze', [range([1, 2, 1]), i64(-1)])).toEqual([1, 2]);
    expect(() => dims('Squeeze', [x, i64(0)])).toThrow(ModelFormatError);
    expect(dims('Unsqueeze', [x, i64(-1, 0)])).toEqual([1, 2, 3, 4, 1]);
    expect(() => dims('Unsqueeze', [x, i64(0, -5)])).toThrow(/name one twice/);
    expect(() => dims('Unsqueeze', [x, i64(4)])).toThrow(/axis 4 is out of range for rank 4/);
  });

  test('Shape and Size', () => {
    expect([...one('Shape', [x]).data]).toEqual([2n, 3n, 4n]);
    expect([...one('Shape', [x], { start: -2 }).data]).toEqual([3n, 4n]);
    expect([...one('Shape', [x], { start: 1, end: -1 }).data]).toEqual([3n]);
    expect([...one('Shape', [x], { start: 2, end: 1 }).data]).toEqual([]);
    expect([...one('Shape', [x], { start: -99, end: 99 }).data]).toEqual([2n, 3n, 4n]);
    expect(one('Size', [x])).toEqual(new Tensor('int64', [24n], []));
  });

  test('Expand broadcasts both ways', () => {
    const y = one('Expand', [range([3, 1]), i64(2, 1, 2)]);
    expect(y.dims).toEqual([2, 3, 2]);
    expect([...y.data]).toEqual([0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]);
    expect(dims('Expand', [range([3, 4]), i64(1, 1)])).toEqual([3, 4]);
    expect(() => dims('Expand', [range([3]), i64(2)])).toThrow(ModelFormatError);
    expect(() => dims('Expand', [range([1]), i64(-1)])).toThrow(/would give a value of dimensions \[-1\]/);
    expect(() => dims('Expand', [range([1]), i64(2 ** 40)])).toThrow(ModelFormatError);
  });

  test('Range, ConstantOfShape, EyeLike', () => {
    const s = (x: number) => f32([x], []);
    expect([...one('Range', [s(1), s(2.1), s(0.5)]).data]).toEqual([1, 1.5, 2]);
    expect([...one('Range', [i64(10), i64(4), i64(-3)]).data]).toEqual([10n, 7n]);
    expect(one('Range', [i64(1), i64(1), i64(3)]).size).toBe(0);
    expect(() => one('Range', [i64(1), i64(2), i64(0)])).toThrow(/delta is 0/);
    expect(() => one('Range', [i64(1), s(2), i64(1)])).toThrow(ModelFormatError);
    expect(one('ConstantOfShape', [i64(2, 1)], { value: i64(7) })).toEqual(new Tensor('int64', [7n, 7n], [2, 1]));
    expect(one('ConstantOfShape', [i64()])).toEqual(f32([0], []));
    expect(() => one('ConstantOfShape', [i64(2)], { value: i64(7, 8) })).toThrow(ModelFormatError);
    expect([...one('EyeLike', [range([2, 3])], { k: -1 }).data]).toEqual([0, 0, 0, 1, 0, 0]);
  });

  test('Dropout does nothing but in training', () => {
    const [y, mask] = run('Dropout', [x, f32([0.5], []), bool(0)], {}, 2);
    expect(y).toEqual(x);
    expect([...mask.data].every((m) => m === 1)).toBe(true);
    expect(run('Dropout', [x, f32([0], []), bool(1)])[0]).toEqual(x);
    expect(() => run('Dropout', [x, f32([0.5], []), bool(1)])).toThrow(UnsupportedOpError);
    expect(() => run('Dropout', [x, undefined, bool(1)])).toThrow(UnsupportedOpError);
  });
});
