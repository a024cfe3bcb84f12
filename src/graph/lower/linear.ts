/** Gemm and MatMul: few tokens have outputs in lanes, many have tokens in lanes; two computed operands go row-major. */
import { gemvCalls, matmulCalls } from '../../kernel/dense.ts';
import { FEW_TOKENS } from '../../kernel/few.ts';
import { packTokensCalls, unpackTokensCalls } from '../../kernel/layout.ts';
import { spmmCalls } from '../../kernel/spmm.ts';
import { spmvCalls, spmvScratch } from '../../kernel/spmv.ts';
import { packGemv } from '../../pack/dense.ts';
import { packSpmv } from '../../pack/spmv.ts';
import { sizeOf } from '../../tensor.ts';
import type { Node } from '../ir.ts';
import { geometry } from '../place.ts';
import { choiceFacts, chosenFacts, matrix } from './matrix.ts';
import { type Clamp, f32Constant, idOf, type LowerContext, type Lowered, OPEN, type Rule } from './types.ts';

/** y[tokens][rows] = x[tokens][cols] W^T + bias, W [rows][cols]. */
export interface Linear {
  key: string;
  weights: Float32Array;
  bias: Float32Array | undefined;
  rows: number;
  cols: number;
  tokens: number;
}

export const linear: Rule = (node, out, clamp, ctx) => {
  const [a, b] = node.inputs.map((n) => n && ctx.known(n));
  if (!a || !b || a.type !== 'float32' || b.type !== 'float32' || !sizeOf(ctx.known(out).dims) || !sizeOf(a.dims))
    return undefined;
  const limits = clamp ?? OPEN;
  const layer = constantLinear(node, out, ctx);
  if (!layer) return node.op === 'MatMul' && !clamp ? runtimeMatmul(node, out, ctx) : undefined;
  return layer.tokens <= FEW_TOKENS
    ? oneToken(node.inputs[0], out, layer, limits, ctx)
    : manyTokens(node.inputs[0], out, layer, limits, ctx);
};

/** The node as a layer with known weights, if it is one. */
function constantLinear(node: Node, out: string, ctx: LowerContext): Linear | undefined {
  const w = f32Constant(ctx, node.inputs[1]);
  const x = ctx.known(node.inputs[0]);
  if (w?.dims.length !== 2 || x.value || x.dims.length < 2) return undefined;
  const gemm = node.op === 'Gemm';
  if (gemm && Number(node.attrs.transA ?? 0)) return undefined;
  const alpha = gemm ? Number(node.attrs.alpha ?? 1) : 1;
  const beta = gemm ? Number(node.attrs.beta ?? 1) : 0;
  const transposed = gemm && Number(node.attrs.transB ?? 0) === 1;
  const [rows, cols] = transposed ? w.dims : [w.dims[1], w.dims[0]];
  const c = gemm && node.inputs[2] ? f32Constant(ctx, node.inputs[2]) : undefined;
  if (gemm && node.inputs[2] && (!c || (c.size !== 1 && (c.size !== rows || c.dims[c.dims.length - 1] !== rows))))
    return undefined;
  let weights = w.data;
  if (!transposed) {
    weights = new Float32Array(rows * cols);
    for (let k = 0; k < cols; k++) for (let n = 0; n < rows; n++) weights[n * cols + k] = w.data[k * rows + n];
  }
  if (alpha !== 1) weights = weights.map((v) => v * alpha);
  const bias = c && Float32Array.from({ length: rows }, (_, i) => c.data[c.size === 1 ? 0 : i] * beta);
  return {
    key: `${idOf(w)}+${idOf(c)}|${transposed}|${alpha}|${beta}`,
    weights,
    bias,
    rows,
    cols,
    tokens: sizeOf(ctx.known(out).dims) / rows,
  };
}

/** One to eight tokens: outputs in lanes, unless so few inputs are shared that tokens in lanes are faster. */
export function oneToken(input: string, out: string, l: Linear, clamp: Clamp, ctx: LowerContext): Lowered {
  const { key, weights, bias, rows, cols, tokens } = l;
  const choice = ctx.weights.chooseFew(key, weights, rows, cols, tokens);
  const { format } = choice;
  if (format === 'panels') return manyTokens(input, out, l, clamp, ctx);
  const common = {
    format,
    groupSize: 16 as const,
    ...choiceFacts(choice, rows, cols, tokens),
    reads: [{ name: input, layout: 0 as const }],
    writes: [{ name: out, layout: 0 as const }],
  };
  if (format === 'dense') {
    const { at, packed } = ctx.packed(`${key}|gemv`, () => packGemv(weights, rows, cols, bias));
    return {
      ...common,
      kernel: 'f32_dense_gemv',
      weightBytes: packed.bytes,
      emit: ([x], [y]) => gemvCalls(packed, at, { x: x.at, y: y.at, tokens, ...clamp }),
    };
  }
  const { at, packed } = ctx.packed(`${key}|${format}`, () => packSpmv(weights, rows, cols, format, bias));
  return {
    ...common,
    kernel: packed.kernel,
    weightBytes: packed.bytes,
    scratch: spmvScratch(packed, tokens),
    emit: ([x], [y], scratch) => spmvCalls(packed, at, { x: x.at, y: y.at, tokens, scratch, ...clamp }),
  };
}

/** Tokens in lanes, over the same packed formats as pointwise convolutions. */
function manyTokens(input: string, out: string, l: Linear, clamp: Clamp, ctx: LowerContext): Lowered {
  const m = matrix(ctx, { ...l, columns: l.tokens });
  const { lanes } = m.choice;
  const from = geometry({ type: 'float32', dims: [1, l.cols, l.tokens] }, lanes);
  const to = geometry({ type: 'float32', dims: [1, l.rows, l.tokens] }, lanes);
  return {
    ...chosenFacts(m, 1),
    reads: [{ name: input, layout: 0 }],
    writes: [{ name: out, layout: 0 }],
    scratch: from.bytes + to.bytes,
    emit: ([x], [y], scratch) => [
      ...packTokensCalls({
        x: x.at,
        y: scratch,
        tokens: l.tokens,
        features: l.cols,
        lanes,
        panelStride: from.panelStride,
      }),
      ...spmmCalls(m.packed, m.at, {
        x: scratch,
        xPanelStride: from.panelStride,
        y: scratch + from.bytes,
        yPanelStride: to.panelStride,
        yChannelStride: to.channelStride,
        columns: l.tokens,
        ...clamp,
      }),
      ...unpackTokensCalls({
        x: scratch + from.bytes,
        y: y.at,
        tokens: l.tokens,
        features: l.rows,
        lanes,
        panelStride: to.panelStride,
      }),
    ],
  };
}

/** Both operands computed at run time, with the leading dimensions broadcast as in NumPy. */
function runtimeMatmul(node: Node, out: string, ctx: LowerContext): Lowered | undefined {
  const [a, b] = node.inputs.map((n) => ctx.known(n));
  if (a.dims.length < 2 || b.dims.length < 2) return undefined;
  const [m, k] = a.dims.slice(-2);
  const n = b.dims[b.dims.length - 1];
  const batch = ctx.known(out).dims.slice(0, -2);
  const strideOf = (dims: readonly number[], i: number) => {
    const at = i - (batch.length - (dims.length - 2));
    return at >= 0 && dims[at] !== 1 ? sizeOf(dims.slice(at + 1)) : 0;
  };
  const flops = 2 * sizeOf(batch) * m * n * k;
  return {
    kernel: 'f32_dense_matmul',
    flops,
    denseFlops: flops,
    reads: node.inputs.map((name) => ({ name, layout: 0 })),
    writes: [{ name: out, layout: 0 }],
    emit: ([x, w], [y]) =>
      Array.from({ length: sizeOf(batch) }, (_, i) => {
        let [ax, bx, rest] = [0, 0, i];
        for (let d = batch.length - 1; d >= 0; d--) {
          const index = rest % batch[d];
          rest = (rest - index) / batch[d];
          ax += index * strideOf(a.dims, d);
          bx += index * strideOf(b.dims, d);
        }
        return matmulCalls({ a: x.at + 4 * ax, b: w.at + 4 * bx, y: y.at + 4 * i * m * n, m, n, k });
      }).flat(),
  };
}
