/** Operators about shapes: they read dimensions, or give the same elements another shape. */
import type { Node } from '../graph/ir.ts';
import { ARRAYS, type DType, isTensor, Tensor, type TensorType } from '../tensor.ts';
import { arg, axesOf, axisOf, bad, has, int, optional, refuse, str } from './attrs.ts';
import { as, broadcastDims, copy, fill, list, scalarFor, spread, take, values } from './broadcast.ts';
import { product } from './strided.ts';
import type { Known, OpDef, OpTable } from './types.ts';

type Inputs = readonly (Known | undefined)[];
type Need = (i: number) => Tensor;

/** Same elements, other dimensions. */
const reshaping = (dimsOf: (node: Node, dims: readonly number[], inputs: Inputs, need: Need) => number[]): OpDef => ({
  infer(node, inputs, need) {
    const x = arg(node, inputs, 0);
    const dims = dimsOf(node, x.dims, inputs, need);
    if (product(dims) !== product(x.dims)) throw bad(node, `[${x.dims}] does not reshape to [${dims}]`);
    return [{ type: x.type, dims }];
  },
  eval: (_node, [x], [out]) => copy(out, x!),
});

const i64 = (dims: readonly number[]): TensorType => ({ type: 'int64', dims });

/** Dimensions `start` to `end`, clamped like a slice. */
function window(node: Node, { dims }: TensorType): number[] {
  const end = has(node, 'end') ? int(node, 'end') : dims.length;
  return dims.slice(int(node, 'start', 0), end);
}

export const shapes: OpTable = {
  Shape: {
    shapeOnly: true,
    infer: (node, inputs) => [i64([window(node, arg(node, inputs, 0)).length])],
    eval(node, [x], [out]) {
      const dims = window(node, x!);
      fill(out, (i) => BigInt(dims[i]));
    },
  },
  Size: {
    shapeOnly: true,
    infer(node, inputs) {
      arg(node, inputs, 0);
      return [i64([])];
    },
    eval: (_node, [x], [out]) => fill(out, () => BigInt(product(x!.dims))),
  },
  Reshape: reshaping((node, from, _inputs, need) => {
    const zero = int(node, 'allowzero', 0);
    const dims = list(need(1)).map((d, i) => {
      if (d || zero) return d;
      if (i >= from.length) throw bad(node, `dimension ${i} is 0 (keep), the input has rank ${from.length}`);
      return from[i];
    });
    const free = dims.indexOf(-1);
    if (free >= 0) {
      dims[free] = 1;
      const rest = product(dims);
      dims[free] = rest ? product(from) / rest : 0;
    }
    if (dims.some((d) => d < 0 || !Number.isInteger(d))) throw bad(node, `[${from}] does not reshape to [${dims}]`);
    return dims;
  }),
  Flatten: reshaping((node, dims) => {
    const axis = int(node, 'axis', 1);
    const at = axis === dims.length ? axis : axisOf(axis, dims.length, node);
    return [product(dims.slice(0, at)), product(dims.slice(at))];
  }),
  Squeeze: reshaping((node, dims, inputs, need) => {
    const given = optional(inputs, need, 1);
    const axes = given ? axesOf(node, list(given), dims.length) : [...dims.keys()].filter((d) => dims[d] === 1);
    return dims.filter((_, d) => !axes.includes(d));
  }),
  Unsqueeze: reshaping((node, dims, _inputs, need) => {
    const given = list(need(1));
    const rank = dims.length + given.length;
    const axes = axesOf(node, given, rank);
    let next = 0;
    return Array.from({ length: rank }, (_, d) => (axes.includes(d) ? 1 : dims[next++]));
  }),
  Identity: reshaping((_node, dims) => [...dims]),
  Dropout: {
    infer(node, inputs, need) {
      const x = arg(node, inputs, 0);
      // Only inference: with training on and a ratio above 0 elements are dropped at random.
      if (optional(inputs, need, 2)?.data[0]) {
        const ratio = optional(inputs, need, 1);
        if (!ratio || ratio.data[0]) throw refuse(node, 'training mode');
      }
      return [x, { type: 'bool', dims: x.dims }];
    },
    eval(_node, [x], [out, mask]) {
      copy(out, x!);
      mask?.data.fill(1 as never);
    },
  },
  Expand: {
    infer(node, inputs, need) {
      const { type, dims } = arg(node, inputs, 0);
      return [{ type, dims: broadcastDims(node, [dims, list(need(1))]) }];
    },
    eval: (node, [x], [out]) => take(out, x!, spread(node, x!, out)),
  },
  Constant: {
    infer: (node) => [constant(node)],
    eval: (node, _inputs, [out]) => copy(out, constant(node)),
  },
  ConstantOfShape: {
    infer(node, _inputs, need) {
      const { type } = fillValue(node);
      return [{ type, dims: list(need(0)) }];
    },
    eval: (node, _inputs, [out]) => void out.data.fill(fillValue(node).data[0] as never),
  },
  Range: {
    infer(node, inputs, need) {
      const x = arg(node, inputs, 0);
      for (const i of [1, 2]) scalarFor(node, x, arg(node, inputs, i));
      const [start, limit, delta] = [0, 1, 2].map((i) => Number(values(need(i))[0]));
      if (!delta) throw bad(node, 'delta is 0');
      return [{ type: x.type, dims: [Math.max(0, Math.ceil((limit - start) / delta))] }];
    },
    eval(_node, inputs, [out]) {
      const [start, , delta] = inputs.map((t) => values(t!)[0]);
      fill(out, (i) => start + as(out, i) * delta);
    },
  },
  EyeLike: {
    infer(node, inputs) {
      const { type, dims } = arg(node, inputs, 0);
      if (dims.length !== 2) throw bad(node, `expected a matrix, got [${dims}]`);
      return [{ type: typeAttr(node, 'dtype', type), dims }];
    },
    eval(node, _inputs, [out]) {
      const k = int(node, 'k', 0);
      const columns = out.dims[1];
      fill(out, (i) => as(out, (i % columns) - Math.floor(i / columns) === k ? 1 : 0));
    },
  },
};

/** An attribute that names an element type. */
export function typeAttr(node: Node, name: string, fallback?: DType): DType {
  const type = str(node, name, fallback);
  if (!Object.hasOwn(ARRAYS, type)) throw refuse(node, `element type ${type} is not supported`);
  return type as DType;
}

function constant(node: Node): Tensor {
  const { value } = node.attrs;
  if (isTensor(value)) return value;
  throw bad(node, 'has no value');
}

function fillValue(node: Node): Tensor {
  if (!has(node, 'value')) return Tensor.zeros('float32', [1]);
  const value = constant(node);
  if (value.size !== 1) throw bad(node, `value expected 1 element, got ${value.size}`);
  return value;
}
