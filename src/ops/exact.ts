/** Sums that are exact in 64-bit integers, and in doubles for floats. */
import type { DType, Tensor } from '../tensor.ts';
import { doubles, store } from './half.ts';

export const INTEGERS: readonly DType[] = ['int32', 'uint32', 'int64', 'uint64'];

/** 64- and 32-bit integers as bigints posing as doubles: `*` and `+=` work on both, modulo 2^64 in their array. */
export const exact = (t: Tensor): Float64Array =>
  INTEGERS.includes(t.type)
    ? (BigInt64Array.from(t.data as BigInt64Array, BigInt) as unknown as Float64Array)
    : doubles(t);

/** A zeroed accumulator of the kind {@link exact} gives. */
export const accumulator = (type: DType, n: number): Float64Array =>
  INTEGERS.includes(type) ? (new BigInt64Array(n) as unknown as Float64Array) : new Float64Array(n);

/** Stores what {@link accumulator} gathered. */
export function storeExact(y: Tensor, sums: Float64Array): void {
  if (!INTEGERS.includes(y.type)) store(y, sums);
  else if (y.type.endsWith('64')) (y.data as BigInt64Array).set(sums as unknown as BigInt64Array);
  else y.data.set(Array.from(sums as unknown as BigInt64Array, (v) => Number(BigInt.asIntN(32, v))) as never);
}
