/** Quantized tensors as exact numbers: elements less their zero point, and the way back. */
import type { Node } from '../graph/ir.ts';
import type { Tensor } from '../tensor.ts';
import { bad } from './attrs.ts';
import { doubles, numbers, rangeOf, roundEven } from './half.ts';
import { eachLine } from './strided.ts';

/** One value per channel from a tensor of one or `n` elements. */
export function perChannel(node: Node, t: Tensor, n: number): Float64Array {
  const x = doubles(t);
  if (x.length === n) return x;
  if (x.length !== 1) throw bad(node, `scale or zero point expected 1 or ${n} elements, got ${x.length}`);
  return new Float64Array(n).fill(x[0]);
}

/** Elements less the zero point: one for all, or one per index of `axis`. */
export function centred(node: Node, t: Tensor, zero: Tensor | undefined, axis: number): Float64Array {
  const x = doubles(t);
  if (!zero) return x;
  const z = perChannel(node, zero, t.dims[axis]);
  eachLine(t.dims, axis, (at, step, n) => {
    for (let i = 0; i < n; i++) x[at + i * step] -= z[i];
  });
  return x;
}

/** A setter of a quantized tensor: rounds to nearest even, adds the zero point (its first element), saturates. */
export function requantize(y: Tensor, zero: Tensor | undefined): (i: number, value: number) => void {
  const [lo, hi] = rangeOf(y.type)!;
  const z = zero ? numbers(zero)[0] : 0;
  return (i, value) => {
    y.data[i] = Math.min(hi, Math.max(lo, roundEven(value) + z));
  };
}
