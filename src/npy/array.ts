/**
 * NumPy's array files (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), versions 1 to 3:
 *
 *     "\x93NUMPY"  u8 major  u8 minor  u16 (version 1) or u32 header bytes  header  data
 *
 * The header is a Python dict: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }.
 */

import { toBytes } from '../bytes.ts';
import { ArgumentRangeError, ArgumentTypeError, FileFormatError } from '../errors.ts';
import { ARRAYS, bytesOf, checkType, type DataOf, type DType, sizeOf } from '../tensor.ts';

/** A dense array, row-major; the fields of a Tensor. `float16` is raw bits in a Uint16Array, `bool` is 0 or 1. */
export interface NpyArray<T extends DType = DType> {
  readonly type: T;
  readonly data: DataOf<T>;
  readonly dims: readonly number[];
}

/** Any file's content: `text` where it holds one string (SciPy names its formats so). */
export type NpyContent = NpyArray | { readonly text: string };

const TYPES: Readonly<Record<string, DType>> = {
  f2: 'float16',
  f4: 'float32',
  f8: 'float64',
  i1: 'int8',
  i2: 'int16',
  i4: 'int32',
  i8: 'int64',
  u1: 'uint8',
  u2: 'uint16',
  u4: 'uint32',
  u8: 'uint64',
  b1: 'bool',
};
const CODES = Object.fromEntries(Object.entries(TYPES).map(([code, type]) => [type, code]));

const MAGIC = '\x93NUMPY';
/** NumPy itself refuses headers above 10 000 bytes unless told otherwise. */
const MAX_HEADER = 65536;
const MAX_DIMS = 64;

/**
 * Reads a .npy file of numbers or booleans.
 * @param name for messages
 * @throws FileFormatError that names the place, where the file is malformed or holds another type
 */
export function readNpy(source: ArrayBuffer | ArrayBufferView, name = 'npy'): NpyArray {
  const content = readContent(toBytes(source), name);
  if ('text' in content) throw new FileFormatError(name, 'expected numbers or booleans, got a string');
  return content;
}

/** As {@link readNpy}; single strings are read too. */
export function readContent(bytes: Uint8Array, name: string): NpyContent {
  const fail = (message: string): never => {
    throw new FileFormatError(name, message);
  };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 10 || String.fromCharCode(...bytes.subarray(0, 6)) !== MAGIC) fail('no NumPy array (.npy)');
  const major = bytes[6];
  if (major < 1 || major > 3) fail(`version ${major}.${bytes[7]}, expected 1 to 3`);
  const from = major === 1 ? 10 : 12;
  if (bytes.length < from) fail(`ends in its header, after ${bytes.length} bytes`);
  const headerBytes = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (headerBytes > MAX_HEADER) fail(`a header of ${headerBytes} bytes, at most ${MAX_HEADER} are read`);
  const start = from + headerBytes;
  if (start > bytes.length) fail(`ends in its header, after ${bytes.length} bytes of ${start}`);
  const header = readHeader(new TextDecoder().decode(bytes.subarray(from, start)), fail);
  let count = 1;
  for (const d of header.shape) count *= d;

  const size = itemSize(header.descr);
  if (!size) fail(`dtype '${header.descr}' is not read`);
  if (count * size > Number.MAX_SAFE_INTEGER) fail(`shape (${header.shape}) is too large`);
  if (start + count * size !== bytes.length) {
    const expected = `${count * size} bytes of data for shape (${header.shape}) of '${header.descr}'`;
    fail(`expected ${expected}, got ${bytes.length - start}`);
  }
  const data = bytes.slice(start);
  const [order, kind] = [header.descr[0], header.descr.slice(1)];
  if (kind[0] === 'S' || kind[0] === 'U') {
    if (count !== 1) fail(`${count} strings, one is read at most`);
    return { text: textOf(data, kind[0], order === '>') };
  }
  const type = TYPES[kind];
  if (order === '>') swap(data, size);
  if (type === 'bool') for (let i = 0; i < data.length; i++) data[i] = Number(data[i] !== 0);
  const values = new ARRAYS[type](data.buffer) as DataOf<DType>;
  const dims = Object.freeze(header.shape);
  return { type, data: header.fortran ? fromColumnMajor(values, dims) : values, dims };
}

interface Header {
  /** Byte order, kind and size, always three parts. */
  descr: string;
  fortran: boolean;
  shape: number[];
}

/** Bytes of an item; 0 where the type is not read. */
function itemSize(descr: string): number {
  const kind = descr.slice(1);
  if (Object.hasOwn(TYPES, kind)) return bytesOf(TYPES[kind]);
  const [, letter, length] = /^([SU])(\d{1,4})$/.exec(kind) ?? [];
  return letter ? Number(length) * (letter === 'U' ? 4 : 1) : 0;
}

const ENTRY =
  /^\s*(?:'(descr|fortran_order|shape)'|"(descr|fortran_order|shape)")\s*:\s*(?:'([^'\\]*)'|"([^"\\]*)"|(True|False)|\(([\d\s,L]*)\))\s*(,|$)/;

function readHeader(text: string, fail: (message: string) => never): Header {
  const inside = /^\s*\{([\s\S]*)\}\s*$/.exec(text)?.[1];
  if (inside === undefined) return fail('its header is no Python dict');
  const seen = new Map<string, string | boolean | number[]>();
  let rest = inside;
  while (rest.trim()) {
    const m = ENTRY.exec(rest);
    if (!m) return fail(`cannot read its header at "${rest.trim().slice(0, 40)}"`);
    const key = m[1] ?? m[2];
    if (seen.has(key)) return fail(`'${key}' is twice in its header`);
    const shape = m[6]?.trim().replace(/,$/, '');
    seen.set(key, m[3] ?? m[4] ?? (m[5] ? m[5] === 'True' : shape ? shape.split(',').map(toDimension) : []));
    rest = rest.slice(m[0].length);
  }
  const [descr, fortran, shape] = [seen.get('descr'), seen.get('fortran_order'), seen.get('shape')];
  if (typeof descr !== 'string' || typeof fortran !== 'boolean' || !Array.isArray(shape)) {
    return fail("its header needs 'descr' (a string), 'fortran_order' (a bool) and 'shape' (a tuple)");
  }
  if (shape.length > MAX_DIMS) return fail(`${shape.length} dimensions, at most ${MAX_DIMS} are read`);
  if (!shape.every((d) => Number.isSafeInteger(d))) return fail(`a dimension of its shape is no integer: (${shape})`);
  return { descr: /^[<>|=]/.test(descr) ? descr : `|${descr}`, fortran, shape };
}

/** Python 2 wrote long integers with an L. */
const toDimension = (text: string): number => (/^\s*\d+L?\s*$/.test(text) ? Number.parseInt(text, 10) : Number.NaN);

/** Turns the bytes of each item around. */
function swap(data: Uint8Array, size: number): void {
  for (let at = 0; at < data.length; at += size) data.subarray(at, at + size).reverse();
}

function textOf(data: Uint8Array, kind: string, bigEndian: boolean): string {
  let text = '';
  const view = new DataView(data.buffer);
  for (let at = 0; at < data.length; at += kind === 'U' ? 4 : 1) {
    const code = kind === 'U' ? view.getUint32(at, !bigEndian) : data[at];
    if (code) text += String.fromCodePoint(Math.min(code, 0x10ffff));
  }
  return text;
}

/** First index fastest -> last index fastest. */
function fromColumnMajor(values: DataOf<DType>, dims: readonly number[]): DataOf<DType> {
  if (dims.length < 2 || !values.length) return values;
  const out = values.slice();
  const strides = dims.map((_, i) => dims.slice(0, i).reduce((a, b) => a * b, 1));
  const index = new Array(dims.length).fill(0);
  for (let i = 0, from = 0; i < out.length; i++) {
    out[i] = values[from];
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++index[axis] < dims[axis]) break;
      from -= strides[axis] * dims[axis];
      index[axis] = 0;
    }
  }
  return out;
}

/** The bytes of a .npy file: version 1.0, little-endian, row-major; what `numpy.save` writes. A Tensor is an NpyArray. */
export function writeNpy(array: NpyArray): Uint8Array {
  const { type, data, dims } = array ?? {};
  checkType(type, 'array.type');
  if (!(data instanceof ARRAYS[type])) throw new ArgumentTypeError('array.data', ARRAYS[type].name, data);
  if (!Array.isArray(dims)) throw new ArgumentTypeError('array.dims', 'an array of integers', dims);
  if (sizeOf(dims, 'array.dims') !== data.length) {
    throw new ArgumentRangeError('array.data', `${sizeOf(dims)} elements for dims [${dims}]`, data);
  }
  const code = CODES[type];
  return assemble(
    `${bytesOf(type) === 1 ? '|' : '<'}${code}`,
    dims,
    new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  );
}

/** The bytes of a .npy file that holds one ASCII string, as SciPy writes names of formats. */
export const writeText = (text: string): Uint8Array => assemble(`|S${text.length}`, [], new TextEncoder().encode(text));

/** The data starts at a multiple of 64 bytes. */
function assemble(descr: string, dims: readonly number[], data: Uint8Array): Uint8Array {
  const shape = dims.length === 1 ? `${dims[0]},` : dims.join(', ');
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape}), }`;
  const start = Math.ceil((10 + dict.length + 1) / 64) * 64;
  if (start - 10 > 65535) throw new ArgumentRangeError('array.dims', 'dimensions that fit in a header', dims);
  const out = new Uint8Array(start + data.length);
  const header = `${MAGIC}\x01\x00${String.fromCharCode((start - 10) & 255, (start - 10) >> 8)}${dict.padEnd(start - 11)}\n`;
  for (let i = 0; i < header.length; i++) out[i] = header.charCodeAt(i);
  out.set(data, start);
  return out;
}
