/**
 * How values are stored: float32; float16 bits, rounded to nearest even; int8 with one float32 scale an output channel,
 *
 *     scale = largest magnitude of the row / 127,     q = value / scale, rounded to nearest even
 */
import { ArgumentRangeError, checkOptions, SparseFormatError } from '../errors.ts';
import { halfToNumber, numberToHalf, roundEven } from '../half.ts';
import { allocate, checkArray, floats, wrong } from './check.ts';
import type { Pattern } from './pattern.ts';
import type { ValueOptions, ValueType } from './types.ts';

export interface Values {
  readonly type: ValueType;
  /** One for each slot of the pattern; zero where that lies outside the matrix. */
  readonly data: Float32Array | Uint16Array | Int8Array;
  /** Of int8, [rows]. */
  readonly scales?: Float32Array;
}

/** @throws ArgumentRangeError unless `type` is a storage type */
export function checkType(type: unknown): asserts type is ValueType {
  if (type !== 'float32' && type !== 'float16' && type !== 'int8') {
    throw new ArgumentRangeError('dtype', "'float32', 'float16' or 'int8'", type);
  }
}

/** The same array with zeros where the pattern reaches over the edge of the matrix. */
function inside<T extends Values['data']>(pattern: Pattern, data: T): T {
  if (!pattern.ragged) return data;
  const out = new (data.constructor as new (n: number) => T)(data.length);
  pattern.visit((slot) => {
    out[slot] = data[slot];
  });
  return out;
}

/** Copies the values a user brings for a pattern. @throws SparseFormatError */
export function copyValues(pattern: Pattern, source: unknown, options: ValueOptions = {}): Values {
  checkOptions(options);
  const { dtype = 'float32', scales } = options;
  checkType(dtype);
  const n = pattern.stored;
  if (scales !== undefined) {
    if (dtype !== 'int8') throw wrong('scales', 'nothing but with dtype int8', scales);
    if (!(source instanceof Int8Array)) throw wrong('values', 'an Int8Array, since scales are given', source);
    checkArray(source, 'values', n);
    const own = floats(scales, 'scales', pattern.rows);
    own.forEach((s, i) => {
      if (!(s >= 0 && s < Number.POSITIVE_INFINITY)) throw wrong(`scales[${i}]`, 'a finite number >= 0', s);
    });
    return { type: dtype, data: inside(pattern, source.slice()), scales: own };
  }
  if (dtype === 'float16' && source instanceof Uint16Array) {
    checkArray(source, 'values', n);
    return { type: dtype, data: inside(pattern, source.slice()) };
  }
  return encode(pattern, inside(pattern, floats(source, 'values', n)), dtype);
}

/** The values of [rows][cols] at the places of a pattern. */
export function gather(pattern: Pattern, data: Float32Array, type: ValueType): Values {
  const slots = allocate(Float32Array, pattern.stored, 'values');
  const { cols } = pattern;
  pattern.visit((slot, row, col) => {
    slots[slot] = data[row * cols + col] + 0; // no -0
  });
  return encode(pattern, slots, type);
}

/** Stores float32 values of all slots as `type`. The array may be kept. @throws SparseFormatError for infinite int8 */
export function encode(pattern: Pattern, slots: Float32Array, type: ValueType): Values {
  if (type === 'float32') return { type, data: slots };
  if (type === 'float16') {
    const bits = new Uint16Array(slots.length);
    for (let i = 0; i < bits.length; i++) bits[i] = numberToHalf(slots[i]);
    return { type, data: bits };
  }
  const largest = new Float64Array(pattern.rows);
  pattern.visit((slot, row, col) => {
    const a = Math.abs(slots[slot]);
    if (!(a < Number.POSITIVE_INFINITY)) {
      throw new SparseFormatError(`row ${row}, column ${col}: expected a finite number for int8, got ${slots[slot]}`);
    }
    if (a > largest[row]) largest[row] = a;
  });
  const scales = Float32Array.from(largest, (a) => a / 127);
  const q = new Int8Array(slots.length);
  pattern.visit((slot, row) => {
    // A scale that is subnormal has few bits: the quotient may pass 127, or be 0 / 0.
    q[slot] = scales[row] ? Math.max(-127, Math.min(127, roundEven(slots[slot] / scales[row]))) : 0;
  });
  return { type, data: q, scales };
}

/** The values of all slots as float32; the stored array itself where it is that. */
export function decode({ data, scales }: Values, pattern: Pattern): Float32Array {
  if (data instanceof Float32Array) return data;
  const out = new Float32Array(data.length);
  if (scales) {
    pattern.visit((slot, row) => {
      out[slot] = data[slot] * scales[row];
    });
  } else for (let i = 0; i < out.length; i++) out[i] = halfToNumber(data[i]);
  return out;
}

/** Values that are not zero. */
export function countNonzeros({ type, data, scales }: Values, pattern: Pattern): number {
  let n = 0;
  if (scales) pattern.visit((slot, row) => (n += Number(data[slot] !== 0 && scales[row] !== 0)));
  else if (type === 'float16') for (let i = 0; i < data.length; i++) n += Number((data[i] & 0x7fff) !== 0);
  else for (let i = 0; i < data.length; i++) n += Number(data[i] !== 0);
  return n;
}

/** What makes the bits [rows][cols] of float16 values; undefined of other types, and where a value is NaN or infinite. */
export function finiteHalves(parts: { pattern: Pattern; values: Values }): (() => Uint16Array) | undefined {
  const { pattern, values } = parts;
  const { data } = values;
  if (!(data instanceof Uint16Array) || data.some((h) => (h & 0x7c00) === 0x7c00)) return undefined;
  return () => {
    const bits = new Uint16Array(pattern.rows * pattern.cols);
    pattern.visit((slot, row, col) => {
      bits[row * pattern.cols + col] = data[slot];
    });
    return bits;
  };
}
