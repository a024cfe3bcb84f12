/**
 * Block compressed sparse rows: blocks of r x c, each kept or dropped whole; [r, 1] are groups of r output channels that share
 * their inputs. Blocks over the edge store zeros there.
 *
 *     a b . .      block 2x2      rowPointers    0 1 2
 *     c d . .                     columnIndices  0 1          in blocks
 *     . . e .                     values         a b c d  e 0 0 0
 */
import { checkInteger, checkObject, checkSize, copyLists, type Indices, narrow, wrong } from './check.ts';
import { Growing, type Pattern } from './pattern.ts';
import type { BsrMatrix } from './types.ts';

/** The most rows or columns of a block. */
export const MAX_BLOCK = 64;

export class Bsr implements Pattern {
  readonly format = 'bsr';
  readonly rows: number;
  readonly cols: number;
  readonly block: readonly [r: number, c: number];
  readonly pointers: Uint32Array;
  readonly indices: Indices;

  private constructor(rows: number, cols: number, block: Bsr['block'], pointers: Uint32Array, indices: Indices) {
    this.rows = rows;
    this.cols = cols;
    this.block = block;
    this.pointers = pointers;
    this.indices = indices;
  }

  /** Copies and checks a structure. @throws SparseFormatError */
  static from(m: Omit<BsrMatrix, 'values'>): Bsr {
    checkObject(m, 'bsr matrix');
    const { rows, cols } = m;
    checkSize(rows, cols);
    const block = checkBlock(m.block);
    const [lists, limit] = [Math.ceil(rows / block[0]), Math.ceil(cols / block[1])];
    const { pointers, indices } = copyLists(m.rowPointers, m.columnIndices, lists, limit);
    return new Bsr(rows, cols, block, pointers, indices);
  }

  /** The blocks of [rows][cols] with a nonzero. */
  static fromDense(data: Float32Array, rows: number, cols: number, size: unknown): Bsr {
    const block = checkBlock(size);
    const [r, c] = block;
    const pointers = new Uint32Array(Math.ceil(rows / r) + 1);
    const indices = new Growing();
    const any = (row: number, col: number) => {
      const [endRow, endCol] = [Math.min(rows, row + r), Math.min(cols, col + c)];
      for (let i = row; i < endRow; i++) for (let j = col; j < endCol; j++) if (data[i * cols + j] !== 0) return true;
      return false;
    };
    for (let row = 0, i = 1; row < rows; row += r) {
      for (let col = 0, k = 0; col < cols; col += c, k++) if (any(row, col)) indices.push(k);
      pointers[i++] = indices.length;
    }
    return new Bsr(rows, cols, block, pointers, narrow(indices.done(), Math.ceil(cols / c)));
  }

  get stored(): number {
    return this.indices.length * this.block[0] * this.block[1];
  }

  get bytes(): number {
    return this.pointers.byteLength + this.indices.byteLength;
  }

  get ragged(): boolean {
    return this.rows % this.block[0] > 0 || this.cols % this.block[1] > 0;
  }

  visit(f: (slot: number, row: number, col: number) => void): void {
    const { rows, cols, pointers, indices } = this;
    const [r, c] = this.block;
    for (let row = 0, list = 0; row < rows; row += r, list++) {
      const height = Math.min(r, rows - row);
      for (let i = pointers[list]; i < pointers[list + 1]; i++) {
        const col = indices[i] * c;
        const width = Math.min(c, cols - col);
        for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) f((i * r + y) * c + x, row + y, col + x);
      }
    }
  }
}

function checkBlock(block: unknown): readonly [number, number] {
  if (!Array.isArray(block) || block.length !== 2) throw wrong('block', 'two integers [r, c]', block);
  const [r, c] = block;
  checkInteger(r, 'block[0]', 1, MAX_BLOCK);
  checkInteger(c, 'block[1]', 1, MAX_BLOCK);
  return [r, c];
}
