/** Operators that move elements to places the shapes decide. */
import type { Node } from '../graph/ir.ts';
import type { Tensor } from '../tensor.ts';
import { arg, axesOf, axisOf, bad, int, ints, optional, str } from './attrs.ts';
import { as, fill, list, offsets, scalarFor, stridesOf, take, values } from './broadcast.ts';
import { lines } from './strided.ts';
import type { Known, OpDef, OpTable } from './types.ts';

export type Dims = readonly number[];

export const axisAttr = (node: Node, rank: number, fallback?: number) =>
  axisOf(int(node, 'axis', fallback), rank, node);

/** With one dimension changed. */
export const resized = (dims: Dims, axis: number, n: number) => dims.map((d, i) => (i === axis ? n : d));

/** An operator whose one output has the type of its first input. */
export const like = (
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
    const clamp = (x: number, low: number) => Math.min(step > 0 ? n : n - 1, Math.max(low, x < 0 ? x + n : x));
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
export function lookup(tables: readonly (readonly number[])[], strides: Dims): Float64Array {
  let out = Float64Array.of(0);
  tables.forEach((table, d) => {
    const next = new Float64Array(out.length * table.length);
    let j = 0;
    for (const o of out) for (const i of table) next[j++] = o < 0 || i < 0 ? -1 : o + i * strides[d];
    out = next;
  });
  return out;
}

const padMode = (node: Node) => str(node, 'mode', 'constant', Object.keys(OUTSIDE));

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
  Pad: like(
    (node, { type, dims }, inputs, need) => {
      scalarFor(node, { type, dims }, inputs[2]);
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
};
