import type { KernelCall } from './call.ts';

export const UNARY =
  'clamp hardswish hardsigmoid leakyrelu sqrt neg abs reciprocal exp sigmoid swish gelutanh elu tanh erf gelu log'.split(
    ' ',
  ) as readonly UnaryKind[];

export type UnaryKind =
  | ('clamp' | 'hardswish' | 'hardsigmoid' | 'leakyrelu' | 'sqrt' | 'neg' | 'abs' | 'reciprocal' | 'exp' | 'sigmoid')
  | ('swish' | 'gelutanh' | 'elu' | 'tanh' | 'erf' | 'gelu' | 'log');

export type BinaryKind = 'add' | 'sub' | 'mul' | 'div' | 'max' | 'min';

/** Operators the binary kernels exist for; `rsub` and `rdiv` are b - a and b / a. */
export const BINARY = ['add', 'sub', 'mul', 'div', 'max', 'min', 'prelu', 'rsub', 'rdiv'] as const;

/**
 * y = f(x) over n contiguous floats; y may be x. `a` and `b`: limits of clamp (default none), alpha of leakyrelu and elu,
 * alpha and beta of hardsigmoid. NaN stays NaN.
 */
export function unaryCalls(
  kind: UnaryKind,
  { x, y, n, a, b }: { x: number; y: number; n: number; a?: number; b?: number },
): KernelCall[] {
  const [alpha, beta] = DEFAULTS[kind] ?? [0, 0];
  return [{ kernel: `f32_plain_${kind}`, args: [x, y, n, a ?? alpha, b ?? beta] }];
}

/** ONNX's. */
const DEFAULTS: { [K in UnaryKind]?: [number, number] } = {
  clamp: [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
  hardsigmoid: [0.2, 0.5],
  leakyrelu: [0.01, 0],
  elu: [1, 0],
};

interface Limits {
  /** Limits of the result; none where not given. */
  readonly min?: number;
  readonly max?: number;
}

/** y = a op b, then clamped, over n contiguous floats; y may be a or b. max and min give NaN where either is. */
export function binaryCalls(
  kind: BinaryKind,
  p: { a: number; b: number; y: number; n: number } & Limits,
): KernelCall[] {
  return broadcastCalls(kind, { ...p, form: 'inner', outer: 1, mid: 1, inner: p.n });
}

export interface Broadcast extends Limits {
  readonly a: number;
  readonly b: number;
  readonly y: number;
  /** Sizes of a and y: [outer][mid][inner]. */
  readonly outer: number;
  readonly mid: number;
  readonly inner: number;
  /** b[0], b[mid] or b[inner]. */
  readonly form: 'scalar' | 'mid' | 'inner';
  /** b op a. */
  readonly swap?: boolean;
  /** Bytes of a and y from one outer to the next; contiguous where not given. */
  readonly outerStride?: number;
}

/** y[o][m][i] = a[o][m][i] op b, then clamped. y may be a; in the form 'inner' with one row it may be b. */
export function broadcastCalls(kind: BinaryKind, p: Broadcast): KernelCall[] {
  return rows(p.swap && (kind === 'sub' || kind === 'div') ? `r${kind}` : kind, p);
}

/** y = x < 0 ? slope[m] x : x for x of [outer][mid][inner]; y may be x. */
export function preluCalls(p: {
  x: number;
  slope: number;
  y: number;
  outer: number;
  mid: number;
  inner: number;
  outerStride?: number;
}): KernelCall[] {
  return rows('prelu', { ...p, a: p.x, b: p.slope, form: 'mid' });
}

function rows(kind: (typeof BINARY)[number], p: Broadcast): KernelCall[] {
  let { form, outer, mid, inner } = p;
  const stride = p.outerStride ?? 4 * mid * inner;
  const contiguous = stride === 4 * mid * inner;
  // The longest rows the shape allows.
  if (form === 'mid' && inner === 1) [form, mid, inner] = ['inner', 1, mid];
  else if (form === 'mid' && mid === 1) form = 'scalar';
  if (form === 'scalar') {
    [mid, inner] = [1, mid * inner];
    if (contiguous) [outer, inner] = [1, outer * inner];
  }
  const outerStride = p.outerStride ?? 4 * mid * inner;
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = p;
  const args = [p.a, p.b, p.y, outer, mid, inner, outerStride, form === 'mid' ? 4 : 0, min, max];
  return [{ kernel: `f32_plain_${kind}_${form === 'inner' ? 'row' : 'splat'}`, args }];
}

/**
 * Softmax, or its logarithm, along n of [outer][n][inner]; y may be x. `outerStride`: bytes from one outer to the next, so
 * panels are softmaxed over their channels with outer = panels, n = channels, inner = lanes. A row of -Infinity gives NaN.
 */
export function softmaxCalls(p: {
  x: number;
  y: number;
  outer: number;
  n: number;
  inner: number;
  log?: boolean;
  outerStride?: number;
}): KernelCall[] {
  const args = [p.x, p.y, p.outer, p.n, p.inner, p.outerStride ?? 4 * p.n * p.inner, Number(p.log ?? false)];
  return [{ kernel: `f32_plain_softmax_${p.inner === 1 ? 'rows' : 'columns'}`, args }];
}
