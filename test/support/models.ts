/** Small graphs for tests, built by hand. */
import type { Attr, Graph, Node, ValueInfo } from '../../src/graph/ir.ts';
import { Tensor } from '../../src/tensor.ts';
import { randf } from './kernels.ts';

export const f32 = (dims: number[], seed = 1, scale = 1): Tensor<'float32'> =>
  new Tensor(
    'float32',
    randf(
      dims.reduce((a, b) => a * b, 1),
      seed,
    ).map((v) => v * scale),
    dims,
  );

export const i64 = (...values: number[]): Tensor<'int64'> =>
  new Tensor('int64', BigInt64Array.from(values.map(BigInt)), [values.length]);

let serial = 0;

export function node(op: string, inputs: string[], outputs: string[], attrs: Record<string, Attr> = {}): Node {
  return { op, name: `${op.toLowerCase()}${serial++}`, inputs, outputs, attrs };
}

export function graph(
  inputs: Record<string, (number | string)[]>,
  outputs: string[],
  nodes: Node[],
  constants: Record<string, Tensor> = {},
): Graph {
  const info = (name: string, dims: ValueInfo['dims']): ValueInfo => ({ name, type: 'float32', dims });
  return {
    name: 'test',
    inputs: Object.entries(inputs).map(([name, dims]) => info(name, dims)),
    outputs: outputs.map((name) => info(name, null)),
    nodes,
    constants: new Map(Object.entries(constants)),
  };
}

/** Zeroes a share of the entries, in groups of `g` rows that share their columns. */
export function prune(w: Tensor<'float32'>, sparsity: number, g = 1, seed = 7): Tensor<'float32'> {
  const [rows] = w.dims;
  const cols = w.size / rows;
  const chance = randf(Math.ceil(rows / g) * cols, seed);
  const data = w.data.map((v, i) => {
    const r = Math.floor(i / cols);
    return (chance[Math.floor(r / g) * cols + (i % cols)] + 1) / 2 < sparsity ? 0 : v;
  });
  return new Tensor('float32', data, w.dims);
}

/** Largest difference relative to 1 + |expected|. */
export function difference(got: Tensor, expected: Tensor): number {
  if (got.dims.join() !== expected.dims.join()) throw new Error(`dims [${got.dims}] expected [${expected.dims}]`);
  let worst = 0;
  for (let i = 0; i < got.size; i++) {
    const [a, b] = [Number(got.data[i]), Number(expected.data[i])];
    if (Number.isNaN(b) && Number.isNaN(a)) continue;
    if (a !== b) worst = Math.max(worst, Math.abs(a - b) / (1 + Math.abs(b)));
    if (Number.isNaN(a)) return Number.NaN;
  }
  return worst;
}
