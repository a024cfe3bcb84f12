import { HERE, isGone } from '../bytes.ts';
import { ArgumentRangeError, ArgumentTypeError } from '../errors.ts';
import type { Arena } from '../memory/arena.ts';

/** @throws ArgumentTypeError, ArgumentRangeError unless it is a Float32Array, of `length` where given */
export function checkArray(name: string, array: unknown, length?: number): asserts array is Float32Array {
  if (!(array instanceof Float32Array)) throw new ArgumentTypeError(name, 'a Float32Array', array);
  if (isGone(array)) throw new ArgumentTypeError(name, HERE, array);
  if (length !== undefined && array.length !== length) throw new ArgumentRangeError(name, `${length} values`, array);
}

/** Whether two arrays share memory; within that of `arena`, also if a view is from before it grew. */
export const overlap = (x: Float32Array, y: Float32Array, arena?: Arena): boolean =>
  (x.buffer === y.buffer || (arena?.owns(x) === true && arena.owns(y))) &&
  x.byteOffset < y.byteOffset + y.byteLength &&
  y.byteOffset < x.byteOffset + x.byteLength;

/** @throws ArgumentRangeError when they share memory */
export function checkApart(x: Float32Array, out: Float32Array, name = 'x'): void {
  if (overlap(x, out)) throw new ArgumentRangeError('out', `memory that ${name} does not use`, out);
}

/** What was given, or a copy of a view of the engine's memory: that may grow, which kills its views. */
export function kept<T>(arena: Arena, given: T): T {
  return given instanceof Float32Array && given.length && arena.owns(given) ? (given.slice() as T) : given;
}
