/** Operators that move elements without looking at them. All indices are checked before anything is read. */
import type { Node } from '../graph/ir.ts';
import type { Tensor, TensorType } from '../tensor.ts';
import { arg, axisOf, bad, int, ints, str } from './attrs.ts';
import { as, fill, list, offsets, stridesOf, take, type Value, values } from './broadcast.ts';
import { max, min } from './elementwise.ts';
import { axesOf, optional } from './shape.ts';
import { lines, product } from './strided.ts';
import type { Known, OpDef, OpTable } from './types.ts';

type Dims = readonly number[];

/** An index in -n … n-1, counted from the front. */
function indexIn(node: Node, index: Value, n: number): number {
  const i = Number(index);
  if (!(i >= -n && i < n)) throw bad(node, `index ${i} is out of range for ${n}`);
  return i < 0 ? i + n : i;
}

const axisAttr = (node: Node, rank: number, fallback?: number) => axisOf(int(node, 'axis', fallback), rank, node);

/** With one dimension changed. */
const resized = (dims: Dims, axis: number, n: number) => dims.map((d, i) => (i === axis ? n : d));

/** An operator whose one output has the type of its first input. */
const like = (
  dimsOf: (node: Node, x: Known, inputs: readonly (Known | undefined)[], need: (i: number) => Tensor) => Dims,
  evaluate: OpDef['eval'],
): OpDef => ({
  infer(node, inputs, need) {
    const x = arg(node, inputs, 0);
    return [{ type: x.type, dims: dimsOf(node, x, inputs, need) }];
  },
  eval: evaluate,
});

/** Copies blocks of `inner` elements between a whole and its part along an axis, `from` elements in. */
function part(whole: Tensor, piece: Tensor, axis: number, from: number, toPiece: boolean): void {
  const { outer, n, inner } = lines(whole.dims, axis);
  const run = piece.dims[axis] * inner;
  for (let o = 0; o < outer; o++) {
    const at = (o * n + from) * inner;
    if (toPiece) piece.data.set(whole.data.subarray(at, at + run) as never, o * run);
    else whole.data.set(piece.data.subarray(o * run, (o + 1) * run) as never, at);
  }
}

function splitSizes(node: Node, n: number, given: Tensor | undefined): number[] {
  const count = int(node, 'num_outputs', node.outputs.length);
  const sizes = given
    ? list(given)
    : Array.from({ length: count }, (_, i) => {
        const each = Math.ceil(n / count);
        return Math.max(0, Math.min(each, n - i * each));
      });
  if (sizes.length !== node.outputs.length || sizes.some((s) => s < 0) || sizes.reduce((a, b) => a + b, 0) !== n) {
    throw bad(node, `${n} does not split into [${sizes}] for ${node.outputs.length} outputs`);
  }
  return sizes;
}

/** Start, step and length along every dimension. */
function sliceOf(node: Node, dims: Dims, args: readonly (Tensor | undefined)[]) {
  const [starts, ends] = [list(args[1]), list(args[2])];
  const axes = axesOf(node, args[3] ? list(args[3]) : [...starts.keys()], dims.length);
  const steps = args[4] ? list(args[4]) : starts.map(() => 1);
  if (ends.length !== starts.length || axes.length !== starts.length || steps.length !== starts.length) {
    throw bad(node, 'starts, ends, axes and steps differ in length');
  }
  const from = dims.map(() => 0);
  const by = dims.map(() => 1);
  const size = [...dims];
  axes.forEach((d, i) => {
    const n = dims[d];
    const step = steps[i];
    if (!step) throw bad(node, 'a step is 0');
    // Going down, one may stop before the first element.
    const clamp = (x: number, low: number) => Math.max(low, Math.min(x < 0 ? x + n : x, step > 0 ? n : n - 1));
    from[d] = clamp(starts[i], 0);
    by[d] = step;
    size[d] = Math.max(0, Math.ceil((clamp(ends[i], step > 0 ? 0 : -1) - from[d]) / step));
  });
  return { from, by, size };
}

function permOf(node: Node, dims: Dims): readonly number[] {
  const perm = ints(node, 'perm') ?? [...dims.keys()].reverse();
  if (perm.length !== dims.length || axesOf(node, perm, dims.length).some((a, i) => a !== perm[i])) {
    throw bad(node, `perm [${perm}] is no permutation for rank ${dims.length}`);
  }
  return perm;
}

/** For every dimension how much is added before and after. */
function padsOf(node: Node, rank: number, pads: Tensor, axes: Tensor | undefined): [number, number][] {
  const p = list(pads);
  const on = axes ? axesOf(node, list(axes), rank) : [...Array(rank).keys()];
  if (p.length !== 2 * on.length) throw bad(node, `${p.length} pads for ${on.length} axes`);
  const out = Array.from({ length: rank }, (): [number, number] => [0, 0]);
  on.forEach((d, i) => {
    out[d] = [p[i], p[i + on.length]];
  });
  return out;
}

/** Which element of a dimension of n stands at position i outside of it; -1 for none. */
const OUTSIDE: Record<string, (i: number, n: number) => number> = {
  constant: () => -1,
  edge: (i, n) => (i < 0 ? 0 : n - 1),
  wrap: (i, n) => ((i % n) + n) % n,
  reflect(i, n) {
    const period = Math.max(1, 2 * (n - 1));
    const j = ((i % period) + period) % period;
    return j < n ? j : period - j;
  },
};

/** Like {@link offsets}, with an index table for every dimension; -1 stays -1. */
function lookup(tables: readonly (readonly number[])[], strides: Dims): number[] {
  let out = [0];
  tables.forEach((table, d) => {
    out = out.flatMap((o) => table.map((i) => (o < 0 || i < 0 ? -1 : o + i * strides[d])));
  });
  return out;
}

const padMode = (node: Node) => str(node, 'mode', 'constant', Object.keys(OUTSIDE));

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

/** Elements a crop takes from the middle, and where they go in the padded middle. */
function centre(node: Node, dims: Dims, shape: Tensor): { to: number[] } {
  const axes = axesOf(node, ints(node, 'axes') ?? [...dims.keys()], dims.length);
  const sizes = list(shape);
  if (sizes.length !== axes.length) throw bad(node, `${sizes.length} sizes for ${axes.length} axes`);
  const to = [...dims];
  axes.forEach((d, i) => {
    to[d] = sizes[i];
  });
  return { to };
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

export const moves: OpTable = {
  Concat: like(
    (node, x, inputs) => {
      const axis = axisAttr(node, x.dims.length);
      let n = 0;
      inputs.forEach((_, i) => {
        const y = arg(node, inputs, i);
        const fits = y.dims.length === x.dims.length && y.dims.every((d, k) => k === axis || d === x.dims[k]);
        if (!fits || y.type !== x.type) {
          throw bad(node, `${y.type} [${y.dims}] does not join ${x.type} [${x.dims}] along axis ${axis}`);
        }
        n += y.dims[axis];
      });
      return resized(x.dims, axis, n);
    },
    (node, inputs, [out]) => {
      const axis = axisAttr(node, out.dims.length);
      let from = 0;
      for (const x of inputs as Tensor[]) {
        part(out, x, axis, from, false);
        from += x.dims[axis];
      }
    },
  ),
  Split: {
    infer(node, inputs, need) {
      const { type, dims } = arg(node, inputs, 0);
      const axis = axisAttr(node, dims.length, 0);
      const sizes = splitSizes(node, dims[axis], optional(inputs, need, 1));
      return sizes.map((n) => ({ type, dims: resized(dims, axis, n) }));
    },
    eval(node, [x], outputs) {
      const axis = axisAttr(node, x!.dims.length, 0);
      let from = 0;
      for (const out of outputs) {
        part(x!, out, axis, from, true);
        from += out.dims[axis];
      }
    },
  },
  Slice: like(
    (node, { dims }, inputs, need) =>
      sliceOf(node, dims, [undefined, need(1), need(2), optional(inputs, need, 3), optional(inputs, need, 4)]).size,
    (node, inputs, [out]) => {
      const x = inputs[0]!;
      const { from, by } = sliceOf(node, x.dims, inputs);
      const strides = stridesOf(x.dims);
      const base = from.reduce((sum, i, d) => sum + i * strides[d], 0);
      take(
        out,
        x,
        offsets(
          out.dims,
          strides.map((s, d) => s * by[d]),
          base,
        ),
      );
    },
  ),
  Transpose: like(
    (node, { dims }) => permOf(node, dims).map((d) => dims[d]),
    (node, [x], [out]) => {
      const strides = stridesOf(x!.dims);
      take(
        out,
        x!,
        offsets(
          out.dims,
          permOf(node, x!.dims).map((d) => strides[d]),
        ),
      );
    },
  ),
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
  Pad: like(
    (node, { dims }, inputs, need) => {
      padMode(node);
      const pads = padsOf(node, dims.length, need(1), optional(inputs, need, 3));
      return dims.map((n, d) => {
        const size = n + pads[d][0] + pads[d][1];
        if (size > 0 && !n && padMode(node) !== 'constant') throw bad(node, 'nothing to pad from');
        return size;
      });
    },
    (node, [x, p, value, axes], [out]) => {
      const outside = OUTSIDE[padMode(node)];
      const pads = padsOf(node, x!.dims.length, p!, axes);
      const tables = out.dims.map((size, d) =>
        Array.from({ length: size }, (_, i) => {
          const at = i - pads[d][0];
          const n = x!.dims[d];
          return at >= 0 && at < n ? at : outside(at, n);
        }),
      );
      const at = lookup(tables, stridesOf(x!.dims));
      const data = values(x!);
      const constant = value ? values(value)[0] : as(out, 0);
      fill(out, (i) => (at[i] < 0 ? constant : data[at[i]]));
    },
  ),
  CenterCropPad: like(
    (node, { dims }, _inputs, need) => centre(node, dims, need(1)).to,
    (_node, [x], [out]) => {
      const tables = out.dims.map((size, d) => {
        const n = x!.dims[d];
        const shift = size < n ? Math.floor((n - size) / 2) : -Math.floor((size - n) / 2);
        return Array.from({ length: size }, (_, i) => (i + shift >= 0 && i + shift < n ? i + shift : -1));
      });
      const at = lookup(tables, stridesOf(x!.dims));
      for (let i = 0; i < at.length; i++) if (at[i] >= 0) out.data[i] = x!.data[at[i]] as never;
    },
  ),
  Tile: like(
    (node, { dims }, _inputs, need) => {
      const repeats = list(need(1));
      if (repeats.length !== dims.length) throw bad(node, `${repeats.length} repeats for rank ${dims.length}`);
      return dims.map((n, d) => n * repeats[d]);
    },
    (_node, [x, repeats], [out]) => {
      const strides = stridesOf(x!.dims);
      const dims = list(repeats).flatMap((r, d) => [r, x!.dims[d]]);
      take(
        out,
        x!,
        offsets(
          dims,
          strides.flatMap((s) => [0, s]),
        ),
      );
    },
  ),
  Trilu: like(
    (node, { dims }) => {
      if (dims.length < 2) throw bad(node, `expected rank 2 or more, got [${dims}]`);
      return dims;
    },
    (node, [x, diagonal], [out]) => {
      const k = list(diagonal)[0] ?? 0;
      const upper = int(node, 'upper', 1);
      const [rows, columns] = out.dims.slice(-2);
      for (let i = 0; i < out.size; i++) {
        const past = (i % columns) - (Math.floor(i / columns) % rows) - k;
        if (upper ? past >= 0 : past <= 0) out.data[i] = x!.data[i] as never;
      }
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
