/** Elementwise operators and softmax to kernels. They work in place and, where shapes allow, in any layout. */
import { binaryCalls, broadcastCalls, preluCalls, softmaxCalls, unaryCalls } from '../../kernel/pointwise.ts';
import { axisOf, float, str } from '../../ops/attrs.ts';
import { sizeOf, type TensorType } from '../../tensor.ts';
import type { Node } from '../ir.ts';
import { geometry, type Layout, type Place } from '../place.ts';
import { clampOf } from './clamp.ts';
import { f32Constant, type LowerContext, type Lowered, OPEN, type Rule, type Slot } from './types.ts';

type Unary = Parameters<typeof unaryCalls>[0];

/** Kernel kind and parameters of a unary operator. */
function kindOf(node: Node, ctx: LowerContext): { kind: Unary; a?: number; b?: number } | undefined {
  switch (node.op) {
    case 'Relu':
    case 'Clip': {
      const c = clampOf(node, ctx);
      return c && { kind: 'clamp', a: c.min, b: c.max };
    }
    case 'HardSigmoid':
      return { kind: 'hardsigmoid', a: float(node, 'alpha', 0.2), b: float(node, 'beta', 0.5) };
    case 'LeakyRelu':
      return { kind: 'leakyrelu', a: float(node, 'alpha', 0.01) };
    case 'Elu':
      return { kind: 'elu', a: float(node, 'alpha', 1) };
    case 'Swish':
      return float(node, 'alpha', 1) === 1 ? { kind: 'swish' } : undefined;
    case 'Gelu':
      return { kind: str(node, 'approximate', 'none') === 'tanh' ? 'gelutanh' : 'gelu' };
    default:
      return { kind: node.op.toLowerCase() as Unary };
  }
}

/** Floats to run over, dead lanes and padding included: they hold numbers of no meaning. */
const floats = (place: Place): number => place.bytes / 4;

export const unary: Rule = (node, out, clamp, ctx) => {
  const type = ctx.known(node.inputs[0]);
  const how = type.type === 'float32' && !clamp ? kindOf(node, ctx) : undefined;
  if (!how) return undefined;
  const layout = ctx.layoutOf(node.inputs[0]);
  return {
    kernel: `f32_${how.kind}`,
    reads: [{ name: node.inputs[0], layout }],
    writes: [{ name: out, layout }],
    inPlace: true,
    emit: ([x], [y]) => unaryCalls(how.kind, { ...how, x: x.at, y: y.at, n: floats(x) }),
  };
};

const same = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i]);

/**
 * How a smaller operand meets a bigger one: as one number, one per run of `inner` elements within `mid` (a channel), or
 * one per innermost element. `mid` is that operand's size.
 */
function broadcastForm(
  big: readonly number[],
  small: readonly number[],
): { form: 'scalar' | 'mid' | 'inner'; outer: number; mid: number; inner: number } | undefined {
  const size = sizeOf(small);
  const total = sizeOf(big);
  if (size === 1) return { form: 'scalar', outer: 1, mid: 1, inner: total };
  if (small.length > big.length) return undefined;
  const padded = [...new Array(big.length - small.length).fill(1), ...small];
  const first = padded.findIndex((d) => d !== 1);
  let last = padded.length - 1;
  while (padded[last] === 1) last--;
  for (let i = first; i <= last; i++) if (padded[i] !== big[i]) return undefined;
  const inner = sizeOf(big.slice(last + 1));
  const outer = total / size / inner;
  return inner === 1 ? { form: 'inner', outer, mid: 1, inner: size } : { form: 'mid', outer, mid: size, inner };
}

const KINDS: Record<string, Parameters<typeof binaryCalls>[0]> = {
  Add: 'add',
  Sub: 'sub',
  Mul: 'mul',
  Div: 'div',
  Max: 'max',
  Min: 'min',
};

export const binary: Rule = (node, out, clamp, ctx) => {
  if (node.inputs.length !== 2) return undefined;
  const types = node.inputs.map((n) => ctx.known(n));
  const type = ctx.known(out);
  if (types.some((t) => t.type !== 'float32') || !sizeOf(type.dims)) return undefined;
  const kind = KINDS[node.op];
  const limits = clamp ?? OPEN;
  const whole = types.map((t) => same(t.dims, type.dims) && !t.value);
  if (whole[0] && whole[1]) {
    const layout = commonLayout(node.inputs, out, ctx);
    return {
      kernel: `f32_${kind}`,
      reads: node.inputs.map((name) => ({ name, layout })),
      writes: [{ name: out, layout }],
      inPlace: true,
      emit: ([a, b], [y]) => binaryCalls(kind, { a: a.at, b: b.at, y: y.at, n: floats(y), ...limits }),
    };
  }
  if (!whole[0] && !whole[1]) return undefined;
  const [big, small] = whole[0] ? [0, 1] : [1, 0];
  return broadcast(node, out, big, types[small], { kind, ...limits, swap: big === 1 }, ctx);
};

/** The layout of both operands: the one they share, else what the readers of the result want, if an operand has it. */
function commonLayout(names: readonly string[], out: string, ctx: LowerContext): Layout {
  const [a, b] = names.map((n) => ctx.layoutOf(n));
  const wanted = ctx.wanted(out);
  return a === b ? a : a === wanted || b === wanted ? wanted : 0;
}

function broadcast(
  node: Node,
  out: string,
  big: number,
  small: TensorType,
  how: { kind: Parameters<typeof broadcastCalls>[0]; min: number; max: number; swap: boolean },
  ctx: LowerContext,
): Lowered | undefined {
  const bigName = node.inputs[big];
  const smallName = node.inputs[1 - big];
  const type = ctx.known(out);
  const form = broadcastForm(type.dims, small.dims);
  if (!form) return undefined;
  const value = f32Constant(ctx, smallName);
  const layout = ctx.layoutOf(bigName);
  const { images, channels } = geometry(type, 0);
  // In panels, one number a channel, for all images or for each, is one a row of lanes.
  const perChannel =
    form.form === 'mid' &&
    (form.mid === channels || form.mid === images * channels) &&
    form.inner * form.outer * form.mid === sizeOf(type.dims) &&
    form.inner === sizeOf(type.dims.slice(2));
  const panels = layout > 0 && (form.form === 'scalar' || perChannel);
  const chosen: Layout = panels ? layout : 0;
  const at = value && ctx.constant(value.data);
  const reads: Slot[] = [{ name: bigName, layout: chosen }];
  if (!value) reads.push({ name: smallName, layout: 0 });
  return {
    kernel: `f32_${how.kind}_broadcast`,
    reads,
    writes: [{ name: out, layout: chosen }],
    inPlace: true,
    emit: ([a, b], [y]) => {
      const vector = at ?? b.at;
      if (!chosen) return broadcastCalls(how.kind, { ...how, ...form, a: a.at, b: vector, y: y.at });
      if (form.form === 'scalar') {
        return broadcastCalls(how.kind, {
          ...how,
          form: 'scalar',
          outer: 1,
          mid: 1,
          inner: floats(a),
          a: a.at,
          b: vector,
          y: y.at,
        });
      }
      return Array.from({ length: images }, (_, n) =>
        broadcastCalls(how.kind, {
          ...how,
          form: 'mid',
          a: a.at + n * a.imageStride,
          b: vector + (form.mid === channels ? 0 : 4 * n * channels),
          y: y.at + n * y.imageStride,
          outer: a.imageStride / a.panelStride,
          mid: channels,
          inner: chosen,
          outerStride: a.panelStride,
        }),
      ).flat();
    },
  };
}

export const prelu: Rule = (node, out, clamp, ctx) => {
  const x = ctx.known(node.inputs[0]);
  const slope = f32Constant(ctx, node.inputs[1]);
  const form = slope && !clamp && x.type === 'float32' ? broadcastForm(x.dims, slope.dims) : undefined;
  if (!form || form.form === 'inner') return undefined;
  const at = ctx.constant(slope!.data);
  return {
    kernel: 'f32_prelu',
    reads: [{ name: node.inputs[0], layout: 0 }],
    writes: [{ name: out, layout: 0 }],
    inPlace: true,
    emit: ([a], [y]) =>
      preluCalls({ x: a.at, slope: at, y: y.at, outer: form.outer, mid: form.mid, inner: form.inner }),
  };
};

export const softmax: Rule = (node, out, clamp, ctx) => {
  const { dims, type } = ctx.known(node.inputs[0]);
  if (clamp || type !== 'float32' || !sizeOf(dims) || !dims.length) return undefined;
  const axis = axisOf(Number(node.attrs.axis ?? -1), dims.length, node);
  const shape = { outer: sizeOf(dims.slice(0, axis)), n: dims[axis], inner: sizeOf(dims.slice(axis + 1)) };
  return {
    kernel: 'f32_softmax',
    reads: [{ name: node.inputs[0], layout: 0 }],
    writes: [{ name: out, layout: 0 }],
    emit: ([x], [y]) => softmaxCalls({ ...shape, x: x.at, y: y.at, log: node.op === 'LogSoftmax' }),
  };
};
