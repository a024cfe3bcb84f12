/** Matrix products: MatMul with NumPy's broadcasting, Gemm. */
import type { Node } from '../graph/ir.ts';
import { arg, bad, float, int, only, sameType } from './attrs.ts';
import { broadcastDims } from './broadcast.ts';
import { accumulator, exact, INTEGERS, storeExact } from './exact.ts';
import { doubles, FLOATS, store } from './half.ts';
import { axpy, broadcast, broadcastStrides, eachRun } from './strided.ts';
import type { OpTable } from './types.ts';

/** How MatMul reads its operands: batches, and an M x K by K x N product in each. `dims` is the result's shape. */
export function matmulShape(node: Node, a: readonly number[], b: readonly number[]) {
  if (!a.length || !b.length) throw bad(node, 'a scalar operand');
  // A vector is a row on the left and a column on the right, and its dimension is left out of the result.
  const left = a.length > 1 ? a : [1, ...a];
  const right = b.length > 1 ? b : [...b, 1];
  const [m, k] = left.slice(-2);
  const [k2, n] = right.slice(-2);
  if (k !== k2) throw bad(node, `inner dimensions of [${a}] and [${b}] differ`);
  const batch = broadcastDims(node, [left.slice(0, -2), right.slice(0, -2)]);
  const dims = [...batch, ...(a.length > 1 ? [m] : []), ...(b.length > 1 ? [n] : [])];
  return { batch, m, k, n, dims, left, right };
}

/** The product of two tensors given as numbers: every row accumulated in place in `out`. */
export function multiply(
  node: Node,
  aDims: readonly number[],
  bDims: readonly number[],
  a: Float64Array,
  b: Float64Array,
  out: Float64Array,
): void {
  const { batch, m, k, n, left, right } = matmulShape(node, aDims, bDims);
  const strides = [left, right].map((d) => broadcastStrides(node, d.slice(0, -2), batch));
  // A separate copy for bigints keeps this engine's type feedback for the doubles clean.
  const add = out instanceof Float64Array ? axpy : bigAxpy;
  let start = 0;
  eachRun(batch, strides, ([ai, bi], count) => {
    for (; count > 0; count--, ai += strides[0].at(-1) ?? 0, bi += strides[1].at(-1) ?? 0) {
      for (let i = 0; i < m; i++, start += n) {
        for (let p = 0; p < k; p++) add(out, start, 1, b, (bi * k + p) * n, 1, a[(ai * m + i) * k + p], n);
      }
    }
  });
}

const bigAxpy: typeof axpy = (acc, ai, _as, x, xi, _xs, w, n) => {
  for (let i = 0; i < n; i++) acc[ai + i] += w * x[xi + i];
};

function transposed(x: Float64Array, [rows, columns]: readonly number[]): Float64Array {
  const out = new Float64Array(x.length);
  for (let i = 0, at = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = x[at++];
  return out;
}

/** The shapes of Gemm's operands after transposition. */
function gemmShape(node: Node, a: readonly number[], b: readonly number[]) {
  if (a.length !== 2 || b.length !== 2) throw bad(node, `matrices expected, got [${a}] and [${b}]`);
  const left = int(node, 'transA', 0) ? [a[1], a[0]] : a;
  const right = int(node, 'transB', 0) ? [b[1], b[0]] : b;
  return matmulShape(node, left, right);
}

export const linalg: OpTable = {
  MatMul: {
    infer(node, inputs) {
      const a = arg(node, inputs, 0);
      only(node, a.type, [...FLOATS, ...INTEGERS]);
      sameType(node, inputs);
      return [{ type: a.type, dims: matmulShape(node, a.dims, arg(node, inputs, 1).dims).dims }];
    },
    eval(node, [a, b], [y]) {
      const out = accumulator(y.type, y.size);
      multiply(node, a!.dims, b!.dims, exact(a!), exact(b!), out);
      storeExact(y, out);
    },
  },
  Gemm: {
    infer(node, inputs) {
      const a = arg(node, inputs, 0);
      only(node, a.type, FLOATS);
      sameType(node, inputs);
      const { dims } = gemmShape(node, a.dims, arg(node, inputs, 1).dims);
      if (inputs[2]) broadcastStrides(node, inputs[2].dims, dims);
      return [{ type: a.type, dims }];
    },
    eval(node, [a, b, c], [y]) {
      const { left, right } = gemmShape(node, a!.dims, b!.dims);
      const x = int(node, 'transA', 0) ? transposed(doubles(a!), a!.dims) : doubles(a!);
      const w = int(node, 'transB', 0) ? transposed(doubles(b!), b!.dims) : doubles(b!);
      const alpha = float(node, 'alpha', 1);
      const beta = float(node, 'beta', 1);
      const add = c && broadcast(node, c, y.dims);
      const out = new Float64Array(y.size);
      multiply(node, left, right, x, w, out);
      for (let i = 0; i < out.length; i++) out[i] = out[i] * alpha + (add ? add[i] * beta : 0);
      store(y, out);
    },
  },
};
