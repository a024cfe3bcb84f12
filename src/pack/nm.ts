/**
 * N:M sparsity: of every M consecutive inputs of a row at most N are kept.
 *
 *     values   [rows][ceil(cols / M)][N]   by ascending index, then zeros
 *     indices  [rows][ceil(cols / M)][N]   place within the M, ceil(log2 M) bits each, least significant bit first, in bytes
 *
 * A place that is not needed holds the value 0 and an index that no other of its group has, so every index is distinct: 2:4
 * takes 4 bits a group of four.
 */
import { SparseFormatError } from '../errors.ts';
import { validateSizes } from './csr.ts';

export interface NmMatrix {
  readonly rows: number;
  readonly cols: number;
  readonly n: number;
  readonly m: number;
  readonly values: ArrayLike<number>;
  readonly indices: Uint8Array;
}

const bitsOf = (m: number): number => Math.ceil(Math.log2(m));

/** @throws SparseFormatError unless 1 <= n < m <= 32 */
export function validatePattern(n: number, m: number): void {
  if (!Number.isInteger(m) || m < 2 || m > 32)
    throw new SparseFormatError(`m: expected an integer from 2 to 32, got ${m}`);
  if (!Number.isInteger(n) || n < 1 || n >= m) {
    throw new SparseFormatError(`n: expected an integer from 1 to ${m - 1}, below m, got ${n}`);
  }
}

const read = (bytes: Uint8Array, bit: number, bits: number): number =>
  ((bytes[bit >> 3] | ((bytes[(bit >> 3) + 1] ?? 0) << 8)) >> (bit & 7)) & ((1 << bits) - 1);

function write(bytes: Uint8Array, bit: number, value: number): void {
  const shifted = value << (bit & 7);
  bytes[bit >> 3] |= shifted;
  if (shifted > 255) bytes[(bit >> 3) + 1] |= shifted >> 8;
}

/**
 * Checks a matrix whole.
 * @throws SparseFormatError for wrong sizes or lengths, an index past the last input, or one that is there twice
 */
export function validateNM({ rows, cols, n, m, values, indices }: NmMatrix): void {
  validateSizes(rows, cols);
  validatePattern(n, m);
  const bits = bitsOf(m);
  const groups = Math.ceil(cols / m);
  const places = rows * groups * n;
  if (values.length !== places) throw new SparseFormatError(`values: expected ${places} entries, got ${values.length}`);
  const bytes = Math.ceil((places * bits) / 8);
  if (indices.length !== bytes) throw new SparseFormatError(`indices: expected ${bytes} bytes, got ${indices.length}`);
  for (let i = 0, place = 0; i < rows * groups; i++) {
    const left = Math.min(m, cols - (i % groups) * m);
    let seen = 0;
    for (let j = 0; j < n; j++, place++) {
      const at = read(indices, place * bits, bits);
      // In a group cut short by the last column, places that are not needed may lie past it.
      if (at >= (values[place] === 0 ? m : left)) {
        throw new SparseFormatError(`indices[${place}]: expected a place from 0 to ${left - 1}, got ${at}`);
      }
      if (seen & (1 << at)) throw new SparseFormatError(`indices[${place}]: place ${at} is there twice in its group`);
      seen |= 1 << at;
    }
  }
}

/**
 * The nonzeros of `pattern` [rows][cols], with the values of `values`.
 * @throws SparseFormatError that names the first group with more than n of them
 */
export function encodeNM(
  pattern: Float32Array,
  values: Float32Array,
  rows: number,
  cols: number,
  n: number,
  m: number,
): NmMatrix & { values: Float32Array } {
  validatePattern(n, m);
  const bits = bitsOf(m);
  const groups = Math.ceil(cols / m);
  const out = new Float32Array(rows * groups * n);
  const indices = new Uint8Array(Math.ceil((out.length * bits) / 8));
  let place = 0;
  for (let r = 0; r < rows; r++) {
    for (let g = 0; g < groups; g++) {
      const end = place + n;
      let seen = 0;
      for (let j = 0, k = g * m; j < m && k < cols; j++, k++) {
        if (pattern[r * cols + k] === 0) continue;
        if (place === end) {
          throw new SparseFormatError(
            `row ${r}, inputs ${g * m} to ${Math.min(cols, (g + 1) * m) - 1}: more than ${n} of ${m} are not zero`,
          );
        }
        out[place] = values[r * cols + k];
        write(indices, place++ * bits, j);
        seen |= 1 << j;
      }
      for (let j = 0; place < end; j++) if (!(seen & (1 << j))) write(indices, place++ * bits, j);
    }
  }
  return { rows, cols, n, m, values: out, indices };
}

/** The matrix as [rows][cols]; it must be valid. */
export function decodeNM({ rows, cols, n, m, values, indices }: NmMatrix): Float32Array {
  const bits = bitsOf(m);
  const groups = Math.ceil(cols / m);
  const out = new Float32Array(rows * cols);
  for (let i = 0, place = 0; i < rows * groups; i++) {
    const k = (i % groups) * m;
    for (let j = 0; j < n; j++, place++) {
      const at = k + read(indices, place * bits, bits);
      if (at < cols) out[Math.floor(i / groups) * cols + at] = values[place];
    }
  }
  return out;
}
