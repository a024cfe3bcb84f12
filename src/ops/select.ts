/** Operators that choose or rearrange elements: TopK, NonMaxSuppression, CumSum, DepthToSpace, SpaceToDepth. */
import type { Node } from '../graph/ir.ts';
import type { Tensor } from '../tensor.ts';
import { arg, axisOf, bad, int, only, str } from './attrs.ts';
import { FLOATS, numbers, store, target } from './half.ts';
import { eachLine, eachRun } from './strided.ts';
import type { Known, OpDef, OpTable } from './types.ts';

/** A scalar input's value, or a default where it is left out. */
const scalar = (t: Tensor | undefined, fallback: number): number => (t?.size ? numbers(t)[0] : fallback);

/** Elements that compare and add exactly: float16 as numbers, anything else as it is, bigints too. */
const comparable = (t: Tensor): ArrayLike<number> =>
  t.type === 'float16' ? numbers(t) : (t.data as unknown as ArrayLike<number>);

/**
 * What NonMaxSuppression keeps, as triples (batch, class, box): by falling score per class, ties by index, leaving out
 * boxes that overlap one kept before by more than the threshold.
 * @param boxes [batches, n, 4] @param scores [batches, classes, n]
 */
function suppress(node: Node, [boxes, scores, most, iou, least]: readonly (Tensor | undefined)[]): number[] {
  const [batches, classes, n] = scores!.dims;
  const limit = Math.min(n, scalar(most, 0));
  const overlap = scalar(iou, 0);
  const threshold = scalar(least, Number.NEGATIVE_INFINITY);
  const b = numbers(boxes!);
  const s = numbers(scores!);
  const centre = int(node, 'center_point_box', 0);
  const corners = (i: number) => {
    const [p, q, r, t] = b.subarray(i * 4, i * 4 + 4);
    if (centre) return [p - r / 2, q - t / 2, p + r / 2, q + t / 2];
    return [Math.min(p, r), Math.min(q, t), Math.max(p, r), Math.max(q, t)];
  };
  const area = ([x0, y0, x1, y1]: number[]) => (x1 - x0) * (y1 - y0);
  const overlaps = (p: number[], q: number[]) => {
    const w = Math.min(p[2], q[2]) - Math.max(p[0], q[0]);
    const h = Math.min(p[3], q[3]) - Math.max(p[1], q[1]);
    const both = w > 0 && h > 0 ? w * h : 0;
    return both > 0 && both / (area(p) + area(q) - both) > overlap;
  };
  const kept: number[] = [];
  for (let batch = 0; batch < batches; batch++) {
    for (let c = 0; c < classes; c++) {
      const base = (batch * classes + c) * n;
      const candidates = Array.from({ length: n }, (_, i) => i).filter((i) => s[base + i] > threshold);
      candidates.sort((i, j) => s[base + j] - s[base + i] || i - j);
      const chosen: number[][] = [];
      for (const i of candidates) {
        if (chosen.length >= limit) break;
        const box = corners(batch * n + i);
        if (chosen.some((other) => overlaps(other, box))) continue;
        chosen.push(box);
        kept.push(batch, c, i);
      }
    }
  }
  return kept;
}

/**
 * The strides that DepthToSpace and SpaceToDepth read and write by, over dimensions
 * [N, block row, block column, channel, row, column].
 */
function blocks(node: Node, dims: readonly number[]) {
  const size = int(node, 'blocksize');
  const toSpace = node.op === 'DepthToSpace';
  const crd = str(node, 'mode', 'DCR', ['DCR', 'CRD']) === 'CRD';
  if (dims.length !== 4 || size < 1)
    throw bad(node, `[N, C, H, W] and blocksize >= 1 expected, got [${dims}], ${size}`);
  const [n, c, h, w] = toSpace
    ? [dims[0], dims[1] / size ** 2, dims[2], dims[3]]
    : [dims[0], dims[1], dims[2] / size, dims[3] / size];
  if (![c, h, w].every(Number.isInteger)) throw bad(node, `[${dims}] does not divide into blocks of ${size}`);
  const plane = h * w;
  const depthDims = [n, c * size * size, h, w];
  const spaceDims = [n, c, h * size, w * size];
  const total = c * size * size * plane;
  const depth = crd
    ? [total, size * plane, plane, size * size * plane, w, 1]
    : [total, size * c * plane, c * plane, plane, w, 1];
  const space = [total, w * size, 1, size * size * plane, size * size * w, size];
  return {
    dims: toSpace ? spaceDims : depthDims,
    over: [n, size, size, c, h, w],
    strides: toSpace ? [depth, space] : [space, depth],
  };
}

const rearrange: OpDef = {
  infer(node, inputs) {
    const { type, dims } = arg(node, inputs, 0);
    return [{ type, dims: blocks(node, dims).dims }];
  },
  eval(node, [x], [y]) {
    const { over, strides } = blocks(node, x!.dims);
    const [from, to] = strides.map((s) => s[5]);
    eachRun(over, strides, ([a, b], n) => {
      for (let i = 0; i < n; i++) y.data[b + i * to] = x!.data[a + i * from];
    });
  },
};

const axisInput = (node: Node, t: Tensor, rank: number) => axisOf(scalar(t, 0), rank, node);

export const select: OpTable = {
  /** Ties go to the lower index; NaN counts as the greatest. Always sorted. */
  TopK: {
    infer(node, inputs, need) {
      const { type, dims } = arg(node, inputs, 0);
      only(node, arg(node, inputs, 1).type, ['int64']);
      const axis = axisOf(int(node, 'axis', -1), dims.length, node);
      const k = scalar(need(1), -1);
      if (!(k >= 0 && k <= dims[axis])) throw bad(node, `k is ${k} for a dimension of ${dims[axis]}`);
      const out = dims.map((d, i) => (i === axis ? k : d));
      return [
        { type, dims: out },
        { type: 'int64', dims: out },
      ];
    },
    eval(node, [x], [values, indices]) {
      const v = comparable(x!);
      const axis = axisOf(int(node, 'axis', -1), x!.dims.length, node);
      const sign = int(node, 'largest', 1) ? 1 : -1;
      const starts: number[] = [];
      eachLine(values.dims, axis, (start) => starts.push(start));
      let line = 0;
      eachLine(x!.dims, axis, (start, step, n) => {
        const order = Int32Array.from({ length: n }, (_, i) => start + i * step);
        order.sort((i, j) => {
          const [a, b] = [v[i], v[j]];
          if (a < b) return sign;
          if (a > b) return -sign;
          return (Number(Number.isNaN(b)) - Number(Number.isNaN(a))) * sign || i - j;
        });
        let at = starts[line++];
        for (let i = 0; i < values.dims[axis]; i++, at += step) {
          values.data[at] = x!.data[order[i]];
          if (indices) indices.data[at] = BigInt((order[i] - start) / step);
        }
      });
    },
  },
  NonMaxSuppression: {
    infer(node, inputs, need) {
      const boxes = arg(node, inputs, 0).dims;
      const scores = arg(node, inputs, 1).dims;
      if (
        boxes.length !== 3 ||
        scores.length !== 3 ||
        boxes[2] !== 4 ||
        boxes[0] !== scores[0] ||
        boxes[1] !== scores[2]
      ) {
        throw bad(node, `boxes [B, N, 4] and scores [B, C, N] expected, got [${boxes}] and [${scores}]`);
      }
      const values = inputs.map((t: Known | undefined, i) => t && need(i));
      return [{ type: 'int64', dims: [suppress(node, values).length / 3, 3] }];
    },
    eval(node, inputs, [y]) {
      store(y, suppress(node, inputs));
    },
  },
  CumSum: {
    infer(node, inputs) {
      const { type, dims } = arg(node, inputs, 0);
      only(node, type, [...FLOATS, 'int32', 'uint32', 'int64', 'uint64']);
      const axis = arg(node, inputs, 1).value;
      if (axis) axisInput(node, axis, dims.length);
      return [{ type, dims }];
    },
    eval(node, [x, axis], [y]) {
      const v = comparable(x!);
      const big = typeof v[0] === 'bigint';
      // Bigints add up modulo 2^64 in their array, like the 32-bit integers in theirs.
      const out = big ? (y.data as unknown as Float64Array) : target(y);
      const zero = (big ? 0n : 0) as number;
      const exclusive = int(node, 'exclusive', 0);
      const reverse = int(node, 'reverse', 0);
      eachLine(y.dims, axisInput(node, axis!, y.dims.length), (start, step, n) => {
        let sum = zero;
        for (let i = 0; i < n; i++) {
          const at = start + (reverse ? n - 1 - i : i) * step;
          if (exclusive) out[at] = sum;
          sum += v[at];
          if (!exclusive) out[at] = sum;
        }
      });
      if (!big) store(y, out);
    },
  },
  DepthToSpace: rearrange,
  SpaceToDepth: rearrange,
};
