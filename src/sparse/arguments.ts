import { ArgumentRangeError, ArgumentTypeError } from '../errors.ts';
import type { Arena } from '../memory/arena.ts';

/** @throws ArgumentTypeError, ArgumentRangeError unless it is a Float32Array, of `length` where given */
export function checkArray(name: string, array: unknown, length?: number): asserts array is Float32Array {
  if (!(array instanceof Float32Array)) throw new ArgumentTypeError(name, 'a Float32Array', array);
  if (length !== undefined && array.length !== length) throw new ArgumentRangeError(name, `${length} values`, array);
}

/** Whether two arrays share memory. */
export const overlap = (x: Float32Array, y: Float32Array): boolean =>
  x.buffer === y.buffer && x.byteOffset < y.byteOffset + y.byteLength && y.byteOffset < x.byteOffset + x.byteLength;

/** @throws ArgumentRangeError when they share memory */
export function checkApart(x: Float32Array, out: Float32Array, name = 'x'): void {
  if (overlap(x, out)) throw new ArgumentRangeError('out', `memory that ${name} does not use`, out);
}

/** What was given, or a copy of a view of the engine's memory: that may grow, which kills its views. */
export function kept<T>(arena: Arena, given: T): T {
  const view = given instanceof Float32Array && arena.size > 0 && given.buffer === arena.view('uint8', 0, 0).buffer;
  return view ? (given.slice() as T) : given;
}
