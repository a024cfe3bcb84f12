// Elementwise, shape, movement and reduction operators against references written from numpy's definitions, index by index.
import { describe, expect, test } from 'vitest';
import { ModelFormatError, UnsupportedOpError } from '../src/errors.ts';
import { evalNode, inferNode, opOf } from '../src/graph/infer.ts';
import type { Attr, Node } from '../src/graph/ir.ts';
import { erf } from '../src/ops/elementwise.ts';
import { OPS } from '../src/ops/index.ts';
import { type DType, Tensor } from '../src/tensor.ts';

type Args = readonly (Tensor | undefined)[];

function run(op: string, inputs: Args, attrs: Record<string, Attr> = {}, outputs = 1): Tensor[] {
  const names = Array.from({ length: outputs }, (_, i) => `y${i}`);
  const node: Node = { op, name: 'n', inputs: inputs.map((t, i) => (t ? `x${i}` : '')), outputs: names, attrs };
  const known = inputs.map((t) => t && { type: t.type, dims: t.dims, value: t });
  const def = opOf(node, OPS);
  const types = inferNode(def, node, known, (i) => inputs[i]!);
  return evalNode(def, node, inputs, types);
}
const one = (op: string, inputs: Args, attrs?: Record<string, Attr>) => run(op, inputs, attrs)[0];

const f32 = (data: number[], dims?: number[]) => new Tensor('float32', data, dims);
const i64 = (...data: (number | bigint)[]) => new Tensor('int64', data.map(BigInt));
const i32 = (...data: number[]) => new Tensor('int32', data);
const bool = (...data: number[]) => new Tensor('bool', data);

let seed = 7;
const random = (n: number) => Math.floor(((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32) * n);
const randomDims = (rank: number, from = 0) => Array.from({ length: rank }, () => from + random(4));
const size = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);
const iota = (dims: number[], type: DType = 'float32') => {
  const n = Array.from({ length: size(dims) }, (_, i) => i);
  return type === 'int64' ? new Tensor(type, n.map(BigInt), dims) : new Tensor(type, n, dims);
};

/** Every index of a shape, in row-major order. */
function* indices(dims: readonly number[]): Generator<number[]> {
  if (!dims.length) yield [];
  else for (let i = 0; i < dims[0]; i++) for (const rest of indices(dims.slice(1))) yield [i, ...rest];
}
const at = (t: Tensor, index: readonly number[]) => t.data[index.reduce((sum, i, d) => sum * t.dims[d] + i, 0)];
/** The element that a broadcast tensor shows at an index. */
const shown = (t: Tensor, index: readonly number[]) => {
  const own = index.slice(index.length - t.dims.length);
  return at(
    t,
    own.map((i, d) => (t.dims[d] === 1 ? 0 : i)),
  );
};
const built = (t: Tensor, f: (index: number[]) => unknown) => [...indices(t.dims)].map(f);

describe('elementwise', () => {
  test('broadcasting, ranks 0 to 4, with zeros and ones', () => {
    for (let round = 0; round < 200; round++) {
      const dims = randomDims(random(5));
      const make = () => iota(dims.slice(random(dims.length + 1)).map((n) => (random(3) ? n : 1)));
      const [a, b] = [make(), make()];
      const y = one('Sub', [a, b]);
      const rank = Math.max(a.dims.length, b.dims.length);
      const n = (t: Tensor, d: number) => t.dims[t.dims.length - rank + d] ?? 1;
      expect(y.dims).toEqual(Array.from({ length: rank }, (_, d) => (n(a, d) === 1 ? n(b, d) : n(a, d))));
      expect([...y.data]).toEqual(built(y, (i) => Math.fround(Number(shown(a, i)) - Number(shown(b, i)))));
    }
  });

  test('what does not broadcast, or is of another type, is refused', () => {
    expect(() => one('Add', [iota([2, 3]), iota([2])])).toThrow(
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
  const x = iota([2, 3, 4]);

  test('Reshape', () => {
    const to = (...d: number[]) => dims('Reshape', [x, i64(...d)]);
    expect(to(4, 6)).toEqual([4, 6]);
    expect(to(0, -1)).toEqual([2, 12]);
    expect(to(-1, 0, 2)).toEqual([4, 3, 2]);
    expect(dims('Reshape', [iota([0, 3]), i64(0, -1)])).toEqual([0, 0]);
    expect(dims('Reshape', [iota([0, 3]), i64(3, 0)], { allowzero: 1 })).toEqual([3, 0]);
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
    expect(dims('Squeeze', [iota([1, 2, 1])])).toEqual([2]);
    expect(dims('Squeeze', [iota([1, 2, 1]), i64(-1)])).toEqual([1, 2]);
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
    const y = one('Expand', [iota([3, 1]), i64(2, 1, 2)]);
    expect(y.dims).toEqual([2, 3, 2]);
    expect([...y.data]).toEqual([0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]);
    expect(dims('Expand', [iota([3, 4]), i64(1, 1)])).toEqual([3, 4]);
    expect(() => dims('Expand', [iota([3]), i64(2)])).toThrow(ModelFormatError);
    expect(() => dims('Expand', [iota([1]), i64(-1)])).toThrow(/would give a value of dimensions \[-1\]/);
    expect(() => dims('Expand', [iota([1]), i64(2 ** 40)])).toThrow(ModelFormatError);
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
    expect([...one('EyeLike', [iota([2, 3])], { k: -1 }).data]).toEqual([0, 0, 0, 1, 0, 0]);
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

describe('movement', () => {
  test('Slice is Python slicing, but that going down it starts at 0 at the lowest', () => {
    for (let round = 0; round < 500; round++) {
      const n = random(6);
      const [start, end] = [random(17) - 8, random(17) - 8];
      const step = (1 + random(3)) * (random(2) ? 1 : -1);
      // slice(start, end, step).indices(n)
      const [low, high] = step > 0 ? [0, n] : [-1, n - 1];
      const fix = (i: number, least = low) => Math.min(high, Math.max(least, i < 0 ? i + n : i));
      const want: number[] = [];
      for (let i = fix(start, 0); step > 0 ? i < fix(end) : i > fix(end); i += step) want.push(2 * i, 2 * i + 1);
      const y = one('Slice', [iota([n, 2]), i64(start), i64(end), i64(-2), i64(step)]);
      expect([...y.data], `[${start}:${end}:${step}] of ${n}`).toEqual(want);
    }
    const all = [i64(-(2n ** 63n)), i64(2n ** 63n - 1n)];
    expect([...one('Slice', [iota([3]), all[0], all[1]]).data]).toEqual([0, 1, 2]);
    expect([...one('Slice', [iota([3]), all[1], all[0], i64(0), i64(-1)]).data]).toEqual([2, 1, 0]);
    expect(() => one('Slice', [iota([3]), i64(0), i64(1), i64(0), i64(0)])).toThrow(/a step is 0/);
    expect(() => one('Slice', [iota([3]), i64(0), i64(1), i64(1)])).toThrow(/axis 1 is out of range/);
    expect(() => one('Slice', [iota([3]), i64(0, 0), i64(1)])).toThrow(ModelFormatError);
  });

  test('Transpose', () => {
    for (let round = 0; round < 50; round++) {
      const x = iota(randomDims(random(5)));
      const perm = [...x.dims.keys()].sort(() => random(3) - 1);
      const y = one('Transpose', [x], { perm });
      expect(y.dims).toEqual(perm.map((d) => x.dims[d]));
      const back = (i: number[]) => x.dims.map((_, d) => i[perm.indexOf(d)]);
      expect([...y.data]).toEqual(built(y, (i) => at(x, back(i))));
    }
    expect(one('Transpose', [iota([2, 3])]).dims).toEqual([3, 2]);
    for (const perm of [[0, 0], [0], [0, 2], [-1, 0]])
      expect(() => one('Transpose', [iota([2, 3])], { perm })).toThrow(ModelFormatError);
  });

  test('Concat and Split undo each other', () => {
    for (let round = 0; round < 100; round++) {
      const dims = randomDims(1 + random(3));
      const axis = random(dims.length);
      const parts = Array.from({ length: 1 + random(3) }, () =>
        iota(
          dims.map((n, d) => (d === axis ? random(4) : n)),
          'int64',
        ),
      );
      const whole = one('Concat', parts, { axis: axis - dims.length });
      expect([...whole.data]).toEqual(
        built(whole, (i) => {
          let k = i[axis];
          const part = parts.find((p) => {
            if (k < p.dims[axis]) return true;
            k -= p.dims[axis];
            return false;
          })!;
          return at(
            part,
            i.map((n, d) => (d === axis ? k : n)),
          );
        }),
      );
      const back = run('Split', [whole, i64(...parts.map((p) => p.dims[axis]))], { axis }, parts.length);
      expect(back).toEqual(parts);
    }
    expect(run('Split', [iota([7])], { num_outputs: 3 }, 3).map((t) => t.size)).toEqual([3, 3, 1]);
    expect(run('Split', [iota([6])], {}, 3).map((t) => t.size)).toEqual([2, 2, 2]);
    for (const sizes of [i64(3, 3), i64(8, -1), i64(7)])
      expect(() => run('Split', [iota([7]), sizes], {}, 2)).toThrow(ModelFormatError);
    expect(() => one('Concat', [iota([2, 2]), iota([2, 3])], { axis: 0 })).toThrow(/does not join/);
    expect(() => one('Concat', [iota([2]), iota([2], 'int64')], { axis: 0 })).toThrow(/does not join/);
    expect(() => one('Concat', [iota([2])])).toThrow(/attribute "axis" is missing/);
  });

  test('Gather, GatherElements, GatherND', () => {
    for (let round = 0; round < 100; round++) {
      const x = iota(randomDims(1 + random(3), 1));
      const axis = random(x.dims.length);
      const n = x.dims[axis];
      const index = (dims: number[]) =>
        new Tensor(
          'int64',
          Array.from({ length: size(dims) }, () => BigInt(random(2 * n) - n)),
          dims,
        );
      const real = (i: bigint | number) => (Number(i) + n) % n;

      const g = index(randomDims(random(3)));
      const y = one('Gather', [x, g], { axis });
      const r = g.dims.length;
      expect(y.dims).toEqual([...x.dims.slice(0, axis), ...g.dims, ...x.dims.slice(axis + 1)]);
      expect([...y.data]).toEqual(
        built(y, (i) => at(x, [...i.slice(0, axis), real(at(g, i.slice(axis, axis + r))), ...i.slice(axis + r)])),
      );

      const e = index(x.dims.map((d, k) => (k === axis ? random(4) : random(d + 1))));
      const z = one('GatherElements', [x, e], { axis: axis - x.dims.length });
      expect(z.dims).toEqual(e.dims);
      expect([...z.data]).toEqual(
        built(z, (i) =>
          at(
            x,
            i.map((k, d) => (d === axis ? real(at(e, i)) : k)),
          ),
        ),
      );
    }
    const x = iota([2, 3, 2]);
    const nd = (data: number[], dims: number[], batch_dims = 0) =>
      one('GatherND', [x, new Tensor('int64', data.map(BigInt), dims)], { batch_dims });
    expect([...nd([1, 2, 0, -3], [2, 2]).data]).toEqual([10, 11, 0, 1]);
    expect([...nd([1, 2, 1], [3]).data]).toEqual([11]);
    expect(nd([1, 2], [2, 1], 1)).toEqual(f32([2, 3, 10, 11], [2, 2]));
    expect(() => nd([1, 3], [1, 2])).toThrow(/index 3 is out of range for 3/);
    expect(() => nd([0, 0, 0, 0], [4])).toThrow(ModelFormatError);
    expect(() => one('Gather', [x, i64(2)])).toThrow(/index 2 is out of range for 2/);
    expect(() => one('GatherElements', [x, new Tensor('int64', [-3n], [1, 1, 1])])).toThrow(/index -3 is out of range/);
    expect(() => one('GatherElements', [x, i64(0)])).toThrow(ModelFormatError);
  });

  test('ScatterElements and ScatterND', () => {
    const index = (data: number[], dims: number[]) => new Tensor('int64', data.map(BigInt), dims);
    const elements = (reduction: string) =>
      one('ScatterElements', [f32([1, 2, 3]), i64(1, -2, 0), f32([10, 4, 7])], { reduction }).data;
    expect([...elements('none')]).toEqual([7, 4, 3]);
    expect([...elements('add')]).toEqual([8, 16, 3]);
    expect([...elements('mul')]).toEqual([7, 80, 3]);
    expect([...elements('max')]).toEqual([7, 10, 3]);
    expect([...elements('min')]).toEqual([1, 2, 3]);
    const nd = (data: number[], dims: number[], u: Tensor) =>
      one('ScatterND', [iota([2, 2, 2], 'int64'), index(data, dims), u]);
    expect([...nd([1], [1, 1], new Tensor('int64', [9n, 9n, 9n, 9n], [1, 2, 2])).data]).toEqual([
      0n,
      1n,
      2n,
      3n,
      9n,
      9n,
      9n,
      9n,
    ]);
    expect([...nd([1, 0, 0, 1], [2, 2], new Tensor('int64', [9n, 8n, 7n, 6n], [2, 2])).data]).toEqual([
      0n,
      1n,
      7n,
      6n,
      9n,
      8n,
      6n,
      7n,
    ]);
    expect(() => nd([2], [1, 1], new Tensor('int64', [9n, 9n, 9n, 9n], [1, 2, 2]))).toThrow(
      /index 2 is out of range for 2/,
    );
    expect(() => nd([1], [1, 1], i64(9))).toThrow(/updates expected int64 \[1,2,2\], got int64 \[1\]/);
    expect(() => one('ScatterElements', [f32([1]), i64(1), f32([1])])).toThrow(/index 1 is out of range for 1/);
  });

  test('Pad: all modes, pads of any length, cropping', () => {
    const modes: Record<string, (i: number, n: number) => number | undefined> = {
      constant: (i, n) => (i >= 0 && i < n ? i : undefined),
      edge: (i, n) => Math.max(0, Math.min(n - 1, i)),
      wrap: (i, n) => ((i % n) + n) % n,
      reflect(i, n) {
        if (n === 1) return 0;
        for (;;) {
          if (i < 0) i = -i;
          else if (i >= n) i = 2 * (n - 1) - i;
          else return i;
        }
      },
    };
    for (let round = 0; round < 200; round++) {
      const x = iota(randomDims(1 + random(2), 1));
      const pads = x.dims.flatMap(() => [0, 0]).map(() => random(8) - 2);
      const rank = x.dims.length;
      const dims = x.dims.map((n, d) => n + pads[d] + pads[d + rank]);
      if (dims.some((n) => n < 0)) continue;
      const mode = Object.keys(modes)[random(4)];
      const y = one('Pad', [x, i64(...pads), f32([-5], [])], { mode });
      expect(y.dims).toEqual(dims);
      const want = built(y, (i) => {
        const from = i.map((k, d) => modes[mode](k - pads[d], x.dims[d]));
        return from.includes(undefined) ? -5 : at(x, from as number[]);
      });
      expect([...y.data], `${mode} ${pads}`).toEqual(want);
    }
    expect(one('Pad', [iota([1, 2]), i64(1, 2), undefined, i64(-1)]).dims).toEqual([1, 5]);
    expect([...one('Pad', [i64(1), i64(1, 0), i64(7)]).data]).toEqual([7n, 1n]);
    expect(() => one('Pad', [i64(1), i64(1, 0), f32([7])])).toThrow(/expected a scalar of int64, got float32/);
    expect(() => one('Pad', [iota([2]), i64(1)])).toThrow(/1 pads for 1 axes/);
    expect(() => one('Pad', [iota([2]), i64(-2, -1)])).toThrow(ModelFormatError);
    expect(() => one('Pad', [iota([0]), i64(1, 0)], { mode: 'edge' })).toThrow(/nothing to pad from/);
    expect(() => one('Pad', [iota([2]), i64(1, 0)], { mode: 'mirror' })).toThrow(ModelFormatError);
  });

  test('Tile, Trilu, CenterCropPad', () => {
    for (let round = 0; round < 50; round++) {
      const x = iota(randomDims(random(4)));
      const repeats = x.dims.map(() => random(3));
      const y = one('Tile', [x, i64(...repeats)]);
      expect([...y.data]).toEqual(
        built(y, (i) =>
          at(
            x,
            i.map((k, d) => k % x.dims[d]),
          ),
        ),
      );
    }
    expect(() => one('Tile', [iota([2]), i64(1, 2)])).toThrow(ModelFormatError);
    const k = (n: number) => new Tensor('int64', [BigInt(n)], []);
    for (const upper of [0, 1]) {
      for (const d of [-2, -1, 0, 1, 5]) {
        const y = one('Trilu', [iota([2, 2, 3]), k(d)], { upper });
        expect([...y.data]).toEqual(
          built(y, (i) => ((upper ? i[2] - i[1] >= d : i[2] - i[1] <= d) ? at(iota([2, 2, 3]), i) : 0)),
        );
      }
    }
    expect([...one('CenterCropPad', [iota([5]), i64(2)]).data]).toEqual([1, 2]);
    expect([...one('CenterCropPad', [iota([2]), i64(5)]).data]).toEqual([0, 0, 1, 0, 0]);
    expect(one('CenterCropPad', [iota([2, 3]), i64(1)], { axes: [-1] }).dims).toEqual([2, 1]);
  });

  test('OneHot, NonZero, Compress, ReverseSequence', () => {
    const hot = one('OneHot', [i64(1, -1, 3, 9), i64(3), i64(5, 6)], { axis: 0 });
    expect(hot.dims).toEqual([3, 4]);
    expect([...hot.data].map(Number)).toEqual([5, 5, 5, 5, 6, 5, 5, 5, 5, 6, 5, 5]);
    expect(() => one('OneHot', [i64(1), f32([Number.NaN]), i64(5, 6)])).toThrow(ModelFormatError);
    expect(one('NonZero', [f32([0, 1, Number.NaN, -0, 2, 0], [2, 3])])).toEqual(
      new Tensor('int64', [0n, 0n, 1n, 1n, 2n, 1n], [2, 3]),
    );
    expect(one('NonZero', [f32([0, 0])]).dims).toEqual([1, 0]);
    expect(one('Compress', [iota([2, 3]), bool(0, 1, 1)], { axis: 1 })).toEqual(f32([1, 2, 4, 5], [2, 2]));
    expect([...one('Compress', [iota([2, 3]), bool(1, 0, 0, 0, 1)]).data]).toEqual([0, 4]);
    expect(() => one('Compress', [iota([2]), bool(0, 0, 1)])).toThrow(ModelFormatError);
    const reverse = (time_axis: number, lens: Tensor) => [
      ...one('ReverseSequence', [iota([2, 3]), lens], { time_axis, batch_axis: 1 - time_axis }).data,
    ];
    expect(reverse(1, i64(3, 2))).toEqual([2, 1, 0, 4, 3, 5]);
    expect(reverse(0, i64(2, 1, 0))).toEqual([3, 1, 2, 0, 4, 5]);
    expect(() => reverse(1, i64(4, 0))).toThrow(ModelFormatError);
  });
});

describe('reductions', () => {
  const f: Record<string, (x: number[]) => number> = {
    ReduceSum: (x) => x.reduce((a, b) => a + b, 0),
    ReduceMean: (x) => x.reduce((a, b) => a + b, 0) / x.length,
    ReduceProd: (x) => x.reduce((a, b) => a * b, 1),
    ReduceMax: (x) => Math.max(...x),
    ReduceMin: (x) => Math.min(...x),
    ReduceL1: (x) => x.reduce((a, b) => a + Math.abs(b), 0),
    ReduceL2: (x) => Math.sqrt(x.reduce((a, b) => a + b * b, 0)),
    ReduceSumSquare: (x) => x.reduce((a, b) => a + b * b, 0),
    ReduceLogSum: (x) => Math.log(x.reduce((a, b) => a + b, 0)),
    ReduceLogSumExp: (x) => Math.log(x.reduce((a, b) => a + Math.exp(b), 0)),
  };

  test.each(Object.keys(f))('%s over any axes, also of nothing', (op) => {
    for (let round = 0; round < 60; round++) {
      const dims = randomDims(1 + random(3));
      const x = f32(
        Array.from({ length: size(dims) }, () => random(1000) / 100 - 3),
        dims,
      );
      const axes = [...dims.keys()].filter(() => random(2));
      const keepdims = random(2);
      const y = one(op, [x, i64(...axes.map((a) => (random(2) ? a : a - dims.length)))], {
        keepdims,
        noop_with_empty_axes: 1,
      });
      const groups = new Map<string, number[]>();
      for (const i of indices(dims.map((n, d) => (axes.includes(d) ? 1 : n)))) groups.set(`${i}`, []);
      for (const i of indices(dims))
        groups.get(`${i.map((k, d) => (axes.includes(d) ? 0 : k))}`)!.push(Number(at(x, i)));
      expect(y.dims).toEqual(
        keepdims ? dims.map((n, d) => (axes.includes(d) ? 1 : n)) : dims.filter((_, d) => !axes.includes(d)),
      );
      for (const [i, want] of [...groups.values()].map(f[op]).entries()) {
        const got = Number(y.data[i]);
        expect(Object.is(got, want) || Math.abs(got - want) <= 1e-6 * Math.abs(want), `${got} for ${want}`).toBe(true);
      }
    }
  });

  test('all axes when none is given; noop; bad axes', () => {
    expect(one('ReduceSum', [iota([2, 3])])).toEqual(f32([15], [1, 1]));
    expect(one('ReduceSum', [iota([2, 3]), i64()], { keepdims: 0 })).toEqual(f32([15], []));
    expect(one('ReduceSumSquare', [iota([3])], { noop_with_empty_axes: 1 })).toEqual(f32([0, 1, 4]));
    expect(() => one('ReduceSum', [iota([2]), i64(1)])).toThrow(ModelFormatError);
    expect(() => one('ReduceSum', [iota([2, 2]), i64(0, -2)])).toThrow(/name one twice/);
  });

  test('exact integers, NaN, infinities', () => {
    const big = 2n ** 60n + 1n;
    expect(one('ReduceSum', [i64(big, 1, big)]).data[0]).toBe(2n * big + 1n);
    expect(one('ReduceMax', [i64(big, big + 1n)]).data[0]).toBe(big + 1n);
    expect(one('ReduceL1', [i64(-big, 1)]).data[0]).toBe(big + 1n);
    expect(one('ReduceL2', [i32(3, 4)]).data[0]).toBe(5);
    expect(one('ReduceMax', [bool(0, 1)]).data[0]).toBe(1);
    expect(one('ReduceMax', [f32([1, Number.NaN, 2])]).data[0]).toBeNaN();
    const lse = (...x: number[]) => one('ReduceLogSumExp', [f32(x)]).data[0];
    expect(lse(1000, 1000)).toBe(Math.fround(1000 + Math.LN2));
    expect(lse(-Infinity, -Infinity)).toBe(-Infinity);
    expect(lse(Infinity, 1)).toBe(Infinity);
    expect(lse(Infinity, Infinity)).toBe(Infinity);
    expect(lse(1, Number.NaN)).toBeNaN();
    expect(lse(Number.NaN, 1)).toBeNaN();
  });

  test('ArgMax and ArgMin: first or last, NaN wins', () => {
    const x = f32([1, 3, 3, 0, 0, 2], [2, 3]);
    const arg = (op: string, attrs: Record<string, Attr>, t = x) => [...one(op, [t], attrs).data].map(Number);
    expect(arg('ArgMax', { axis: 1 })).toEqual([1, 2]);
    expect(arg('ArgMax', { axis: -1, select_last_index: 1 })).toEqual([2, 2]);
    expect(arg('ArgMin', { axis: 1 })).toEqual([0, 0]);
    expect(arg('ArgMin', { axis: 1, select_last_index: 1 })).toEqual([0, 1]);
    expect(arg('ArgMax', { axis: 0 })).toEqual([0, 0, 0]);
    expect(one('ArgMax', [x], { axis: 1, keepdims: 0 }).dims).toEqual([2]);
    const nan = f32([1, Number.NaN, 5, Number.NaN]);
    expect(arg('ArgMax', {}, nan)).toEqual([1]);
    expect(arg('ArgMin', {}, nan)).toEqual([1]);
    expect(arg('ArgMax', { select_last_index: 1 }, nan)).toEqual([3]);
  });
});
