/** Operators that take from, or put to, places that the values of an input name. Indices are checked before use. */
import type { Node } from '../graph/ir.ts';
import type { Tensor, TensorType } from '../tensor.ts';
import { arg, bad, int, str } from './attrs.ts';
import { fill, list, max, min, offsets, stridesOf, take, type Value, values } from './broadcast.ts';
import { axisAttr, type Dims, like, lookup, resized } from './move.ts';
import { lines, product } from './strided.ts';
import type { OpDef, OpTable } from './types.ts';

/** An index in -n … n-1, counted from the front. */
function indexIn(node: Node, index: Value, n: number): number {
  const i = Number(index);
  if (!(i >= -n && i < n)) throw bad(node, `index ${i} is out of range for ${n}`);
  return i < 0 ? i + n : i;
}

const GATHER: OpDef = like(
  (node, { dims }, inputs) => {
    const axis = axisAttr(node, dims.length, 0);
    return [...dims.slice(0, axis), ...arg(node, inputs, 1).dims, ...dims.slice(axis + 1)];
  },
  (node, [x, indices], [out]) => {
    const { outer, n, inner } = lines(x!.dims, axisAttr(node, x!.dims.length, 0));
    const at = Array.from(values(indices!), (i) => indexIn(node, i, n));
    for (let o = 0, to = 0; o < outer; o++) {
      for (const i of at) {
        const from = (o * n + i) * inner;
        out.data.set(x!.data.subarray(from, from + inner) as never, to);
        to += inner;
      }
    }
  },
);

/** Offsets into `x` of the elements that GatherElements and ScatterElements name. */
function elementsAt(node: Node, x: Tensor, indices: Tensor): Uint32Array {
  const rank = x.dims.length;
  const axis = axisAttr(node, rank, 0);
  if (indices.dims.length !== rank || indices.dims.some((d, i) => i !== axis && d > x.dims[i])) {
    throw bad(node, `indices [${indices.dims}] do not fit [${x.dims}]`);
  }
  const strides = stridesOf(x.dims);
  const at = offsets(indices.dims, resized(strides, axis, 0));
  const index = values(indices);
  return at.map((base, i) => base + indexIn(node, index[i], x.dims[axis]) * strides[axis]);
}

/** Offsets into `x` of the slices that GatherND and ScatterND name by the last dimension of `indices`, and their size. */
function slicesAt(node: Node, x: TensorType, indices: Tensor, batch: number): { at: number[]; size: number } {
  const depth = indices.dims[indices.dims.length - 1];
  const strides = stridesOf(x.dims);
  const index = values(indices);
  const count = product(indices.dims.slice(0, -1));
  const perBatch = count / product(indices.dims.slice(0, batch)) || 1;
  const batchSize = product(x.dims.slice(batch));
  const at = Array.from({ length: count }, (_, i) => {
    let offset = Math.floor(i / perBatch) * batchSize;
    for (let d = 0; d < depth; d++) {
      offset += indexIn(node, index[i * depth + d], x.dims[batch + d]) * strides[batch + d];
    }
    return offset;
  });
  return { at, size: product(x.dims.slice(batch + depth)) };
}

function slicesDims(node: Node, dims: Dims, indices: Dims, batch: number): Dims {
  const depth = indices[indices.length - 1];
  const same = batch < indices.length && indices.slice(0, batch).every((n, i) => n === dims[i]);
  if (!indices.length || batch < 0 || !same || depth + batch > dims.length) {
    throw bad(node, `indices [${indices}] do not fit [${dims}]`);
  }
  return [...indices.slice(0, -1), ...dims.slice(batch + depth)];
}

const COMBINE: Record<string, (a: Value, b: Value) => Value> = {
  none: (_a, b) => b,
  add: (a, b) => a + b,
  mul: (a, b) => a * b,
  max,
  min,
};

/** Copies `x`, then combines `updates[i]` into element `at(i)`. */
function scatter(node: Node, x: Tensor, updates: Tensor, out: Tensor, at: (i: number) => number): void {
  const how = COMBINE[str(node, 'reduction', 'none', Object.keys(COMBINE))];
  const acc: Value[] = Array.from(values(x));
  const from = values(updates);
  for (let i = 0; i < updates.size; i++) acc[at(i)] = how(acc[at(i)], from[i]);
  fill(out, (i) => acc[i]);
}

function sameType(node: Node, x: TensorType, updates: TensorType, dims: Dims): Dims {
  if (updates.type !== x.type || `${updates.dims}` !== `${dims}`) {
    throw bad(node, `updates expected ${x.type} [${dims}], got ${updates.type} [${updates.dims}]`);
  }
  return x.dims;
}

const nonzero = (t: Tensor): number[] => {
  const x = values(t);
  return Array.from({ length: t.size }, (_, i) => i).filter((i) => Number(x[i]) !== 0);
};

function compressed(node: Node, x: TensorType, condition: Tensor): { axis: number; at: number[] } {
  const { axis: given } = node.attrs;
  const axis = given === undefined ? -1 : axisAttr(node, x.dims.length);
  const n = axis < 0 ? product(x.dims) : x.dims[axis];
  const at = nonzero(condition);
  if (at.some((i) => i >= n)) throw bad(node, `condition of ${condition.size} for ${n} elements`);
  return { axis, at };
}

export const gathers: OpTable = {
  Gather: GATHER,
  GatherElements: like(
    (node, _x, inputs) => arg(node, inputs, 1).dims,
    (node, [x, indices], [out]) => take(out, x!, elementsAt(node, x!, indices!)),
  ),
  GatherND: like(
    (node, { dims }, inputs) => slicesDims(node, dims, arg(node, inputs, 1).dims, int(node, 'batch_dims', 0)),
    (node, [x, indices], [out]) => {
      const { at, size } = slicesAt(node, x!, indices!, int(node, 'batch_dims', 0));
      at.forEach((from, i) => {
        out.data.set(x!.data.subarray(from, from + size) as never, i * size);
      });
    },
  ),
  ScatterElements: like(
    (node, x, inputs) => sameType(node, x, arg(node, inputs, 2), arg(node, inputs, 1).dims),
    (node, [x, indices, updates], [out]) => {
      const at = elementsAt(node, x!, indices!);
      scatter(node, x!, updates!, out, (i) => at[i]);
    },
  ),
  ScatterND: like(
    (node, x, inputs) =>
      sameType(node, x, arg(node, inputs, 2), slicesDims(node, x.dims, arg(node, inputs, 1).dims, 0)),
    (node, [x, indices, updates], [out]) => {
      const { at, size } = slicesAt(node, x!, indices!, 0);
      scatter(node, x!, updates!, out, (i) => at[Math.floor(i / size)] + (i % size));
    },
  ),
  OneHot: {
    infer(node, inputs, need) {
      const { dims } = arg(node, inputs, 0);
      const { type, dims: pair } = arg(node, inputs, 2);
      const depth = Math.trunc(Number(values(need(1))[0]));
      if (product(pair) !== 2 || product(arg(node, inputs, 1).dims) !== 1) throw bad(node, 'expected [off, on] values');
      const axis = axisAttr(node, dims.length + 1, -1);
      return [{ type, dims: [...dims.slice(0, axis), depth, ...dims.slice(axis)] }];
    },
    eval(node, [indices, , pair], [out]) {
      const { n, inner } = lines(out.dims, axisAttr(node, out.dims.length, -1));
      const [off, on] = pair!.data;
      const index = values(indices!);
      out.data.fill(off as never);
      for (let i = 0; i < indices!.size; i++) {
        const k = Number(index[i]);
        // Out of range: no element is on.
        if (k >= -n && k < n) {
          out.data[(Math.floor(i / inner) * n + (k < 0 ? k + n : k)) * inner + (i % inner)] = on as never;
        }
      }
    },
  },
  ReverseSequence: like(
    (node, { dims }) => {
      const [a, b] = [int(node, 'batch_axis', 1), int(node, 'time_axis', 0)];
      if (dims.length < 2 || a === b || a >> 1 || b >> 1) throw bad(node, `axes ${a} and ${b} for [${dims}]`);
      return dims;
    },
    (node, [x, lengths], [out]) => {
      const byTime = int(node, 'time_axis', 0) === 0;
      const [first, second] = x!.dims;
      const lens = list(lengths);
      const [batch, time] = byTime ? [second, first] : [first, second];
      if (lens.length !== batch || lens.some((n) => !(n >= 0 && n <= time))) throw bad(node, `lengths [${lens}]`);
      const inner = product(x!.dims.slice(2));
      take(
        out,
        x!,
        offsets(x!.dims, stridesOf(x!.dims)).map((i) => {
          const rest = i % inner;
          const row = Math.floor(i / inner);
          const [a, b] = [Math.floor(row / second), row % second];
          const [t, len] = byTime ? [a, lens[b]] : [b, lens[a]];
          const from = t < len ? len - 1 - t : t;
          return (byTime ? from * second + b : a * second + from) * inner + rest;
        }),
      );
    },
  ),
  NonZero: {
    infer(node, inputs, need) {
      return [{ type: 'int64', dims: [arg(node, inputs, 0).dims.length, nonzero(need(0)).length] }];
    },
    eval(_node, [x], [out]) {
      const at = nonzero(x!);
      const strides = stridesOf(x!.dims);
      const n = at.length;
      fill(out, (i) => {
        const d = Math.floor(i / n);
        return BigInt(Math.floor(at[i % n] / strides[d]) % x!.dims[d]);
      });
    },
  },
  Compress: like(
    (node, x, _inputs, need) => {
      const { axis, at } = compressed(node, x, need(1));
      return axis < 0 ? [at.length] : resized(x.dims, axis, at.length);
    },
    (node, [x, condition], [out]) => {
      const { axis, at } = compressed(node, x!, condition!);
      if (axis < 0) return take(out, x!, at);
      const tables = x!.dims.map((n, d) => (d === axis ? at : [...Array(n).keys()]));
      take(out, x!, lookup(tables, stridesOf(x!.dims)));
    },
  ),
};
