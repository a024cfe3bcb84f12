/** Softmax and its relatives along one axis, in f64 and shifted by the maximum. */
import { arg, axisOf, int, only } from './attrs.ts';
import { doubles, FLOATS, store } from './half.ts';
import { eachLine } from './strided.ts';
import type { OpDef, OpTable } from './types.ts';

/** What becomes of one line of n values, `step` apart, given its maximum. */
type Line = (x: Float64Array, start: number, step: number, n: number, max: number) => void;

/** Softmax of one line in place. */
export const softmaxLine: Line = (x, start, step, n, max) => {
  let sum = 0;
  const end = start + n * step;
  for (let i = start; i < end; i += step) sum += x[i] = Math.exp(x[i] - max);
  for (let i = start; i < end; i += step) x[i] /= sum;
};

/** LogSoftmax of one line in place. */
export const logSoftmaxLine: Line = (x, start, step, n, max) => {
  let sum = 0;
  const end = start + n * step;
  for (let i = start; i < end; i += step) sum += Math.exp(x[i] - max);
  const shift = max + Math.log(sum);
  for (let i = start; i < end; i += step) x[i] -= shift;
};

/** 1 at the first maximum, 0 elsewhere. */
const hardmaxLine: Line = (x, start, step, n, max) => {
  let found = false;
  for (let i = start; i < start + n * step; i += step) {
    const hit: boolean = !found && x[i] === max;
    found ||= hit;
    x[i] = hit ? 1 : 0;
  }
};

/** Applies `line` to every line along an axis, in place. NaN as a maximum only where all are NaN. */
export function overLines(x: Float64Array, dims: readonly number[], axis: number, line: Line): void {
  eachLine(dims, axis, (start, step, n) => {
    let max = Number.NEGATIVE_INFINITY;
    for (let i = start; i < start + n * step; i += step) if (x[i] > max) max = x[i];
    line(x, start, step, n, max);
  });
}

const along = (line: Line): OpDef => ({
  infer(node, inputs) {
    const { type, dims } = arg(node, inputs, 0);
    only(node, type, FLOATS);
    if (dims.length) axisOf(int(node, 'axis', -1), dims.length, node);
    return [{ type, dims }];
  },
  eval(node, [x], [y]) {
    const values = doubles(x!);
    const dims = y.dims.length ? y.dims : [1];
    overLines(values, dims, axisOf(int(node, 'axis', -1), dims.length, node), line);
    store(y, values);
  },
});

export const softmaxes: OpTable = {
  Softmax: along(softmaxLine),
  LogSoftmax: along(logSoftmaxLine),
  Hardmax: along(hardmaxLine),
};
