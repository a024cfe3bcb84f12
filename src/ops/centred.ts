/** Quantized tensors as exact numbers: elements less their zero point, and the way back. */
import type { Node } from '../graph/ir.ts';
import { type DType, Tensor } from '../tensor.ts';
import { doubles, numbers, rangeOf, roundEven } from './half.ts';
import { broadcast } from './strided.ts';

export const BYTES: readonly DType[] = ['int8', 'uint8'];

/**
 * A scale or zero point for every element of a shape: a vector counts along `axis` (a single value everywhere), and a
 * tensor of more dimensions broadcasts.
 */
export function spread(node: Node, t: Tensor, dims: readonly number[], axis: number): Float64Array {
  if (t.size === 1) return new Float64Array(dims.reduce((a, b) => a * b, 1)).fill(numbers(t)[0]);
  const column = [t.size, ...dims.slice(axis + 1).fill(1)];
  return broadcast(node, t.dims.length === 1 ? new Tensor(t.type, t.data, column) : t, dims);
}

/** Elements less their zero point. */
export function centred(node: Node, t: Tensor, zero: Tensor | undefined, axis: number): Float64Array {
  const x = doubles(t);
  if (zero) {
    const z = spread(node, zero, t.dims, axis);
    for (let i = 0; i < x.length; i++) x[i] -= z[i];
  }
  return x;
}

/** A setter of a quantized tensor: rounds to nearest even, adds the zero point, saturates. */
export function requantize(y: Tensor): (i: number, value: number, zero: number) => void {
  const [lo, hi] = rangeOf(y.type)!;
  return (i, value, zero) => {
    y.data[i] = Math.min(hi, Math.max(lo, roundEven(value) + zero));
  };
}
