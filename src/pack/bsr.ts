/**
 * Block-compressed sparse rows: like CSR, of blocks.
 *
 *     pointers       [ceil(rows / r) + 1]   row of blocks i holds blocks pointers[i] to pointers[i + 1]
 *     columnIndices  [blocks]               column of blocks, ascending within a row of blocks
 *     values         [blocks][r][c]         zeros past the last row and column
 *
 * r x 1 are groups of output channels that share an input, 1 x c runs along the inputs (oBERT's 4-block).
 */
import { SparseFormatError } from '../errors.ts';
import { validateLists, validateSizes } from './csr.ts';

export interface BsrMatrix {
  readonly rows: number;
  readonly cols: number;
  /** Rows and columns of a block. */
  readonly block: readonly [number, number];
  readonly pointers: ArrayLike<number>;
  readonly columnIndices: ArrayLike<number>;
  readonly values: ArrayLike<number>;
}

/** @throws SparseFormatError unless both are integers from 1 to 256 */
export function validateBlock(block: readonly number[]): void {
  if (block?.length !== 2 || block.some((n) => !Number.isInteger(n) || n < 1 || n > 256)) {
    throw new SparseFormatError(`block: expected [rows, columns] from 1 to 256, got ${JSON.stringify(block)}`);
  }
}

/**
 * Checks a matrix whole: sizes, pointers, indices, lengths.
 * @throws SparseFormatError that names the entry, what was expected and what came
 */
export function validateBSR(m: BsrMatrix): void {
  validateSizes(m.rows, m.cols);
  validateBlock(m.block);
  const [r, c] = m.block;
  validateLists(Math.ceil(m.rows / r), Math.ceil(m.cols / c), m.pointers, m.columnIndices);
  const expected = m.columnIndices.length * r * c;
  if (m.values.length !== expected) {
    throw new SparseFormatError(`values: expected ${expected} entries, got ${m.values.length}`);
  }
}

/** Blocks that hold a nonzero of `pattern` [rows][cols], with the values of `values`. */
export function encodeBSR(
  pattern: Float32Array,
  values: Float32Array,
  rows: number,
  cols: number,
  block: readonly [number, number],
): BsrMatrix & { pointers: Uint32Array; columnIndices: Uint32Array; values: Float32Array } {
  const [r, c] = block;
  const across = Math.ceil(cols / c);
  const pointers = new Uint32Array(Math.ceil(rows / r) + 1);
  const used = new Uint8Array(across);
  const lists: number[][] = [];
  for (let i = 0; i < pointers.length - 1; i++) {
    used.fill(0);
    for (let row = i * r; row < Math.min(rows, (i + 1) * r); row++) {
      for (let k = 0, at = row * cols; k < cols; k++, at++) if (pattern[at] !== 0) used[Math.floor(k / c)] = 1;
    }
    const list: number[] = [];
    for (let j = 0; j < across; j++) if (used[j]) list.push(j);
    lists.push(list);
    pointers[i + 1] = pointers[i] + list.length;
  }
  const blocks = pointers[pointers.length - 1];
  const columnIndices = new Uint32Array(blocks);
  const out = new Float32Array(blocks * r * c);
  lists.forEach((list, i) => {
    columnIndices.set(list, pointers[i]);
    list.forEach((j, b) => {
      for (let y = 0; y < r && i * r + y < rows; y++) {
        const from = (i * r + y) * cols + j * c;
        const n = Math.min(c, cols - j * c);
        out.set(values.subarray(from, from + n), ((pointers[i] + b) * r + y) * c);
      }
    });
  });
  return { rows, cols, block, pointers, columnIndices, values: out };
}

/** The matrix as [rows][cols]; it must be valid. */
export function decodeBSR({ rows, cols, block: [r, c], pointers, columnIndices, values }: BsrMatrix): Float32Array {
  const out = new Float32Array(rows * cols);
  for (let row = 0; row < rows; row++) {
    const i = Math.floor(row / r);
    for (let b = pointers[i]; b < pointers[i + 1]; b++) {
      const from = (b * r + (row % r)) * c;
      const k = columnIndices[b] * c;
      for (let x = 0; x < c && k + x < cols; x++) out[row * cols + k + x] = values[from + x];
    }
  }
  return out;
}
