// One operator at a time: infer, evaluate, look at the outputs.
import { expect } from 'vitest';
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
  const types = OPS[op].infer(node, known, (i) => inputs[i]!);
  expect(types.length).toBeGreaterThanOrEqual(count);
  const outputs = types.map(({ type, dims }) => Tensor.zeros(type, dims));
  OPS[op].eval(node, inputs, outputs);
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
