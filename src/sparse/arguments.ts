import { ArgumentRangeError, ArgumentTypeError } from '../errors.ts';
import type { Arena } from '../memory/arena.ts';

/** @throws ArgumentTypeError, ArgumentRangeError unless it is a Float32Array, of `length` where given */
export function checkArray(name: string, array: unknown, length?: number): asserts array is Float32Array {
  if (!(array instanceof Float32Array)) throw new ArgumentTypeError(name, 'a Float32Array', array);
  if (length !== undefined && array.length !== length) throw new ArgumentRangeError(name, `${length} values`, array);
}

/** @throws ArgumentRangeError when they share memory */
export function checkApart(x: Float32Array, out: Float32Array): void {
  const overlap = out.byteOffset < x.byteOffset + x.byteLength && x.byteOffset < out.byteOffset + out.byteLength;
  if (out.buffer === x.buffer && overlap) throw new ArgumentRangeError('out', 'memory that x does not use', out);
}

/** The array, or a copy of a view of the engine's memory: allocating may grow that, which kills its views. */
export function kept(arena: Arena, array: Float32Array): Float32Array {
  return array.buffer === arena.view('uint8', 0, 0).buffer ? array.slice() : array;
}
