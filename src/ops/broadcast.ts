/** Shapes, strides and element access that the operators share. */
import type { Node } from '../graph/ir.ts';
import type { Tensor, TensorType } from '../tensor.ts';
import { bad } from './attrs.ts';
import { FLOATS, numbers, numberToHalf } from './half.ts';
import { broadcastStrides } from './strided.ts';

/** An element: a bigint in 64-bit integer tensors. Code that takes both is written with the operators they share. */
// biome-ignore lint/suspicious/noExplicitAny: `+`, `*`, `<` … on number | bigint do not type-check otherwise
export type Value = any;

export const isBig = (t: TensorType): boolean => t.type === 'int64' || t.type === 'uint64';

/** A tensor's elements for computing: bigints in 64-bit integers, numbers otherwise. Not for writing. */
export const values = (t: Tensor): ArrayLike<Value> => (isBig(t) ? (t.data as BigInt64Array) : numbers(t));

/** Sets every element, with one rounding (floats) or wrapped (integers). */
export function fill(t: Tensor, f: (i: number) => Value): void {
  const { data, size } = t;
  if (t.type === 'float16') for (let i = 0; i < size; i++) data[i] = numberToHalf(f(i));
  else for (let i = 0; i < size; i++) data[i] = f(i) as never;
}

/** A number as an element of the tensor's type: truncated to an integer where the type is 64 bits wide. */
export const as = (t: TensorType, x: number): Value => (isBig(t) ? BigInt(Number.isFinite(x) ? Math.trunc(x) : 0) : x);

/**
 * Checks an optional scalar that goes with `x`. One that was an attribute once is float32 whatever the float type of `x`.
 * @throws ModelFormatError
 */
export function scalarFor(node: Node, x: TensorType, scalar: TensorType | undefined): void {
  if (!scalar) return;
  const fits = scalar.type === x.type || (FLOATS.includes(x.type) && scalar.type === 'float32');
  if (!fits || scalar.dims.some((d) => d !== 1)) {
    throw bad(node, `expected a scalar of ${x.type}, got ${scalar.type} [${scalar.dims}]`);
  }
}

/** Small integer tensors (shapes, axes) as numbers; [] where the input is left out. */
export const list = (t: Tensor | undefined): number[] => (t ? Array.from(t.data as BigInt64Array, Number) : []);

/** Row-major strides of a dense shape. */
export function stridesOf(dims: readonly number[]): number[] {
  const strides = new Array<number>(dims.length);
  for (let d = dims.length, step = 1; d-- > 0; step *= dims[d]) strides[d] = step;
  return strides;
}

/** The offset of every element of a shape, in row-major order, under the given strides. */
export function offsets(dims: readonly number[], strides: readonly number[], base = 0): Uint32Array {
  let out = Uint32Array.of(base);
  for (let d = 0; d < dims.length; d++) {
    const n = dims[d];
    const next = new Uint32Array(out.length * n);
    for (let i = 0, j = 0; i < out.length; i++) for (let k = 0; k < n; k++) next[j++] = out[i] + k * strides[d];
    out = next;
  }
  return out;
}

/** The shape that all the shapes broadcast to, numpy's way. @throws ModelFormatError */
export function broadcastDims(node: Node, shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(...shapes.map((s) => s.length));
  const out = new Array<number>(rank).fill(1);
  for (const s of shapes) {
    for (let i = 1; i <= s.length; i++) {
      const n = s[s.length - i];
      if (n !== 1 && out[rank - i] !== 1 && out[rank - i] !== n) {
        throw bad(node, `shapes ${shapes.map((x) => `[${x}]`).join(' and ')} do not broadcast`);
      }
      if (n !== 1) out[rank - i] = n;
    }
  }
  return out;
}

/** Copies elements of one type: `out[i] = from[at[i]]`. */
export function take(out: Tensor, from: Tensor, at: ArrayLike<number>): void {
  const a = out.data;
  const b = from.data;
  for (let i = 0; i < a.length; i++) a[i] = b[at[i]] as never;
}

/** Copies all elements; the shapes differ at most in how they divide them. */
export const copy = (out: Tensor, from: Tensor): void => (out.data as Uint8Array).set(from.data as Uint8Array);

/** Where each element of `out` finds its counterpart in a broadcast `from`. */
export const spread = (node: Node, from: TensorType, out: TensorType): Uint32Array =>
  offsets(out.dims, broadcastStrides(node, from.dims, out.dims));

/** NaN wins. */
export const max = (a: Value, b: Value) => (a > b || Number.isNaN(a) ? a : b);
export const min = (a: Value, b: Value) => (a < b || Number.isNaN(a) ? a : b);
