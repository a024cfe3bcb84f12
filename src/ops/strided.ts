/** Loops over strided arrays that many operators share. */
import type { Node } from '../graph/ir.ts';
import type { Tensor } from '../tensor.ts';
import { bad } from './attrs.ts';
import { doubles } from './half.ts';

export const product = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);

/** A shape seen from one axis: element (o, i, r) lies at (o · n + i) · inner + r. */
export function lines(dims: readonly number[], axis: number): { outer: number; n: number; inner: number } {
  return { outer: product(dims.slice(0, axis)), n: dims[axis], inner: product(dims.slice(axis + 1)) };
}

/** Calls `visit(start, step, n)` for every line along an axis. */
export function eachLine(
  dims: readonly number[],
  axis: number,
  visit: (start: number, step: number, n: number) => void,
): void {
  const { outer, n, inner } = lines(dims, axis);
  for (let o = 0; o < outer; o++) for (let r = 0; r < inner; r++) visit(o * n * inner + r, inner, n);
}

/** acc[ai + i·as] += w · x[xi + i·xs] for n values of i. */
export function axpy(
  acc: Float64Array,
  ai: number,
  as: number,
  x: Float64Array,
  xi: number,
  xs: number,
  w: number,
  n: number,
): void {
  for (; n > 0; n--, ai += as, xi += xs) acc[ai] += w * x[xi];
}

/**
 * Row-major strides of `from` read as if broadcast to `to`: 0 where it repeats.
 * @throws ModelFormatError when it does not broadcast
 */
export function broadcastStrides(node: Node, from: readonly number[], to: readonly number[]): number[] {
  const strides = new Array<number>(to.length).fill(0);
  let step = 1;
  for (let i = from.length - 1; i >= 0; i--) {
    const d = i + to.length - from.length;
    if (from[i] !== 1) {
      if (d < 0 || to[d] !== from[i]) throw bad(node, `shape [${from}] does not broadcast to [${to}]`);
      strides[d] = step;
    }
    step *= from[i];
  }
  return strides;
}

/**
 * Offsets of the elements of a shape under several sets of strides at once: `visit(offsets, n)` for every run along the
 * last dimension, in row-major order. Do not keep `offsets`.
 */
export function eachRun(
  dims: readonly number[],
  strides: readonly (readonly number[])[],
  visit: (offsets: number[], n: number) => void,
): void {
  const last = dims.length - 1;
  if (product(dims) === 0) return;
  const at = new Array<number>(strides.length).fill(0);
  if (last < 0) {
    visit(at, 1);
    return;
  }
  const index = new Array<number>(last).fill(0);
  for (;;) {
    visit(at, dims[last]);
    let d = last - 1;
    for (; d >= 0; d--) {
      for (let s = 0; s < at.length; s++) at[s] += strides[s][d];
      if (++index[d] < dims[d]) break;
      for (let s = 0; s < at.length; s++) at[s] -= strides[s][d] * dims[d];
      index[d] = 0;
    }
    if (d < 0) return;
  }
}

/** A tensor's elements as doubles, repeated to a shape. */
export function broadcast(node: Node, t: Tensor, dims: readonly number[]): Float64Array {
  const x = doubles(t);
  const size = product(dims);
  const strides = broadcastStrides(node, t.dims, dims);
  if (x.length === size) return x;
  const out = new Float64Array(size);
  const step = strides.at(-1) ?? 0;
  let o = 0;
  eachRun(dims, [strides], ([at], n) => {
    for (; n > 0; n--, at += step) out[o++] = x[at];
  });
  return out;
}
