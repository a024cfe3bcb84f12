/**
 * N:M: of every m consecutive inputs of an output channel, n are kept; an index takes ceil(log2 m) bits. Groups with fewer
 * nonzeros store zeros at other places; the last group of a row may be narrower.
 *
 *     a . . b | . c . .     2:4     indices  0 3 0 1      2 bits each: 4 bits a group of 4
 *                                   values   a b 0 c
 */
import { SparseFormatError } from '../errors.ts';
import { allocate, checkInteger, checkObject, checkSize, wrong } from './check.ts';
import type { Pattern } from './pattern.ts';
import type { NmMatrix } from './types.ts';

const MAX_M = 32;

/** Bits of an index within a group of m. */
export const bitsOf = (m: number): number => 32 - Math.clz32(m - 1);

export class Nm implements Pattern {
  readonly format = 'nm';
  readonly rows: number;
  readonly cols: number;
  readonly n: number;
  readonly m: number;
  /** Packed indices. */
  readonly packed: Uint8Array;

  private constructor(rows: number, cols: number, n: number, m: number, packed: Uint8Array) {
    this.rows = rows;
    this.cols = cols;
    this.n = n;
    this.m = m;
    this.packed = packed;
  }

  /** Copies and checks a structure. @throws SparseFormatError */
  static from(s: Omit<NmMatrix, 'values'>): Nm {
    checkObject(s, 'nm matrix');
    const { rows, cols, n, m, indices } = s;
    checkSize(rows, cols);
    checkNm(n, m);
    const bytes = bytesOf(rows * Math.ceil(cols / m) * n, m);
    if (!(indices instanceof Uint8Array)) throw wrong('indices', 'a Uint8Array', indices);
    if (indices.length !== bytes)
      throw new SparseFormatError(`indices: expected ${bytes} bytes, got ${indices.length}`);
    const made = new Nm(rows, cols, n, m, indices.slice());
    const used = (made.stored * bitsOf(m)) % 8;
    if (used && made.packed[bytes - 1] >> used)
      throw wrong(`indices[${bytes - 1}]`, 'no bits past the last index', made.packed[bytes - 1]);
    for (let slot = 0; slot < made.stored; slot++) {
      const at = made.index(slot);
      if (at >= m) throw wrong(`index ${slot}`, `an integer from 0 to ${m - 1}`, at);
      if (slot % n && at <= made.index(slot - 1)) {
        const previous = made.index(slot - 1);
        throw new SparseFormatError(
          `index ${slot}: expected ascending, unique places within a group of ${m}, got ${at} after ${previous}`,
        );
      }
    }
    return made;
  }

  /** The nonzeros of [rows][cols]. @throws SparseFormatError at the first group with more than n */
  static fromDense(data: Float32Array, rows: number, cols: number, n: number, m: number): Nm {
    checkNm(n, m);
    const groups = Math.ceil(cols / m);
    const made = new Nm(rows, cols, n, m, allocate(Uint8Array, bytesOf(rows * groups * n, m), 'indices'));
    for (let r = 0, slot = 0; r < rows; r++) {
      for (let col = 0; col < cols; col += m) {
        const width = Math.min(m, cols - col);
        const at = r * cols + col;
        let count = 0;
        for (let i = 0; i < width; i++) if (data[at + i] !== 0) count++;
        if (count > n) {
          throw new SparseFormatError(
            `row ${r}, columns ${col} to ${col + width - 1}: expected at most ${n} nonzeros, got ${count}`,
          );
        }
        // Places that are zero fill up, the first ones; in a narrow group, places past the last column.
        for (let i = 0, spare = n - count; i < m; i++) {
          if ((i < width && data[at + i] !== 0) || spare-- > 0) made.put(slot++, i);
        }
      }
    }
    return made;
  }

  get stored(): number {
    return this.rows * Math.ceil(this.cols / this.m) * this.n;
  }

  get bytes(): number {
    return this.packed.byteLength;
  }

  get ragged(): boolean {
    return this.cols % this.m > 0;
  }

  /** The place of a stored value within its group. */
  index(slot: number): number {
    const bits = bitsOf(this.m);
    const at = slot * bits;
    const byte = Math.floor(at / 8);
    return ((this.packed[byte] | (this.packed[byte + 1] << 8)) >> (at % 8)) & ((1 << bits) - 1);
  }

  private put(slot: number, index: number): void {
    const at = slot * bitsOf(this.m);
    const byte = Math.floor(at / 8);
    const shifted = index << (at % 8);
    this.packed[byte] |= shifted;
    if (shifted > 255) this.packed[byte + 1] |= shifted >> 8;
  }

  visit(f: (slot: number, row: number, col: number) => void): void {
    const { rows, cols, n, m } = this;
    for (let r = 0, slot = 0; r < rows; r++) {
      for (let col = 0; col < cols; col += m) {
        for (let i = 0; i < n; i++, slot++) {
          const c = col + this.index(slot);
          if (c < cols) f(slot, r, c);
        }
      }
    }
  }
}

const bytesOf = (slots: number, m: number): number => Math.ceil((slots * bitsOf(m)) / 8);

function checkNm(n: unknown, m: unknown): void {
  checkInteger(m, 'm', 2, MAX_M);
  checkInteger(n, 'n, below m,', 1, m - 1);
}
