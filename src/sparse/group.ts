/**
 * Balanced groups: g output channels share a list of inputs, and every group keeps the same number k, so no pointers are
 * needed and all groups take the same time. A group that needs fewer inputs stores zeros for others.
 *
 *     a . b .      group 2, k 2      columnIndices  0 2  1 3
 *     c . d .                        values         a c b d  e 0 f 0
 *     . e . f
 */
import { SparseFormatError } from '../errors.ts';
import { MAX_BLOCK } from './bsr.ts';
import {
  allocate,
  checkArray,
  checkInteger,
  checkList,
  checkObject,
  checkSize,
  type Indices,
  integers,
  narrow,
} from './check.ts';
import type { Pattern } from './pattern.ts';
import type { GroupMatrix } from './types.ts';

export class Groups implements Pattern {
  readonly format = 'group';
  readonly rows: number;
  readonly cols: number;
  readonly group: number;
  /** Inputs of a group. */
  readonly k: number;
  readonly indices: Indices;

  private constructor(rows: number, cols: number, group: number, k: number, indices: Indices) {
    this.rows = rows;
    this.cols = cols;
    this.group = group;
    this.k = k;
    this.indices = indices;
  }

  /** Copies and checks a structure. @throws SparseFormatError */
  static from(m: Omit<GroupMatrix, 'values'>): Groups {
    checkObject(m, 'group matrix');
    const { rows, cols, group, columnIndices } = m;
    checkSize(rows, cols);
    checkInteger(group, 'group', 1, MAX_BLOCK);
    checkArray(columnIndices, 'columnIndices');
    const lists = Math.ceil(rows / group);
    const indices = integers(columnIndices, 'columnIndices', Math.max(0, cols - 1));
    const k = lists ? indices.length / lists : 0;
    if (!Number.isInteger(k) || (!lists && indices.length)) {
      throw new SparseFormatError(
        `columnIndices: expected a multiple of ${lists} groups, got ${indices.length} entries`,
      );
    }
    for (let g = 0; g < lists; g++) checkList(indices, g * k, (g + 1) * k, cols, g, columnIndices);
    return new Groups(rows, cols, group, k, narrow(indices, cols));
  }

  /** The inputs that each group of [rows][cols] needs. @throws SparseFormatError when that is not the same number */
  static fromDense(data: Float32Array, rows: number, cols: number, group: unknown, count: unknown): Groups {
    checkInteger(group, 'group', 1, MAX_BLOCK);
    if (count !== undefined) checkInteger(count, 'k', 0, cols);
    const lists = Math.ceil(rows / group);
    const needed = new Uint8Array(cols);
    let k = count;
    let indices = new Uint32Array(0);
    for (let g = 0; g < lists; g++) {
      needed.fill(0);
      const end = Math.min(rows, (g + 1) * group);
      for (let r = g * group; r < end; r++) for (let c = 0; c < cols; c++) if (data[r * cols + c] !== 0) needed[c] = 1;
      let n = 0;
      for (let c = 0; c < cols; c++) n += needed[c];
      k ??= n;
      if (n > k || (count === undefined && n !== k)) {
        const expected = count === undefined ? `${k} inputs, as in the first group (or pass k)` : `at most ${k} inputs`;
        throw new SparseFormatError(`rows ${g * group} to ${end - 1}: expected ${expected}, got ${n}`);
      }
      if (!g) indices = allocate(Uint32Array, lists * k, 'columnIndices');
      // Inputs that are not needed fill up, the first ones.
      for (let c = 0, at = g * k, spare = k - n; c < cols; c++) if (needed[c] || spare-- > 0) indices[at++] = c;
    }
    return new Groups(rows, cols, group, k ?? 0, narrow(indices, cols));
  }

  get stored(): number {
    return this.indices.length * this.group;
  }

  get bytes(): number {
    return this.indices.byteLength;
  }

  get ragged(): boolean {
    return this.rows % this.group > 0;
  }

  visit(f: (slot: number, row: number, col: number) => void): void {
    const { rows, group, k, indices } = this;
    for (let row = 0, i = 0; row < rows; row += group) {
      const height = Math.min(group, rows - row);
      for (const end = i + k; i < end; i++) for (let y = 0; y < height; y++) f(i * group + y, row + y, indices[i]);
    }
  }
}
