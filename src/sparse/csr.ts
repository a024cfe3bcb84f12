/**
 * Compressed sparse rows: unstructured sparsity.
 *
 *     a . b .      rowPointers    0 2 2 3
 *     . . . .      columnIndices  0 2 3
 *     . . . c      values         a b c
 */
import { allocate, checkObject, checkSize, copyLists, type Indices } from './check.ts';
import type { Pattern } from './pattern.ts';
import type { CsrMatrix } from './types.ts';

export class Csr implements Pattern {
  readonly format = 'csr';
  readonly ragged = false;
  readonly rows: number;
  readonly cols: number;
  readonly pointers: Uint32Array;
  readonly indices: Indices;

  private constructor(rows: number, cols: number, pointers: Uint32Array, indices: Indices) {
    this.rows = rows;
    this.cols = cols;
    this.pointers = pointers;
    this.indices = indices;
  }

  /** Copies and checks a structure. @throws SparseFormatError */
  static from(m: Omit<CsrMatrix, 'values'>): Csr {
    checkObject(m, 'csr matrix');
    const { rows, cols, rowPointers, columnIndices } = m;
    checkSize(rows, cols);
    const { pointers, indices } = copyLists(rowPointers, columnIndices, rows, cols);
    return new Csr(rows, cols, pointers, indices);
  }

  /** The nonzeros of [rows][cols]. */
  static fromDense(data: Float32Array, rows: number, cols: number): Csr {
    const pointers = allocate(Uint32Array, rows + 1, 'rowPointers');
    for (let r = 0, at = 0, n = 0; r < rows; r++) {
      for (const end = at + cols; at < end; at++) if (data[at] !== 0) n++;
      pointers[r + 1] = n;
    }
    const indices = cols <= 65536 ? new Uint16Array(pointers[rows]) : new Uint32Array(pointers[rows]);
    for (let r = 0, at = 0, n = 0; r < rows; r++) {
      for (let c = 0; c < cols; c++) if (data[at++] !== 0) indices[n++] = c;
    }
    return new Csr(rows, cols, pointers, indices);
  }

  get stored(): number {
    return this.indices.length;
  }

  get bytes(): number {
    return this.pointers.byteLength + this.indices.byteLength;
  }

  visit(f: (slot: number, row: number, col: number) => void): void {
    const { pointers, indices, rows } = this;
    for (let r = 0; r < rows; r++) for (let i = pointers[r]; i < pointers[r + 1]; i++) f(i, r, indices[i]);
  }
}
