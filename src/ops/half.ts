/** The element types seen as plain numbers. */
import { halfToNumber, numberToHalf, roundEven } from '../half.ts';
import type { DType, Tensor } from '../tensor.ts';

export { halfToNumber, numberToHalf, roundEven };

export const FLOATS: readonly DType[] = ['float32', 'float64', 'float16'];

export type Numbers =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array;

/**
 * A tensor's elements as numbers: its own array, except that float16 is converted, and 64-bit integers become doubles
 * (exact to ±2^53). Not for writing.
 */
export function numbers(t: Tensor): Numbers {
  if (t.type === 'float16') return Float32Array.from(t.data as Uint16Array, halfToNumber);
  if (t.type === 'int64' || t.type === 'uint64') return Float64Array.from(t.data as BigInt64Array, Number);
  return t.data as Numbers;
}

/** A tensor's elements as doubles, in an array of the caller's own. */
export const doubles = (t: Tensor): Float64Array => {
  const values = numbers(t);
  return values !== t.data && values instanceof Float64Array ? values : new Float64Array(values);
};

/** Where to compute a tensor's elements as numbers; {@link store} puts them in. A zeroed array, or the tensor's own. */
export const target = (t: Tensor): Numbers =>
  t.type === 'float16' || t.type === 'int64' || t.type === 'uint64' ? new Float64Array(t.size) : (t.data as Numbers);

/**
 * Writes numbers into a tensor, one rounding each: floats to nearest even, integers truncated and wrapped as typed arrays
 * do. Writing what {@link target} returned converts in place, or does nothing.
 */
export function store(t: Tensor, values: ArrayLike<number>): void {
  const { type, data } = t;
  if ((values as unknown) === data) return;
  const n = data.length;
  if (type === 'float16') for (let i = 0; i < n; i++) data[i] = numberToHalf(values[i]);
  else if (type === 'int64' || type === 'uint64') {
    for (let i = 0; i < n; i++) (data as BigInt64Array)[i] = BigInt(Math.trunc(values[i]));
  } else (data as Numbers).set(values);
}

const RANGES: Partial<Record<DType, readonly [number, number]>> = {
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
};

/** The least and greatest value of an integer type of at most 32 bits, undefined for the others. */
export const rangeOf = (type: DType): readonly [number, number] | undefined => RANGES[type];
