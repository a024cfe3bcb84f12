// One operator at a time: infer, evaluate, look at the outputs.
import { expect } from 'vitest';
import { evalNode, inferNode, opOf } from '../../src/graph/infer.ts';
import type { Attr, Node } from '../../src/graph/ir.ts';
import { numbers } from '../../src/ops/half.ts';
import { OPS } from '../../src/ops/index.ts';
import { type DType, Tensor } from '../../src/tensor.ts';

type Input = Tensor | undefined;

export const f32 = (data: readonly number[], dims?: readonly number[]) => new Tensor('float32', data, dims);
export const i64 = (data: readonly number[], dims?: readonly number[]) => new Tensor('int64', data.map(BigInt), dims);
/** 0, 1, 2 … */
export const range = (dims: readonly number[], type: DType = 'float32') => {
  const t = Tensor.zeros(type, dims);
  for (let i = 0; i < t.size; i++) t.data[i] = (type.endsWith('64') && type !== 'float64' ? BigInt(i) : i) as never;
  return t;
};

/** Infers and evaluates one node with `count` outputs. Inputs must come out as they went in. */
export function run(op: string, inputs: Input[], attrs: Record<string, Attr> = {}, count = 1): Tensor[] {
  const node: Node = {
    op,
    name: 'n',
    inputs: inputs.map((t, i) => (t ? `in${i}` : '')),
    outputs: Array.from({ length: count }, (_, i) => `out${i}`),
    attrs,
  };
  const before = inputs.map((t) => t && [...t.data]);
  const known = inputs.map((t) => t && { type: t.type, dims: t.dims, value: t });
  const def = opOf(node, OPS);
  const types = inferNode(def, node, known, (i) => inputs[i]!);
  const outputs = evalNode(def, node, inputs, types);
  expect(inputs.map((t) => t && [...t.data])).toEqual(before);
  return outputs;
}

export const list = (t: Tensor) => [...numbers(t)];
export const close = (t: Tensor, want: readonly number[], digits = 5) => {
  expect(t.size).toBe(want.length);
  list(t).forEach((v, i) => {
    expect(v).toBeCloseTo(want[i], digits);
  });
};

/** A seeded stream of integers below n. */
export const randomFrom = (seed: number) => (n: number) =>
  Math.floor(((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32) * n);

/** Every index of a shape, in row-major order. */
export function* indices(dims: readonly number[]): Generator<number[]> {
  if (!dims.length) yield [];
  else for (let i = 0; i < dims[0]; i++) for (const rest of indices(dims.slice(1))) yield [i, ...rest];
}
/** The element at an index. */
export const at = (t: Tensor, index: readonly number[]) => t.data[index.reduce((sum, i, d) => sum * t.dims[d] + i, 0)];
/** One value for every index of a tensor. */
export const built = <T>(t: Tensor, f: (index: number[]) => T): T[] => [...indices(t.dims)].map(f);
