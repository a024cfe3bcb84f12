/** Convolutions to kernels: pointwise, depthwise, stem; everything else gathers panels of taps and multiplies them. */
import type { KernelCall } from '../../kernel/call.ts';
import { col2imCalls, im2panelCalls, stemCalls, stemScratchBytes, supportsStem } from '../../kernel/conv.ts';
import { depthwiseCalls, depthwiseScratchBytes, supportsDepthwise } from '../../kernel/depthwise.ts';
import { packPanelsCalls } from '../../kernel/layout.ts';
import type { Choice } from '../../kernel/select.ts';
import { spmmCalls } from '../../kernel/spmm.ts';
import { spatialOf, transposedWindow, type Window, window } from '../../ops/spatial.ts';
import { packStem } from '../../pack/conv.ts';
import { packDepthwise } from '../../pack/depthwise.ts';
import { sizeOf, type TensorType } from '../../tensor.ts';
import type { Node } from '../ir.ts';
import { geometry, type Layout, type Place } from '../place.ts';
import { oneToken } from './linear.ts';
import { chosenFacts, type Matrix, matrix } from './matrix.ts';
import { rowConvolution } from './rowconv.ts';
import { type Clamp, f32Constant, idOf, type LowerContext, type Lowered, OPEN, type Rule, two } from './types.ts';

/** Scratch panels gathered at a time: enough columns for a kernel call to be worth it, few enough to stay in L2. */
const GATHER_BYTES = 512 * 1024;

/** A two-dimensional convolution with known f32 weights. One-dimensional ones are seen as of height 1. */
export interface Conv2d {
  images: number;
  channels: number;
  height: number;
  width: number;
  rows: number;
  group: number;
  kernel: readonly [number, number];
  out: readonly [number, number];
  stride: readonly [number, number];
  dilation: readonly [number, number];
  /** top, left */
  pad: readonly [number, number];
  weights: Float32Array;
  /** Identifies weights and bias. */
  key: string;
  bias: Float32Array | undefined;
}

function read(
  node: Node,
  ctx: LowerContext,
  spatial: (node: Node, size: readonly number[], kernel: readonly number[]) => Window,
): Conv2d | undefined {
  const x = ctx.known(node.inputs[0]);
  const w = f32Constant(ctx, node.inputs[1]);
  const b = node.inputs[2] ? f32Constant(ctx, node.inputs[2]) : undefined;
  if (x.type !== 'float32' || !w || (node.inputs[2] && !b) || x.dims.length < 3 || x.dims.length > 4) return undefined;
  const size = spatialOf(node, x.dims);
  const win = spatial(node, size, w.dims.slice(2));
  const [height, width] = two(size, 1);
  return {
    images: x.dims[0],
    channels: x.dims[1],
    height,
    width,
    rows: w.dims[0],
    group: Number(node.attrs.group ?? 1),
    kernel: two(win.kernel, 1),
    out: two(win.out, 1),
    stride: two(win.stride, 1),
    dilation: two(win.dilation, 1),
    pad: two(win.padBegin, 0),
    weights: w.data,
    key: `${idOf(w)}+${idOf(b)}`,
    bias: b?.data,
  };
}

const is = (pair: readonly number[], value: number): boolean => pair[0] === value && pair[1] === value;

const pointwise = (c: Conv2d): boolean =>
  is(c.kernel, 1) && is(c.stride, 1) && is(c.pad, 0) && c.group === 1 && c.out[0] === c.height && c.out[1] === c.width;

/** The whole weight matrix [O][C/g * kh * kw], or one group's part of it. */
function matrixOf(c: Conv2d, ctx: LowerContext, g = 0, like?: Choice): Matrix {
  const rows = c.rows / c.group;
  const cols = (c.channels / c.group) * c.kernel[0] * c.kernel[1];
  return matrix(ctx, {
    key: c.group > 1 ? `${c.key}#${g}/${c.group}` : c.key,
    weights: c.weights.subarray(g * rows * cols, (g + 1) * rows * cols),
    bias: c.bias?.subarray(g * rows, (g + 1) * rows),
    rows,
    cols,
    columns: sizeOf(c.out),
    like,
  });
}

/** Lanes of the panels that a pointwise convolution reads; 0 for other convolutions. */
export function pointwiseLanes(node: Node, ctx: LowerContext): Layout {
  const c = read(node, ctx, window);
  return c && pointwise(c) && sizeOf(c.out) > 1 && sizeOf([c.rows, c.channels]) ? matrixOf(c, ctx).choice.lanes : 0;
}

export const convolution: Rule = (node, out, clamp, ctx) => {
  const c = read(node, ctx, window);
  if (!c || !sizeOf(ctx.known(out).dims) || !sizeOf([c.channels, c.height, c.width])) return undefined;
  const { min, max } = clamp ?? OPEN;
  if (pointwise(c)) {
    if (sizeOf(c.out) === 1)
      return oneToken(node.inputs[0], out, { ...c, cols: c.channels, tokens: c.images }, { min, max }, ctx);
    return pointwiseConv(node, out, c, { min, max }, ctx);
  }
  const perChannel = c.group === c.channels && c.rows === c.channels;
  const shape = { kernel: c.kernel, stride: c.stride, dilation: c.dilation };
  if (perChannel && supportsDepthwise(shape)) return depthwise(node, out, c, { min, max }, ctx);
  if (c.group === 1 && supportsStem({ ...shape, channels: c.channels })) return stem(node, out, c, { min, max }, ctx);
  const clamps = { min, max };
  return (
    (c.group === 1 && rowConvolution(node, out, c, matrixOf(c, ctx), clamps, ctx)) ||
    gathered(node, out, c, clamps, ctx)
  );
};

/** The layout to write when the kernel can write any: what the readers want. */
const writeLayout = (out: string, ctx: LowerContext): Layout => ctx.wanted(out);

function pointwiseConv(node: Node, out: string, c: Conv2d, clamp: Clamp, ctx: LowerContext): Lowered {
  const m = matrixOf(c, ctx);
  const { lanes } = m.choice;
  return {
    ...chosenFacts(m, c.images),
    reads: [{ name: node.inputs[0], layout: lanes }],
    // An SpMM kernel writes panels of its own lanes only.
    writes: [{ name: out, layout: writeLayout(out, ctx) === lanes ? lanes : 0 }],
    emit: ([x], [y]) => eachImage(c.images, (n) => spmmCalls(m.packed, m.at, io(x, y, n, clamp, lanes))),
  };
}

export const eachImage = (images: number, calls: (n: number) => readonly KernelCall[]): KernelCall[] =>
  Array.from({ length: images }, (_, n) => calls(n)).flat();

/** The output side of a kernel call: an SpMM writes plain rows panel by panel, or panels. */
const target = (y: Place, n: number, lanes: number) => ({
  y: y.at + n * y.imageStride,
  yChannelStride: y.channelStride,
  yPanelStride: y.layout ? y.panelStride : 4 * lanes,
});

const io = (x: Place, y: Place, n: number, clamp: Clamp, lanes: number) => ({
  x: x.at + n * x.imageStride,
  xPanelStride: x.panelStride,
  ...target(y, n, lanes),
  columns: y.pixels,
  ...clamp,
});

function depthwise(node: Node, out: string, c: Conv2d, clamp: Clamp, ctx: LowerContext): Lowered {
  const [kernel] = c.kernel;
  const { at } = ctx.packed(`${c.key}|depthwise`, () => ({
    data: packDepthwise(c.weights, c.bias, c.channels, kernel),
  }));
  const shape = {
    channels: c.channels,
    height: c.height,
    width: c.width,
    outHeight: c.out[0],
    outWidth: c.out[1],
    kernel,
    stride: c.stride[0],
    padTop: c.pad[0],
    padLeft: c.pad[1],
  };
  const flops = 2 * c.images * c.channels * sizeOf(c.out) * sizeOf(c.kernel);
  return {
    kernel: `f32_depthwise_${kernel}x${kernel}s${c.stride[0]}`,
    flops,
    denseFlops: flops,
    weightBytes: 4 * c.weights.length,
    reads: [{ name: node.inputs[0], layout: 0 }],
    writes: [{ name: out, layout: writeLayout(out, ctx) }],
    scratch: depthwiseScratchBytes(shape),
    emit: ([x], [y], scratch) =>
      eachImage(c.images, (n) =>
        depthwiseCalls({
          ...shape,
          ...clamp,
          weights: at,
          x: x.at + n * x.imageStride,
          lanes: y.layout,
          scratch,
          ...target(y, n, y.layout),
        }),
      ),
  };
}

function stem(node: Node, out: string, c: Conv2d, clamp: Clamp, ctx: LowerContext): Lowered {
  const { at } = ctx.packed(`${c.key}|stem`, () => ({ data: packStem(c.weights, c.bias, c.rows, c.channels) }));
  const flops = 2 * c.images * c.rows * c.channels * 9 * sizeOf(c.out);
  return {
    kernel: 'f32_stem_3x3s2',
    flops,
    denseFlops: flops,
    weightBytes: 4 * c.weights.length,
    reads: [{ name: node.inputs[0], layout: 0 }],
    writes: [{ name: out, layout: writeLayout(out, ctx) }],
    scratch: stemScratchBytes(c.channels),
    emit: ([x], [y], scratch) =>
      eachImage(c.images, (n) =>
        stemCalls({
          weights: at,
          x: x.at + n * x.imageStride,
          ...target(y, n, y.layout),
          lanes: y.layout,
          channels: c.channels,
          rows: c.rows,
          height: c.height,
          width: c.width,
          outHeight: c.out[0],
          outWidth: c.out[1],
          padTop: c.pad[0],
          padLeft: c.pad[1],
          ...clamp,
          scratch,
        }),
      ),
  };
}

/** Any convolution: for a block of output panels, gather the taps of their pixels, then multiply. */
function gathered(node: Node, out: string, c: Conv2d, clamp: Clamp, ctx: LowerContext): Lowered {
  // One choice for all groups: a gathered panel serves one lane count.
  const { choice } = matrixOf(c, ctx);
  const parts = Array.from({ length: c.group }, (_, g) => matrixOf(c, ctx, g, choice));
  const { lanes } = choice;
  const { cols } = parts[0];
  const columns = sizeOf(c.out);
  const panel = geometry({ type: 'float32', dims: [1, cols, lanes] }, lanes);
  const block = Math.max(1, Math.floor(GATHER_BYTES / panel.panelStride));
  const panels = Math.ceil(columns / lanes);
  const inGroup = c.channels / c.group;
  return {
    ...chosenFacts(parts[0], c.images * c.group),
    reads: [{ name: node.inputs[0], layout: 0 }],
    writes: [{ name: out, layout: writeLayout(out, ctx) === lanes ? lanes : 0 }],
    scratch: Math.min(block, panels) * panel.panelStride,
    emit: ([x], [y], scratch) =>
      eachImage(c.images, (n) => {
        const calls: KernelCall[] = [];
        parts.forEach((m, g) => {
          for (let first = 0; first < panels; first += block) {
            const count = Math.min(block, panels - first);
            const to = target(y, n, lanes);
            calls.push(
              ...im2panelCalls({
                x: x.at + n * x.imageStride + g * inGroup * x.channelStride,
                y: scratch,
                yPanelStride: panel.panelStride,
                lanes,
                channels: inGroup,
                height: c.height,
                width: c.width,
                outHeight: c.out[0],
                outWidth: c.out[1],
                kernel: c.kernel,
                stride: c.stride,
                dilation: c.dilation,
                pad: c.pad,
                firstPanel: first,
                panels: count,
              }),
              ...spmmCalls(m.packed, m.at, {
                x: scratch,
                xPanelStride: panel.panelStride,
                y: to.y + g * (c.rows / c.group) * to.yChannelStride + first * to.yPanelStride,
                yPanelStride: to.yPanelStride,
                yChannelStride: to.yChannelStride,
                columns: Math.min(count * lanes, columns - first * lanes),
                ...clamp,
              }),
            );
          }
        });
        return calls;
      }),
  };
}

const zeros = (n: number) => ({ data: new Uint8Array(4 * n) });

/** ConvTranspose: W^T x gives every input pixel's contribution to its window; col2im adds them up where they land. */
export const transposedConvolution: Rule = (node, out, clamp, ctx) => {
  const c = read(node, ctx, transposedWindow);
  if (!c || c.channels % c.group || !sizeOf(ctx.known(out).dims) || !sizeOf([c.channels, c.height, c.width]))
    return undefined;
  const { min, max } = clamp ?? OPEN;
  const inGroup = c.channels / c.group;
  const taps = sizeOf(c.kernel);
  const outGroup = c.weights.length / (c.channels * taps);
  const rows = outGroup * taps;
  const pixels = c.height * c.width;
  let like: Choice | undefined;
  const parts = Array.from({ length: c.group }, (_, g) => {
    // W[C][O/g][kh][kw] -> W^T [O/g * kh * kw][C/g]
    const weights = new Float32Array(rows * inGroup);
    for (let i = 0; i < inGroup; i++) {
      for (let r = 0; r < rows; r++) weights[r * inGroup + i] = c.weights[(g * inGroup + i) * rows + r];
    }
    const m = matrix(ctx, {
      key: `${c.key}^T#${g}/${c.group}`,
      weights,
      bias: undefined,
      rows,
      cols: inGroup,
      columns: pixels,
      like,
    });
    like ??= m.choice;
    return m;
  });
  const { lanes } = parts[0].choice;
  const type: TensorType = { type: 'float32', dims: [1, inGroup, pixels] };
  const panels = geometry(type, lanes);
  const product = 4 * rows * pixels;
  const channels = outGroup * c.group;
  const bias = c.bias ? ctx.constant(c.bias) : ctx.packed(`0x${channels}`, () => zeros(channels)).at;
  return {
    ...chosenFacts(parts[0], c.images * c.group),
    reads: [{ name: node.inputs[0], layout: 0 }],
    writes: [{ name: out, layout: 0 }],
    scratch: panels.bytes + product + 64,
    emit: ([x], [y], scratch) =>
      eachImage(c.images, (n) =>
        parts.flatMap((m, g) => {
          const from = x.at + n * x.imageStride + g * inGroup * x.channelStride;
          const columns = scratch + panels.bytes;
          return [
            ...packPanelsCalls({
              x: from,
              y: scratch,
              channels: inGroup,
              pixels,
              lanes,
              panelStride: panels.panelStride,
            }),
            ...spmmCalls(m.packed, m.at, {
              x: scratch,
              xPanelStride: panels.panelStride,
              y: columns,
              yChannelStride: 4 * pixels,
              yPanelStride: 4 * lanes,
              columns: pixels,
              ...OPEN,
            }),
            ...col2imCalls({
              x: columns,
              y: y.at + n * y.imageStride + g * outGroup * y.channelStride,
              bias: bias + 4 * g * outGroup,
              channels: outGroup,
              height: c.height,
              width: c.width,
              outHeight: c.out[0],
              outWidth: c.out[1],
              kernel: c.kernel,
              stride: c.stride,
              dilation: c.dilation,
              pad: c.pad,
              min,
              max,
            }),
          ];
        }),
      ),
  };
};
