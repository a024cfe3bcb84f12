/** Pools and reductions to kernels. */
import { globalPoolCalls, poolCalls, reduceCalls } from '../../kernel/pool.ts';
import { int } from '../../ops/attrs.ts';
import { spatialOf, window } from '../../ops/spatial.ts';
import { sizeOf } from '../../tensor.ts';
import { type Rule, two } from './types.ts';

export const pool: Rule = (node, out, clamp, ctx) => {
  const { dims, type } = ctx.known(node.inputs[0]);
  const indices = node.outputs.slice(1).some(Boolean) || int(node, 'storage_order', 0);
  if (clamp || type !== 'float32' || indices || dims.length < 3 || dims.length > 4 || !sizeOf(ctx.known(out).dims))
    return undefined;
  const size = spatialOf(node, dims);
  const w = window(node, size, node.attrs.kernel_shape as number[]);
  const [height, width] = two(size, 1);
  const [outHeight, outWidth] = two(w.out, 1);
  const shape = {
    kind: node.op === 'MaxPool' ? ('max' as const) : ('average' as const),
    channels: dims[0] * dims[1],
    height,
    width,
    outHeight,
    outWidth,
    kernel: two(w.kernel, 1),
    stride: two(w.stride, 1),
    dilation: two(w.dilation, 1),
    pad: two(w.padBegin, 0),
    padEnd: two(w.padEnd, 0),
    countIncludePad: int(node, 'count_include_pad', 0) === 1,
  };
  return {
    kernel: `f32_${shape.kind}pool`,
    reads: [{ name: node.inputs[0], layout: 0 }],
    writes: [{ name: out, layout: 0 }],
    emit: ([x], [y]) => poolCalls({ ...shape, x: x.at, y: y.at }),
  };
};

/** From plain or panels: the values before it need no conversion. */
export const globalPool: Rule = (node, out, clamp, ctx) => {
  const { dims, type } = ctx.known(node.inputs[0]);
  if (clamp || type !== 'float32' || dims.length < 3 || !sizeOf(dims)) return undefined;
  const layout = ctx.layoutOf(node.inputs[0]);
  const kind = node.op === 'GlobalMaxPool' ? ('max' as const) : ('average' as const);
  return {
    kernel: `f32_global_${kind}`,
    reads: [{ name: node.inputs[0], layout }],
    writes: [{ name: out, layout: 0 }],
    emit: ([x], [y]) =>
      Array.from({ length: x.images }, (_, n) =>
        globalPoolCalls({
          kind,
          x: x.at + n * x.imageStride,
          xChannelStride: x.channelStride,
          xPanelStride: x.panelStride,
          lanes: layout,
          y: y.at + 4 * n * x.channels,
          channels: x.channels,
          pixels: x.pixels,
        }),
      ).flat(),
  };
};

const KINDS = { ReduceMean: 'mean', ReduceSum: 'sum', ReduceMax: 'max', ReduceMin: 'min' } as const;

/** A reduction over one run of neighbouring axes. Over the pixels of [N][C][…] it is a global pool, from any layout. */
export const reduce: Rule = (node, out, clamp, ctx) => {
  const x = ctx.known(node.inputs[0]);
  const { dims, type } = x;
  if (clamp || type !== 'float32' || !sizeOf(dims) || !dims.length) return undefined;
  let axes = dims.map((_, i) => i);
  if (node.inputs[1]) {
    const value = ctx.known(node.inputs[1]).value;
    if (!value) return undefined;
    if (value.size)
      axes = Array.from(value.data as BigInt64Array, (a) => (Number(a) + dims.length) % dims.length).sort(
        (a, b) => a - b,
      );
    else if (int(node, 'noop_with_empty_axes', 0)) return undefined;
  } else if (int(node, 'noop_with_empty_axes', 0)) return undefined;
  if (axes.some((a, i) => i > 0 && a !== axes[i - 1] + 1)) return undefined;
  const kind = KINDS[node.op as keyof typeof KINDS];
  if (kind === 'mean' && dims.length >= 3 && axes[0] === 2 && axes.length === dims.length - 2) {
    return globalPool({ ...node, op: 'GlobalAveragePool' }, out, clamp, ctx);
  }
  const end = axes[axes.length - 1] + 1;
  const shape = {
    outer: sizeOf(dims.slice(0, axes[0])),
    n: sizeOf(dims.slice(axes[0], end)),
    inner: sizeOf(dims.slice(end)),
  };
  return {
    kernel: `f32_${kind}`,
    reads: [{ name: node.inputs[0], layout: 0 }],
    writes: [{ name: out, layout: 0 }],
    emit: ([from], [to]) => reduceCalls({ kind, ...shape, x: from.at, y: to.at }),
  };
};
