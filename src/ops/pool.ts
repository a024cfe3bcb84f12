/** Pools over sliding windows of one to three spatial dimensions, and over whole planes. */
import type { Node } from '../graph/ir.ts';
import type { TensorType } from '../tensor.ts';
import { arg, bad, int, only, wants } from './attrs.ts';
import { FLOATS, numbers, rangeOf, store, target } from './half.ts';
import { kernelShape, spatialOf, three, type Window, window, window3 } from './spatial.ts';
import { product } from './strided.ts';
import type { Known, OpDef, OpTable } from './types.ts';

/** The windows of a pool node over input shape `x`. Global pools see a plane as one line, and one window over it. */
export function poolWindow(node: Node, x: readonly number[]): Window {
  if (node.op.startsWith('Global')) {
    if (x.length < 2) throw bad(node, `input expected N x C x …, got [${x}]`);
    const one = [1];
    return { kernel: [product(x.slice(2))], out: one, padBegin: [0], padEnd: [0], stride: one, dilation: one };
  }
  const spatial = spatialOf(node, x);
  return window(node, spatial, kernelShape(node, spatial.length));
}

function infer(node: Node, inputs: readonly (Known | undefined)[]): TensorType[] {
  const x = arg(node, inputs, 0);
  const max = node.op === 'MaxPool';
  only(node, x.type, max ? [...FLOATS, 'int8', 'uint8'] : FLOATS);
  const { out } = poolWindow(node, x.dims);
  const dims = [...x.dims.slice(0, 2), ...(node.op.startsWith('Global') ? x.dims.slice(2).map(() => 1) : out)];
  const types: TensorType[] = [{ type: x.type, dims }];
  if (max && wants(node, 1)) types.push({ type: 'int64', dims });
  return types;
}

type Kind = 'max' | 'mean' | 'norm';

const pool = (kind: Kind): OpDef => ({
  infer,
  eval(node, [input], [y, indices]) {
    const x = numbers(input!);
    const out = target(y);
    const win = poolWindow(node, input!.dims);
    const { kernel, out: size, padBegin, padEnd, stride, dilation } = window3(win);
    const inSize = node.op.startsWith('Global') ? [1, 1, kernel[2]] : three(input!.dims.slice(2), 1);
    const planeIn = product(inSize);
    const planes = planeIn ? x.length / planeIn : product(y.dims.slice(0, 2));
    const p = kind === 'norm' ? int(node, 'p', 2) : 0;
    const countPad = kind === 'mean' && int(node, 'count_include_pad', 0);
    const columns = indices && int(node, 'storage_order', 0);
    const start = kind === 'max' ? (rangeOf(y.type)?.[0] ?? Number.NEGATIVE_INFINITY) : 0;

    // Per dimension and output: the input positions read, from `lo` below `hi`, and how many taps the padded input has.
    const range = (d: number, o: number) => {
      const from = o * stride[d] - padBegin[d];
      const k = Math.min(kernel[d], Math.ceil((inSize[d] - from) / dilation[d]));
      const lo = from + Math.max(0, Math.ceil(-from / dilation[d])) * dilation[d];
      const padded = Math.min(kernel[d], Math.ceil((inSize[d] + padEnd[d] - from) / dilation[d]));
      return { lo, hi: from + k * dilation[d], count: padded };
    };
    const ranges = size.map((n, d) => Array.from({ length: n }, (_, o) => range(d, o)));
    let at = 0;
    for (let plane = 0; plane < planes; plane++) {
      const base = plane * planeIn;
      for (const a of ranges[0]) {
        for (const b of ranges[1]) {
          for (const c of ranges[2]) {
            let acc = start;
            let best = base;
            let count = 0;
            for (let i = a.lo; i < a.hi; i += dilation[0]) {
              for (let j = b.lo; j < b.hi; j += dilation[1]) {
                const row = base + (i * inSize[1] + j) * inSize[2];
                for (let k = c.lo; k < c.hi; k += dilation[2]) {
                  const v = x[row + k];
                  if (kind === 'norm') acc += Math.abs(v) ** p;
                  else if (kind === 'mean') acc += v;
                  else if (v > acc || (count === 0 && v === acc) || Number.isNaN(v)) {
                    acc = v;
                    best = columns ? base + (k * inSize[1] + j) * inSize[0] + i : row + k;
                    // A NaN stays: nothing compares greater.
                  }
                  count++;
                }
              }
            }
            if (kind === 'norm') acc **= 1 / p;
            if (kind === 'mean') acc /= countPad ? a.count * b.count * c.count : count;
            out[at] = acc;
            if (indices) indices.data[at] = BigInt(best);
            at++;
          }
        }
      }
    }
    store(y, out);
  },
});

export const pools: OpTable = {
  MaxPool: pool('max'),
  AveragePool: pool('mean'),
  LpPool: pool('norm'),
  GlobalMaxPool: pool('max'),
  GlobalAveragePool: pool('mean'),
  GlobalLpPool: pool('norm'),
};
