/** Matrix products: MatMul with NumPy's broadcasting, its integer and quantized forms, Gemm, Einsum, Det. */
import type { Node } from '../graph/ir.ts';
import type { DType, Tensor } from '../tensor.ts';
import { arg, bad, float, int, only, sameType, str } from './attrs.ts';
import { broadcastDims } from './broadcast.ts';
import { BYTES, centred, requantize, spread } from './centred.ts';
import { doubles, FLOATS, store } from './half.ts';
import { axpy, broadcast, broadcastStrides, eachRun } from './strided.ts';
import type { OpTable } from './types.ts';

const INTEGERS: readonly DType[] = ['int32', 'uint32', 'int64', 'uint64'];

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

/** 64- and 32-bit integers as bigints posing as doubles: `*` and `+=` work on both, modulo 2^64 in their array. */
const exact = (t: Tensor): Float64Array =>
  INTEGERS.includes(t.type)
    ? (BigInt64Array.from(t.data as BigInt64Array, BigInt) as unknown as Float64Array)
    : doubles(t);

/** A zeroed accumulator of the kind {@link exact} gives. */
const accumulator = (type: DType, n: number): Float64Array =>
  INTEGERS.includes(type) ? (new BigInt64Array(n) as unknown as Float64Array) : new Float64Array(n);

/** Stores what {@link accumulator} gathered. */
function storeExact(y: Tensor, sums: Float64Array): void {
  if (!INTEGERS.includes(y.type)) store(y, sums);
  else if (y.type.endsWith('64')) (y.data as BigInt64Array).set(sums as unknown as BigInt64Array);
  else y.data.set(Array.from(sums as unknown as BigInt64Array, (v) => Number(BigInt.asIntN(32, v))) as never);
}

/** The product of two tensors given as numbers: every row accumulated in place in `out`. */
function multiply(
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

/**
 * An Einsum equation against shapes: every label's size, output labels first, and the strides by which the operands and
 * the output (last) walk over them.
 */
function einsum(node: Node, shapes: readonly (readonly number[])[]) {
  const equation = str(node, 'equation').replaceAll(' ', '');
  const [inputs, output] = equation.split('->');
  const terms = inputs.split(',');
  if (terms.length !== shapes.length)
    throw bad(node, `"${equation}" has ${terms.length} terms for ${shapes.length} inputs`);
  // What an ellipsis covers gets the labels 9, 8, … from the right, so that operands line up on it.
  let dots = '';
  const labels = terms.map((term, t) => {
    const rest = shapes[t].length - term.replace('...', '').length;
    const covered = '0123456789'.slice(10 - rest);
    if (rest < 0 || rest > 10 || (rest && !term.includes('...'))) {
      throw bad(node, `term "${term}" does not fit shape [${shapes[t]}]`);
    }
    if (rest > dots.length) dots = covered;
    return term.replace('...', rest ? covered : '');
  });
  const all = labels.join('');
  const once = [...new Set(all)].filter((l) => l > '9' && all.indexOf(l) === all.lastIndexOf(l)).sort();
  const out = output?.replace('...', dots) ?? dots + once.join('');
  const order = [...new Set(out + all)];
  const size = new Map<string, number>();
  labels.forEach((term, t) => {
    [...term].forEach((l, i) => {
      const d = shapes[t][i];
      const seen = size.get(l) ?? 1;
      if (d !== seen && d !== 1 && seen !== 1)
        throw bad(node, `label "${l}" of "${equation}" is both ${seen} and ${d}`);
      size.set(l, d === 1 ? seen : d);
    });
  });
  if (new Set(out).size < out.length || [...out].some((l) => !size.has(l)))
    throw bad(node, `bad output in "${equation}"`);
  const dims = [...out].map((l) => size.get(l)!);
  const strides = [...labels, out].map((term, t) => {
    const shape = shapes[t] ?? dims;
    const steps = order.map(() => 0);
    // A label that repeats within a term walks the diagonal: its strides add up.
    for (let i = shape.length - 1, step = 1; i >= 0; step *= shape[i--]) {
      if (shape[i] !== 1) steps[order.indexOf(term[i])] += step;
    }
    return steps;
  });
  return { dims, sizes: order.map((l) => size.get(l)!), strides };
}

/** Columns of the left operand and rows of the right share a zero point: the axis along which a vector of them counts. */
const rowAxis = (t: { dims: readonly number[] }) => Math.max(0, t.dims.length - 2);
const columnAxis = (t: { dims: readonly number[] }) => t.dims.length - 1;

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
  MatMulInteger: {
    infer(node, inputs) {
      const [a, b] = [arg(node, inputs, 0), arg(node, inputs, 1)];
      for (const t of [a, b]) only(node, t.type, BYTES);
      return [{ type: 'int32', dims: matmulShape(node, a.dims, b.dims).dims }];
    },
    eval(node, [a, b, az, bz], [y]) {
      const out = new Float64Array(y.size);
      const [x, w] = [centred(node, a!, az, rowAxis(a!)), centred(node, b!, bz, columnAxis(b!))];
      multiply(node, a!.dims, b!.dims, x, w, out);
      store(y, out);
    },
  },
  /** a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point */
  QLinearMatMul: {
    infer(node, inputs) {
      const [a, , , b, , , , y] = Array.from({ length: 8 }, (_, i) => arg(node, inputs, i));
      for (const t of [a, b, y]) only(node, t.type, BYTES);
      return [{ type: y.type, dims: matmulShape(node, a.dims, b.dims).dims }];
    },
    eval(node, [a, as, az, b, bs, bz, ys, yz], [y]) {
      let factor = 1 / doubles(ys!)[0];
      // Scales of one value wait until the exact sum is there.
      const operand = (t: Tensor, scale: Tensor, zero: Tensor, axis: number) => {
        const x = centred(node, t, zero, axis);
        if (scale.size === 1) factor *= doubles(scale)[0];
        else
          spread(node, scale, t.dims, axis).forEach((s, i) => {
            x[i] *= s;
          });
        return x;
      };
      const out = new Float64Array(y.size);
      const [x, w] = [operand(a!, as!, az!, rowAxis(a!)), operand(b!, bs!, bz!, columnAxis(b!))];
      multiply(node, a!.dims, b!.dims, x, w, out);
      const put = requantize(y);
      const [zero] = doubles(yz!);
      for (let i = 0; i < out.length; i++) put(i, out[i] * factor, zero);
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
  Einsum: {
    infer(node, inputs) {
      const operands = inputs.map((_, i) => arg(node, inputs, i));
      const { type } = arg(node, operands, 0);
      sameType(node, operands);
      only(node, type, [...FLOATS, ...INTEGERS]);
      return [
        {
          type,
          dims: einsum(
            node,
            operands.map((t) => t.dims),
          ).dims,
        },
      ];
    },
    eval(node, inputs, [y]) {
      const x = inputs.map((t) => exact(t!));
      const { sizes, strides } = einsum(
        node,
        inputs.map((t) => t!.dims),
      );
      const steps = strides.map((s) => s.at(-1) ?? 0);
      const out = accumulator(y.type, y.size);
      const count = x.length;
      eachRun(sizes, strides, (at, n) => {
        for (let i = 0; i < n; i++) {
          let term = x[0][at[0] + i * steps[0]];
          for (let t = 1; t < count; t++) term *= x[t][at[t] + i * steps[t]];
          out[at[count] + i * steps[count]] += term;
        }
      });
      storeExact(y, out);
    },
  },
  /** By elimination with row pivoting. */
  Det: {
    infer(node, inputs) {
      const { type, dims } = arg(node, inputs, 0);
      only(node, type, FLOATS);
      if (dims.length < 2 || dims.at(-1) !== dims.at(-2)) throw bad(node, `square matrices expected, got [${dims}]`);
      return [{ type, dims: dims.slice(0, -2) }];
    },
    eval(_node, [x], [y]) {
      const n = x!.dims.at(-1)!;
      const a = doubles(x!);
      const out = new Float64Array(y.size);
      for (let o = 0; o < out.length; o++) {
        const row = Array.from({ length: n }, (_, i) => a.subarray((o * n + i) * n, (o * n + i + 1) * n));
        let det = 1;
        for (let i = 0; i < n; i++) {
          let pivot = i;
          for (let j = i + 1; j < n; j++) if (Math.abs(row[j][i]) > Math.abs(row[pivot][i])) pivot = j;
          if (pivot !== i) {
            [row[i], row[pivot]] = [row[pivot], row[i]];
            det = -det;
          }
          det *= row[i][i];
          if (det === 0) break;
          for (let j = i + 1; j < n; j++) axpy(row[j], i, 1, row[i], i, 1, -row[j][i] / row[i][i], n - i);
        }
        out[o] = det;
      }
      store(y, out);
    },
  },
};
