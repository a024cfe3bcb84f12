/**
 * A bit for every weight, and the nonzeros in order: the smallest form from 6 to 97 % zeros (f32).
 *
 *     mask    [rows][ceil(cols / 8)]   bit k % 8 of byte k / 8: input k has a value
 *     values  [nonzeros]               row by row, by ascending input
 */
import { SparseFormatError } from '../errors.ts';
import { validateSizes } from './csr.ts';

export interface BitmaskMatrix {
  readonly rows: number;
  readonly cols: number;
  readonly mask: Uint8Array;
  readonly values: ArrayLike<number>;
}

/**
 * Checks a matrix whole.
 * @throws SparseFormatError for wrong sizes or lengths, or bits past the last column
 */
export function validateBitmask({ rows, cols, mask, values }: BitmaskMatrix): void {
  validateSizes(rows, cols);
  const stride = Math.ceil(cols / 8);
  if (mask.length !== rows * stride) {
    throw new SparseFormatError(`mask: expected ${rows * stride} bytes, got ${mask.length}`);
  }
  const past = cols % 8 ? 0xff & (0xff << (cols % 8)) : 0;
  let bits = 0;
  for (let i = 0; i < mask.length; i++) {
    for (let b = mask[i]; b; b &= b - 1) bits++;
    if (past && i % stride === stride - 1 && mask[i] & past) {
      throw new SparseFormatError(`mask[${i}]: expected no bits past column ${cols - 1}, got ${mask[i]}`);
    }
  }
  if (values.length !== bits) throw new SparseFormatError(`values: expected ${bits} entries, got ${values.length}`);
}

/** The nonzeros of `pattern` [rows][cols], with the values of `values`. */
export function encodeBitmask(
  pattern: Float32Array,
  values: Float32Array,
  rows: number,
  cols: number,
): BitmaskMatrix & { values: Float32Array } {
  const stride = Math.ceil(cols / 8);
  const mask = new Uint8Array(rows * stride);
  const out: number[] = [];
  for (let r = 0, at = 0; r < rows; r++) {
    for (let k = 0; k < cols; k++, at++) {
      if (pattern[at] === 0) continue;
      mask[r * stride + (k >> 3)] |= 1 << (k & 7);
      out.push(values[at]);
    }
  }
  return { rows, cols, mask, values: Float32Array.from(out) };
}

/** The matrix as [rows][cols]; it must be valid. */
export function decodeBitmask({ rows, cols, mask, values }: BitmaskMatrix): Float32Array {
  const stride = Math.ceil(cols / 8);
  const out = new Float32Array(rows * cols);
  let n = 0;
  for (let r = 0; r < rows; r++) {
    for (let k = 0; k < cols; k++) {
      if (mask[r * stride + (k >> 3)] & (1 << (k & 7))) out[r * cols + k] = values[n++];
    }
  }
  return out;
}
