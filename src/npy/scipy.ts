/**
 * SciPy's sparse matrices (scipy.sparse.save_npz): an archive with `format`, `shape`, `data` and, by format,
 *
 *     csr, csc, bsr    indices, indptr        coo    row, col
 */
import { ArgumentRangeError, checkOptions, FileFormatError } from '../errors.ts';
import { halfToNumber } from '../half.ts';
import { checkFloats, checkNumbers, MAX_SIZE } from '../sparse/check.ts';
import { readStructure } from '../sparse/structure.ts';
import type { BsrMatrix, CooMatrix, CsrMatrix } from '../sparse/types.ts';
import { type NpzOptions, readContents } from './archive.ts';
import { type NpyArray, type NpyContent, writeNpy, writeText } from './array.ts';
import { zip } from './zip.ts';

/** A matrix for `SparseMatrix.fromCSR`, `.fromBSR` or `.fromCOO`; columns are turned into rows. */
export type ScipyMatrix =
  | ({ readonly format: 'csr' } & CsrMatrix)
  | ({ readonly format: 'bsr' } & BsrMatrix)
  | ({ readonly format: 'coo' } & CooMatrix);

const where = 'sparse npz';
const fail = (message: string): never => {
  throw new FileFormatError(where, message);
};

/**
 * Reads what `scipy.sparse.save_npz` wrote: csr, csc, bsr, coo. Lists are sorted where SciPy left them unsorted; entries of the
 * same place are kept, so that `from…` refuses them (`fromCOO` can add them).
 * @throws FileFormatError, also of sizes from 2^26 on
 */
export async function readSparseNpz(
  source: ArrayBuffer | ArrayBufferView,
  options: NpzOptions = {},
): Promise<ScipyMatrix> {
  const members = await readContents(source, options);
  const format = textOf(members.get('format'));
  const shape = integers(members, 'shape');
  if (shape.length !== 2) fail(`shape: expected 2 dimensions, got ${shape.length}`);
  const [rows, cols] = shape;
  for (const n of shape)
    if (!(n >= 0 && n <= MAX_SIZE)) fail(`shape: expected sizes up to ${MAX_SIZE}, got ${rows}x${cols}`);
  const data = arrayOf(members, 'data');
  const values = numbersOf(data);
  if (format === 'coo') {
    const [rowIndices, columnIndices] = [integers(members, 'row'), integers(members, 'col')];
    return { format, rows, cols, rowIndices, columnIndices, values };
  }
  if (format !== 'csr' && format !== 'csc' && format !== 'bsr') return fail(`format "${format}" is not read`);
  const [indices, pointers] = [integers(members, 'indices'), integers(members, 'indptr')];
  if (format === 'bsr') {
    const [blocks, r, c] = data.dims;
    if (data.dims.length !== 3 || blocks !== indices.length)
      fail(`data: expected [${indices.length}, r, c], got [${data.dims}]`);
    const block = [r, c] as const;
    const sorted = sort(pointers, indices, Math.ceil(rows / r));
    return { format, rows, cols, block, rowPointers: pointers, ...ordered(indices, values, sorted, r * c) };
  }
  if (values.length !== indices.length || data.dims.length !== 1)
    fail(`data: expected ${indices.length} values, got [${data.dims}]`);
  if (format === 'csr') {
    return { format, rows, cols, rowPointers: pointers, ...ordered(indices, values, sort(pointers, indices, rows), 1) };
  }
  // Compressed columns: the entries column by column, put into rows in that order.
  check(pointers, indices.length, cols);
  const rowPointers = new Int32Array(rows + 1);
  for (const r of indices) {
    if (r < 0 || r >= rows) fail(`indices: expected rows from 0 to ${rows - 1}, got ${r}`);
    rowPointers[r + 1]++;
  }
  for (let r = 0; r < rows; r++) rowPointers[r + 1] += rowPointers[r];
  const next = rowPointers.slice();
  const columnIndices = new Int32Array(indices.length);
  const out = new (values.constructor as Float64ArrayConstructor)(values.length);
  for (let c = 0; c < cols; c++) {
    for (let i = pointers[c]; i < pointers[c + 1]; i++) {
      columnIndices[next[indices[i]]] = c;
      out[next[indices[i]]++] = values[i];
    }
  }
  return { format: 'csr', rows, cols, rowPointers, columnIndices, values: out };
}

/**
 * The bytes of a .npz file that `scipy.sparse.load_npz` reads: csr, bsr, or coo, whatever comes.
 * @param matrix e.g. `SparseMatrix.toCSR()`; values are written as float32 unless they are a Float64Array
 * @param options compress: deflated; SciPy's default, and ours
 * @throws SparseFormatError where it is malformed; ArgumentTypeError, ArgumentRangeError; also for blocks that reach over the
 *   edge, which SciPy has not
 */
export async function writeSparseNpz(
  matrix: CsrMatrix | BsrMatrix | CooMatrix,
  options: { compress?: boolean } = {},
): Promise<Uint8Array> {
  checkOptions(options);
  const structure = readStructure(matrix);
  checkFloats(matrix);
  const { format, columnIndices } = structure;
  const { rows, cols, values } = matrix;
  const n = columnIndices.length;
  const block = format === 'bsr' ? structure.block : [1, 1];
  if (rows % block[0] || cols % block[1]) {
    const expected = `${rows}x${cols} to be whole blocks of ${block.join('x')}, as SciPy has them`;
    throw new ArgumentRangeError('matrix', expected, matrix);
  }
  if (values?.length !== n * block[0] * block[1]) {
    throw new ArgumentRangeError('matrix.values', `${n * block[0] * block[1]} values`, values);
  }
  checkNumbers(values, 'values', values.length);
  const type = values instanceof Float64Array ? 'float64' : 'float32';
  const data = type === 'float64' ? Float64Array.from(values) : Float32Array.from(values);
  const ints = (a: ArrayLike<number>): Uint8Array =>
    writeNpy({ type: 'int32', data: Int32Array.from(a), dims: [a.length] });
  const members = new Map<string, Uint8Array>();
  if (format === 'coo') members.set('row.npy', ints(structure.rowIndices)).set('col.npy', ints(columnIndices));
  else members.set('indices.npy', ints(columnIndices)).set('indptr.npy', ints(structure.rowPointers));
  members.set('format.npy', writeText(format));
  members.set(
    'shape.npy',
    writeNpy({ type: 'int64', data: BigInt64Array.from([BigInt(rows), BigInt(cols)]), dims: [2] }),
  );
  members.set('data.npy', writeNpy({ type, data, dims: format === 'bsr' ? [n, ...block] : [n] } as NpyArray));
  return zip(members, options.compress !== false);
}

function textOf(content: NpyContent | undefined): string {
  if (!content || !('text' in content)) return fail('no "format": not written by scipy.sparse.save_npz');
  return content.text;
}

function arrayOf(members: Map<string, NpyContent>, name: string): NpyArray {
  const content = members.get(name);
  if (!content || 'text' in content) return fail(`no array "${name}"`);
  return content;
}

/** Values as numbers: float16 widened, 64-bit integers as doubles. */
function numbersOf({ type, data }: NpyArray): Exclude<NpyArray['data'], BigInt64Array | BigUint64Array> {
  if (type === 'float16') return Float32Array.from(data as Uint16Array, halfToNumber);
  if (type === 'int64' || type === 'uint64') return Float64Array.from(data as BigInt64Array, Number);
  return data as Float64Array;
}

/** A list of int32 or int64. */
function integers(members: Map<string, NpyContent>, name: string): Int32Array | Float64Array {
  const { type, data, dims } = arrayOf(members, name);
  if (dims.length !== 1) fail(`${name}: expected one dimension, got [${dims}]`);
  if (type === 'int32') return data as Int32Array;
  if (type === 'int64') return Float64Array.from(data as BigInt64Array, Number);
  return fail(`${name}: expected int32 or int64, got ${type}`);
}

type Integers = Int32Array | Float64Array;

/** Pointers must be sound before lists are walked. */
function check(pointers: Integers, entries: number, lists: number): void {
  if (pointers.length !== lists + 1) fail(`indptr: expected ${lists + 1} entries, got ${pointers.length}`);
  let last = 0;
  for (const p of pointers) {
    if (!(p >= last && p <= entries))
      fail(`indptr: expected ascending numbers up to ${entries}, got ${p} after ${last}`);
    last = p;
  }
  if (pointers[0] !== 0 || last !== entries) fail(`indptr: expected 0 to ${entries}, got ${pointers[0]} to ${last}`);
}

/** An order of the entries that sorts each list; undefined where all are sorted. */
function sort(pointers: Integers, indices: Integers, lists: number): Uint32Array | undefined {
  check(pointers, indices.length, lists);
  let order: Uint32Array | undefined;
  for (let r = 0; r < lists; r++) {
    const [from, to] = [pointers[r], pointers[r + 1]];
    let i = from + 1;
    while (i < to && indices[i] >= indices[i - 1]) i++;
    if (i >= to) continue;
    order ??= Uint32Array.from(indices, (_, k) => k);
    order.subarray(from, to).sort((a, b) => indices[a] - indices[b] || a - b);
  }
  return order;
}

function ordered<T extends ReturnType<typeof numbersOf>>(
  indices: Integers,
  values: T,
  order: Uint32Array | undefined,
  size: number,
): { columnIndices: Integers; values: T } {
  if (values.length !== indices.length * size)
    fail(`data: expected ${indices.length * size} values, got ${values.length}`);
  if (!order) return { columnIndices: indices, values };
  const out = new (values.constructor as new (n: number) => T)(values.length);
  order.forEach((from, to) => {
    for (let i = 0; i < size; i++) out[to * size + i] = values[from * size + i];
  });
  return { columnIndices: indices.map((_, i) => indices[order[i]]) as Integers, values: out };
}
