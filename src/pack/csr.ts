/** Unstructured sparsity: compressed sparse rows made by the user, checked and packed (layout: spmm.ts). */
import { SparseFormatError } from '../errors.ts';
import type { Variant } from '../kernel/variants.ts';
import { MAX_COLS, type PackedSpmm, packSpmm } from './spmm.ts';

/** Compressed sparse rows, as in SciPy: row r holds entries rowPointers[r] to rowPointers[r + 1]. */
export interface CsrMatrix {
  readonly rows: number;
  readonly cols: number;
  /** [rows + 1], from 0 to the number of entries. */
  readonly rowPointers: ArrayLike<number>;
  /** [entries], ascending and unique within a row. */
  readonly columnIndices: ArrayLike<number>;
  /** [entries] */
  readonly values: ArrayLike<number>;
}

const size = (n: number, what: string, limit = Number.MAX_SAFE_INTEGER): void => {
  if (!Number.isInteger(n) || n < 0 || n > limit) {
    throw new SparseFormatError(`${what}: expected an integer from 0 to ${limit}, got ${n}`);
  }
};

/** @throws SparseFormatError unless a dense matrix of this size can be packed */
export function validateSizes(rows: number, cols: number): void {
  size(rows, 'rows');
  size(cols, 'cols', MAX_COLS);
  size(rows * cols, 'rows * cols', 2 ** 32);
}

/**
 * Checks pointers and indices of a structure with `lists` lists of inputs.
 * @throws SparseFormatError
 */
export function validateLists(
  lists: number,
  cols: number,
  pointers: ArrayLike<number>,
  indices: ArrayLike<number>,
): void {
  if (pointers.length !== lists + 1) {
    throw new SparseFormatError(`pointers: expected ${lists + 1} entries, got ${pointers.length}`);
  }
  if (pointers[0] !== 0) throw new SparseFormatError(`pointers[0]: expected 0, got ${pointers[0]}`);
  for (let r = 0; r < lists; r++) {
    const [from, to] = [pointers[r], pointers[r + 1]];
    if (!Number.isInteger(to) || to < from || to > indices.length) {
      throw new SparseFormatError(
        `pointers[${r + 1}]: expected an integer from ${from} to ${indices.length} (the number of indices), got ${to}`,
      );
    }
  }
  if (pointers[lists] !== indices.length) {
    throw new SparseFormatError(
      `pointers[${lists}]: expected ${indices.length}, the number of indices, got ${pointers[lists]}`,
    );
  }
  for (let r = 0; r < lists; r++) {
    const bad = firstBad(indices, pointers[r], pointers[r + 1], cols);
    if (bad < 0) continue;
    const k = indices[bad];
    if (!Number.isInteger(k) || k < 0 || k >= cols) {
      throw new SparseFormatError(`columnIndices[${bad}]: expected an integer from 0 to ${cols - 1}, got ${k}`);
    }
    throw new SparseFormatError(
      `columnIndices[${bad}]: expected ascending, unique columns within row ${r}, got ${k} after ${indices[bad - 1]}`,
    );
  }
}

/** The first of indices [from, to) that is not an integer below `cols` and above the one before; -1 where all are. */
function firstBad(indices: ArrayLike<number>, from: number, to: number, cols: number): number {
  let last = -1;
  // `| 0` is cheaper than Number.isInteger, and as good: cols is below 2^31.
  for (let i = from; i < to; i++) {
    const k = indices[i];
    if (!(k > last && k < cols && (k | 0) === k)) return i;
    last = k;
  }
  return -1;
}

/**
 * Checks a matrix whole: sizes, pointers, indices, lengths.
 * @throws SparseFormatError that names the entry, what was expected and what came
 */
export function validateCSR(m: CsrMatrix): void {
  validateSizes(m.rows, m.cols);
  validateLists(m.rows, m.cols, m.rowPointers, m.columnIndices);
  if (m.values.length !== m.columnIndices.length) {
    throw new SparseFormatError(`values: expected ${m.columnIndices.length} entries, got ${m.values.length}`);
  }
}

/** The nonzeros of `pattern` [rows][cols], with the values of `values`. */
export function encodeCSR(
  pattern: Float32Array,
  values: Float32Array,
  rows: number,
  cols: number,
): CsrMatrix & { rowPointers: Uint32Array; columnIndices: Uint32Array; values: Float32Array } {
  const rowPointers = new Uint32Array(rows + 1);
  for (let r = 0, at = 0; r < rows; r++) {
    let n = rowPointers[r];
    for (const end = at + cols; at < end; at++) if (pattern[at] !== 0) n++;
    rowPointers[r + 1] = n;
  }
  const columnIndices = new Uint32Array(rowPointers[rows]);
  const out = new Float32Array(rowPointers[rows]);
  for (let r = 0, at = 0, n = 0; r < rows; r++) {
    for (let k = 0; k < cols; k++, at++) {
      if (pattern[at] === 0) continue;
      columnIndices[n] = k;
      out[n++] = values[at];
    }
  }
  return { rows, cols, rowPointers, columnIndices, values: out };
}

/**
 * The matrix as [rows][cols].
 * @throws SparseFormatError
 */
export function expandCSR(m: CsrMatrix): Float32Array {
  validateCSR(m);
  return decodeCSR(m);
}

/** The matrix as [rows][cols]; it must be valid. */
export function decodeCSR(m: CsrMatrix): Float32Array {
  const out = new Float32Array(m.rows * m.cols);
  for (let r = 0; r < m.rows; r++) {
    for (let i = m.rowPointers[r]; i < m.rowPointers[r + 1]; i++) out[r * m.cols + m.columnIndices[i]] = m.values[i];
  }
  return out;
}

/**
 * Packs compressed sparse rows for any SpMM kernel.
 * @throws SparseFormatError when the structure is malformed; ArgumentRangeError when the bias does not fit
 */
export function packCSR(m: CsrMatrix, variant: Variant, bias?: Float32Array): PackedSpmm {
  return packSpmm(expandCSR(m), m.rows, m.cols, variant, bias);
}
