/**
 * One bit for each position, and the values of the ones: 1/8 byte a weight whatever the pattern.
 *
 *     a . b .      mask    101 (lowest bit first), 0001
 *     . . . c      values  a b c
 */
import { SparseFormatError } from '../errors.ts';
import { allocate, checkObject, checkSize, wrong } from './check.ts';
import type { Pattern } from './pattern.ts';
import type { BitmaskMatrix } from './types.ts';

export class Bitmask implements Pattern {
  readonly format = 'bitmask';
  readonly ragged = false;
  readonly rows: number;
  readonly cols: number;
  readonly mask: Uint8Array;
  readonly stored: number;

  private constructor(rows: number, cols: number, mask: Uint8Array) {
    this.rows = rows;
    this.cols = cols;
    this.mask = mask;
    let ones = 0;
    for (let bits of mask) for (; bits; bits &= bits - 1) ones++;
    this.stored = ones;
  }

  /** Copies and checks a structure. @throws SparseFormatError */
  static from(m: Omit<BitmaskMatrix, 'values'>): Bitmask {
    checkObject(m, 'bitmask matrix');
    const { rows, cols, mask } = m;
    checkSize(rows, cols);
    const width = Math.ceil(cols / 8);
    if (!(mask instanceof Uint8Array)) throw wrong('mask', 'a Uint8Array', mask);
    if (mask.length !== rows * width) {
      throw new SparseFormatError(`mask: expected ${rows} rows of ${width} bytes, got ${mask.length} bytes`);
    }
    const own = mask.slice();
    for (let i = width - 1; cols % 8 && i < own.length; i += width) {
      if (own[i] >> (cols % 8)) throw wrong(`mask[${i}]`, `no bits past column ${cols - 1}`, own[i]);
    }
    return new Bitmask(rows, cols, own);
  }

  /** The nonzeros of [rows][cols]. */
  static fromDense(data: Float32Array, rows: number, cols: number): Bitmask {
    const width = Math.ceil(cols / 8);
    const mask = allocate(Uint8Array, rows * width, 'mask');
    for (let r = 0, at = 0; r < rows; r++) {
      for (let c = 0; c < cols; c++) if (data[at++] !== 0) mask[r * width + (c >> 3)] |= 1 << (c & 7);
    }
    return new Bitmask(rows, cols, mask);
  }

  get bytes(): number {
    return this.mask.byteLength;
  }

  visit(f: (slot: number, row: number, col: number) => void): void {
    const { rows, cols, mask } = this;
    for (let r = 0, at = 0, slot = 0; r < rows; r++) {
      for (let c = 0; c < cols; c += 8) {
        for (let bits = mask[at++]; bits; bits &= bits - 1) f(slot++, r, c + 31 - Math.clz32(bits & -bits));
      }
    }
  }
}
