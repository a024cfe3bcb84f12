/** Reductions along axes, and ArgMax and ArgMin. Floats are accumulated in f64, integers exactly. */
import type { Node } from '../graph/ir.ts';
import type { DType, TensorType } from '../tensor.ts';
import { arg, axesOf, axisOf, int, only, optional } from './attrs.ts';
import { as, fill, list, max, min, offsets, stridesOf, type Value, values } from './broadcast.ts';
import { FLOATS, rangeOf } from './half.ts';
import type { OpDef, OpTable } from './types.ts';

const INTEGERS: readonly DType[] = ['int32', 'int64', 'uint32', 'uint64', 'int8', 'uint8'];

/** Visits, for every element of what is kept, the elements reduced into it: element `i` is at `base + inner[i]`. */
function fold(
  x: TensorType,
  axes: readonly number[],
  out: Parameters<typeof fill>[0],
  f: (base: number, inner: Uint32Array) => Value,
): void {
  const strides = stridesOf(x.dims);
  const pick = (list: readonly number[], reduced: boolean) => list.filter((_, d) => axes.includes(d) === reduced);
  const outer = offsets(pick(x.dims, false), pick(strides, false));
  const inner = offsets(pick(x.dims, true), pick(strides, true));
  fill(out, (i) => f(outer[i], inner));
}

const without = (node: Node, { dims }: TensorType, axes: readonly number[]): number[] =>
  int(node, 'keepdims', 1) ? dims.map((n, d) => (axes.includes(d) ? 1 : n)) : dims.filter((_, d) => !axes.includes(d));

/** Least and greatest value of a type: what Max and Min of nothing give. */
function limits({ type }: TensorType): [Value, Value] {
  if (type === 'bool') return [0, 1];
  if (type === 'int64') return [-(2n ** 63n), 2n ** 63n - 1n];
  if (type === 'uint64') return [0n, 2n ** 64n - 1n];
  const [lo, hi] = rangeOf(type) ?? [-Infinity, Infinity];
  return [lo, hi];
}

interface Reduction {
  /** The value of an empty reduction. */
  start: (t: TensorType) => Value;
  /** Folds element `x` in. */
  step: (acc: Value, x: Value) => Value;
  /** Makes the result; `n` is the number of elements. */
  end?: (acc: Value, n: number, t: TensorType) => Value;
  bool?: true;
}

const zero = (t: TensorType) => as(t, 0);
const add = (a: Value, x: Value) => a + x;
const root: Reduction['end'] = (a, _n, t) => as(t, Math.sqrt(Number(a)));
const log: Reduction['end'] = (a, _n, t) => as(t, Math.log(Number(a)));

const REDUCTIONS: Record<string, Reduction> = {
  Sum: { start: zero, step: add },
  Mean: { start: zero, step: add, end: (a, n, t) => as(t, Number(a) / n) },
  Prod: { start: (t) => as(t, 1), step: (a, x) => a * x },
  Max: { start: (t) => limits(t)[0], step: max, bool: true },
  Min: { start: (t) => limits(t)[1], step: min, bool: true },
  L1: { start: zero, step: (a, x) => (x < 0 ? a - x : a + x) },
  L2: { start: zero, step: (a, x) => a + x * x, end: root },
  SumSquare: { start: zero, step: (a, x) => a + x * x },
  LogSum: { start: zero, step: add, end: log },
};

/** log Σ e^x, in steps that keep the largest x apart: acc is [largest, Σ e^(x - largest)]. */
const logSumExp: Reduction = {
  start: () => [-Infinity, 0],
  step([top, sum], y) {
    const x = Number(y);
    if (x <= top) return [top, sum + (x === top ? 1 : Math.exp(x - top))];
    return [x, (sum && sum * Math.exp(top - x)) + 1];
  },
  end: ([top, sum], _n, t) => as(t, top + Math.log(sum)),
};

function reduction({ start, step, end, bool }: Reduction): OpDef {
  const axesIn = (node: Node, x: TensorType, given: number[]) =>
    given.length || int(node, 'noop_with_empty_axes', 0) ? axesOf(node, given, x.dims.length) : [...x.dims.keys()];
  return {
    infer(node, inputs, need) {
      const x = arg(node, inputs, 0);
      only(node, x.type, bool ? [...FLOATS, ...INTEGERS, 'bool'] : [...FLOATS, ...INTEGERS]);
      return [{ type: x.type, dims: without(node, x, axesIn(node, x, list(optional(inputs, need, 1)))) }];
    },
    eval(node, [x, axes], [out]) {
      const data = values(x!);
      fold(x!, axesIn(node, x!, list(axes)), out, (base, inner) => {
        let acc = start(out);
        for (let i = 0; i < inner.length; i++) acc = step(acc, data[base + inner[i]]);
        return end ? end(acc, inner.length, out) : acc;
      });
    },
  };
}

/** @param better whether x beats the best so far; NaN beats everything, as in numpy */
const index = (better: (x: Value, best: Value) => boolean): OpDef => ({
  infer(node, inputs) {
    const x = arg(node, inputs, 0);
    return [{ type: 'int64', dims: without(node, x, [axisOf(int(node, 'axis', 0), x.dims.length, node)]) }];
  },
  eval(node, [x], [out]) {
    const data = values(x!);
    const last = int(node, 'select_last_index', 0);
    fold(x!, [axisOf(int(node, 'axis', 0), x!.dims.length, node)], out, (base, inner) => {
      let best = 0;
      for (let i = 1; i < inner.length; i++) {
        const a = data[base + inner[i]];
        const b = data[base + inner[best]];
        const beats = !Number.isNaN(b) && (Number.isNaN(a) || better(a, b));
        if (beats || (last && (a === b || (Number.isNaN(a) && Number.isNaN(b))))) best = i;
      }
      return BigInt(best);
    });
  },
});

export const reductions: OpTable = {
  ArgMax: index((x, best) => x > best),
  ArgMin: index((x, best) => x < best),
  ReduceLogSumExp: reduction(logSumExp),
};
for (const name in REDUCTIONS) reductions[`Reduce${name}`] = reduction(REDUCTIONS[name]);
