import { ArgumentRangeError, ArgumentTypeError } from '../errors.ts';

/** @throws ArgumentTypeError, ArgumentRangeError unless it is a Float32Array, of `length` where given */
export function checkArray(name: string, array: unknown, length?: number): asserts array is Float32Array {
  if (!(array instanceof Float32Array)) throw new ArgumentTypeError(name, 'a Float32Array', array);
  if (length !== undefined && array.length !== length) throw new ArgumentRangeError(name, `${length} values`, array);
}
