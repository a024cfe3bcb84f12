/** The checks that sparse structures share. What is checked is what is stored: nothing can change in between. */
import { HERE, isGone } from '../bytes.ts';
import { ArgumentRangeError, ArgumentTypeError, describe, SparseFormatError } from '../errors.ts';

/**
 * The most rows, and columns: with 64 bytes each, a panel of 16 lanes, they fill the 4 GiB of a WebAssembly memory, so that no
 * operator takes more. The limit also keeps a few bytes that claim 2^31 rows from making gigabytes of row pointers.
 */
export const MAX_SIZE = 2 ** 26 - 1;

/** The most entries: pointers are 32 bits, and a negative one must stand out. */
const MAX_ENTRIES = 2 ** 31 - 1;

export const wrong = (what: string, expected: string, got: unknown): SparseFormatError =>
  new SparseFormatError(`${what}: expected ${expected}, got ${describe(got)}`);

/** @throws SparseFormatError unless `n` is an integer in [least, most] */
export function checkInteger(n: unknown, what: string, least: number, most: number): asserts n is number {
  if (typeof n !== 'number' || !Number.isInteger(n) || n < least || n > most) {
    throw wrong(what, `an integer from ${least} to ${most}`, n);
  }
}

/** @throws SparseFormatError unless a matrix can have this size */
export function checkSize(rows: unknown, cols: unknown): void {
  checkInteger(rows, 'rows', 0, MAX_SIZE);
  checkInteger(cols, 'cols', 0, MAX_SIZE);
  checkInteger(rows * cols, 'rows * cols', 0, Number.MAX_SAFE_INTEGER);
}

/** @throws ArgumentTypeError unless `m` is an object */
export function checkObject(m: unknown, what: string): void {
  if (typeof m !== 'object' || m === null) throw new ArgumentTypeError('m', `an object, a ${what}`, m);
}

/** Makes an array. @throws SparseFormatError where the JavaScript engine cannot */
export function allocate<T>(make: new (length: number) => T, length: number, what: string): T {
  if (length <= 2 ** 32) {
    try {
      return new make(length);
    } catch {
      // a RangeError of the JavaScript engine
    }
  }
  throw new SparseFormatError(`${what}: ${length} elements are more than fit in memory`);
}

const tagOf = (x: object): string => (x as Uint8Array)[Symbol.toStringTag] ?? '';
const isIntegers = (x: unknown): x is Uint32Array =>
  ArrayBuffer.isView(x) && /^U?[Ii]nt(8|16|32)(Clamped)?Array$/.test(tagOf(x));
const isFloats = (x: unknown): x is Float32Array => ArrayBuffer.isView(x) && /^Float(16|32|64)Array$/.test(tagOf(x));

/** @throws SparseFormatError unless `x` is an array or typed array of numbers */
export function checkArray(x: unknown, what: string, length?: number): asserts x is ArrayLike<number> {
  if (!Array.isArray(x) && !isIntegers(x) && !isFloats(x)) throw wrong(what, 'an array of numbers', x);
  if (!Array.isArray(x) && isGone(x)) throw wrong(what, HERE, x);
  if (length !== undefined && x.length !== length) {
    throw new SparseFormatError(`${what}: expected ${length} entries, got ${x.length}`);
  }
}

/**
 * 32-bit integers. Entries of plain and float arrays are checked to be integers in [0, most]; those of integer arrays are not,
 * but negative ones become 2^31 and more, which no limit allows.
 * @returns a copy, or a view of an array of 32-bit integers that no other thread can write to
 */
export function integers(source: unknown, what: string, most: number): Uint32Array {
  checkArray(source, what);
  const n = source.length;
  checkInteger(n, `${what}.length`, 0, MAX_ENTRIES);
  if (isIntegers(source) && source.BYTES_PER_ELEMENT === 4 && tagOf(source.buffer) === 'ArrayBuffer') {
    return new Uint32Array(source.buffer, source.byteOffset, n);
  }
  const out = allocate(Uint32Array, n, what);
  if (isIntegers(source)) out.set(source);
  else {
    for (let i = 0; i < n; i++) {
      const v = source[i];
      if (!Number.isInteger(v) || v < 0 || v > most) throw wrong(`${what}[${i}]`, `an integer from 0 to ${most}`, v);
      out[i] = v;
    }
  }
  return out;
}

/** @throws SparseFormatError unless `source` holds so many numbers */
export function checkNumbers(source: unknown, what: string, length: number): asserts source is ArrayLike<number> {
  checkArray(source, what, length);
  if (!Array.isArray(source)) return;
  for (let i = 0; i < length; i++)
    if (typeof source[i] !== 'number') throw wrong(`${what}[${i}]`, 'a number', source[i]);
}

/** @throws ArgumentRangeError for values that are integers with scales, or bits, as `toStoredCSR` gives them: files hold floats */
export function checkFloats(matrix: object): void {
  const dtype = 'dtype' in matrix ? matrix.dtype : undefined;
  if (dtype === undefined || dtype === 'float32') return;
  throw new ArgumentRangeError('matrix.dtype', 'float32, which SparseMatrix.toCSR() gives', dtype);
}

/** A copy of values, which must be numbers. */
export function floats(source: unknown, what: string, length: number): Float32Array {
  checkNumbers(source, what, length);
  const out = allocate(Float32Array, length, what);
  out.set(source);
  return out;
}

/** Column indices need 16 bits in most layers. */
export type Indices = Uint16Array | Uint32Array;

/** A copy of indices below `limit`, to be kept. */
export const narrow = (indices: Uint32Array, limit: number): Indices =>
  limit <= 65536 ? new Uint16Array(indices) : indices.slice();

/**
 * Copies and checks `lists` lists of ascending, unique indices below `limit`; list r is pointers[r] to pointers[r + 1].
 * @throws SparseFormatError that names the entry, what was expected and what came
 */
export function copyLists(
  rowPointers: unknown,
  columnIndices: unknown,
  lists: number,
  limit: number,
): { pointers: Uint32Array; indices: Indices } {
  checkArray(rowPointers, 'rowPointers', lists + 1);
  const indices = integers(columnIndices, 'columnIndices', Math.max(0, limit - 1));
  const entries = indices.length;
  const pointers = integers(rowPointers, 'rowPointers', entries);
  if (pointers[0] !== 0) throw wrong('rowPointers[0]', '0', rowPointers[0]);
  for (let r = 0; r < lists; r++) {
    const from = pointers[r];
    const to = pointers[r + 1];
    if (to < from || to > entries) {
      const got = rowPointers[r + 1];
      throw wrong(`rowPointers[${r + 1}]`, `an integer from ${from} to ${entries} (the number of indices)`, got);
    }
  }
  if (pointers[lists] !== entries) {
    throw wrong(`rowPointers[${lists}]`, `${entries}, the number of indices`, pointers[lists]);
  }
  for (let r = 0; r < lists; r++) {
    checkList(indices, pointers[r], pointers[r + 1], limit, r, columnIndices as ArrayLike<number>);
  }
  return { pointers: pointers.slice(), indices: narrow(indices, limit) };
}

/** Checks that indices [from, to) are ascending, unique and below `limit`. */
export function checkList(
  indices: Uint32Array,
  from: number,
  to: number,
  limit: number,
  list: number,
  source: ArrayLike<number>,
): void {
  let least = 0;
  for (let i = from; i < to; i++) {
    const k = indices[i];
    if (k >= limit) throw wrong(`columnIndices[${i}]`, `an integer from 0 to ${limit - 1}`, source[i]);
    if (k < least) {
      const expected = `ascending, unique columns within row ${list}`;
      throw new SparseFormatError(`columnIndices[${i}]: expected ${expected}, got ${k} after ${indices[i - 1]}`);
    }
    least = k + 1;
  }
}
