// Movement and reduction operators against references written from numpy's definitions, index by index.
import { describe, expect, test } from 'vitest';
import { ModelFormatError } from '../src/errors.ts';
import type { Attr } from '../src/graph/ir.ts';
import { Tensor } from '../src/tensor.ts';
import { at, built, f32, indices, randomFrom, range, run } from './support/ops.ts';

type Args = readonly (Tensor | undefined)[];

const one = (op: string, inputs: Args, attrs?: Record<string, Attr>) => run(op, [...inputs], attrs)[0];
const i64 = (...data: (number | bigint)[]) => new Tensor('int64', data.map(BigInt));
const i32 = (...data: number[]) => new Tensor('int32', data);
const bool = (...data: number[]) => new Tensor('bool', data);
const random = randomFrom(7);
const randomDims = (rank: number, from = 0) => Array.from({ length: rank }, () => from + random(4));
const size = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);

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
      const y = one('Slice', [range([n, 2]), i64(start), i64(end), i64(-2), i64(step)]);
      expect([...y.data], `[${start}:${end}:${step}] of ${n}`).toEqual(want);
    }
    const all = [i64(-(2n ** 63n)), i64(2n ** 63n - 1n)];
    expect([...one('Slice', [range([3]), all[0], all[1]]).data]).toEqual([0, 1, 2]);
    expect([...one('Slice', [range([3]), all[1], all[0], i64(0), i64(-1)]).data]).toEqual([2, 1, 0]);
    expect(() => one('Slice', [range([3]), i64(0), i64(1), i64(0), i64(0)])).toThrow(/a step is 0/);
    expect(() => one('Slice', [range([3]), i64(0), i64(1), i64(1)])).toThrow(/axis 1 is out of range/);
    expect(() => one('Slice', [range([3]), i64(0, 0), i64(1)])).toThrow(ModelFormatError);
  });

  test('Transpose', () => {
    for (let round = 0; round < 50; round++) {
      const x = range(randomDims(random(5)));
      const perm = [...x.dims.keys()].sort(() => random(3) - 1);
      const y = one('Transpose', [x], { perm });
      expect(y.dims).toEqual(perm.map((d) => x.dims[d]));
      const back = (i: number[]) => x.dims.map((_, d) => i[perm.indexOf(d)]);
      expect([...y.data]).toEqual(built(y, (i) => at(x, back(i))));
    }
    expect(one('Transpose', [range([2, 3])]).dims).toEqual([3, 2]);
    for (const perm of [[0, 0], [0], [0, 2], [-1, 0]])
      expect(() => one('Transpose', [range([2, 3])], { perm })).toThrow(ModelFormatError);
  });

  test('Concat and Split undo each other', () => {
    for (let round = 0; round < 100; round++) {
      const dims = randomDims(1 + random(3));
      const axis = random(dims.length);
      const parts = Array.from({ length: 1 + random(3) }, () =>
        range(
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
    expect(run('Split', [range([7])], { num_outputs: 3 }, 3).map((t) => t.size)).toEqual([3, 3, 1]);
    expect(run('Split', [range([6])], {}, 3).map((t) => t.size)).toEqual([2, 2, 2]);
    for (const sizes of [i64(3, 3), i64(8, -1), i64(7)])
      expect(() => run('Split', [range([7]), sizes], {}, 2)).toThrow(ModelFormatError);
    expect(() => one('Concat', [range([2, 2]), range([2, 3])], { axis: 0 })).toThrow(/does not join/);
    expect(() => one('Concat', [range([2]), range([2], 'int64')], { axis: 0 })).toThrow(/does not join/);
    expect(() => one('Concat', [range([2])])).toThrow(/attribute "axis" is missing/);
  });

  test('Gather, GatherElements, GatherND', () => {
    for (let round = 0; round < 100; round++) {
      const x = range(randomDims(1 + random(3), 1));
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
    const x = range([2, 3, 2]);
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
      one('ScatterND', [range([2, 2, 2], 'int64'), index(data, dims), u]);
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
      const x = range(randomDims(1 + random(2), 1));
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
    expect(one('Pad', [range([1, 2]), i64(1, 2), undefined, i64(-1)]).dims).toEqual([1, 5]);
    expect([...one('Pad', [i64(1), i64(1, 0), i64(7)]).data]).toEqual([7n, 1n]);
    expect(() => one('Pad', [i64(1), i64(1, 0), f32([7])])).toThrow(/expected a scalar of int64, got float32/);
    expect(() => one('Pad', [range([2]), i64(1)])).toThrow(/1 pads for 1 axes/);
    expect(() => one('Pad', [range([2]), i64(-2, -1)])).toThrow(ModelFormatError);
    expect(() => one('Pad', [range([0]), i64(1, 0)], { mode: 'edge' })).toThrow(/nothing to pad from/);
    expect(() => one('Pad', [range([2]), i64(1, 0)], { mode: 'mirror' })).toThrow(ModelFormatError);
  });

  test('Tile, Trilu, CenterCropPad', () => {
    for (let round = 0; round < 50; round++) {
      const x = range(randomDims(random(4)));
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
    expect(() => one('Tile', [range([2]), i64(1, 2)])).toThrow(ModelFormatError);
    const k = (n: number) => new Tensor('int64', [BigInt(n)], []);
    for (const upper of [0, 1]) {
      for (const d of [-2, -1, 0, 1, 5]) {
        const y = one('Trilu', [range([2, 2, 3]), k(d)], { upper });
        expect([...y.data]).toEqual(
          built(y, (i) => ((upper ? i[2] - i[1] >= d : i[2] - i[1] <= d) ? at(range([2, 2, 3]), i) : 0)),
        );
      }
    }
    expect([...one('CenterCropPad', [range([5]), i64(2)]).data]).toEqual([1, 2]);
    expect([...one('CenterCropPad', [range([2]), i64(5)]).data]).toEqual([0, 0, 1, 0, 0]);
    expect(one('CenterCropPad', [range([2, 3]), i64(1)], { axes: [-1] }).dims).toEqual([2, 1]);
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
    expect(one('Compress', [range([2, 3]), bool(0, 1, 1)], { axis: 1 })).toEqual(f32([1, 2, 4, 5], [2, 2]));
    expect([...one('Compress', [range([2, 3]), bool(1, 0, 0, 0, 1)]).data]).toEqual([0, 4]);
    expect(() => one('Compress', [range([2]), bool(0, 0, 1)])).toThrow(ModelFormatError);
    const reverse = (time_axis: number, lens: Tensor) => [
      ...one('ReverseSequence', [range([2, 3]), lens], { time_axis, batch_axis: 1 - time_axis }).data,
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
    expect(one('ReduceSum', [range([2, 3])])).toEqual(f32([15], [1, 1]));
    expect(one('ReduceSum', [range([2, 3]), i64()], { keepdims: 0 })).toEqual(f32([15], []));
    expect(one('ReduceSumSquare', [range([3])], { noop_with_empty_axes: 1 })).toEqual(f32([0, 1, 4]));
    expect(() => one('ReduceSum', [range([2]), i64(1)])).toThrow(ModelFormatError);
    expect(() => one('ReduceSum', [range([2, 2]), i64(0, -2)])).toThrow(/name one twice/);
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
