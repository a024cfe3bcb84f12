/** Groups of output channels that share a list of inputs (blocks of g x 1), made by the user, checked and packed. */
import { SparseFormatError } from '../errors.ts';
import type { Variant } from '../kernel/variants.ts';
import { validateLists, validateSizes } from './csr.ts';
import { type PackedSpmm, packSpmm } from './spmm.ts';

/** Groups of `channels` rows; group g holds the blocks pointers[g] to pointers[g + 1], each one column of its rows. */
export interface GroupMatrix {
  readonly rows: number;
  readonly cols: number;
  /** Rows of a group; the last group may have fewer. */
  readonly channels: number;
  /** [ceil(rows / channels) + 1] */
  readonly pointers: ArrayLike<number>;
  /** [blocks], ascending and unique within a group. */
  readonly columnIndices: ArrayLike<number>;
  /** [blocks][channels]; values of rows past the last are ignored. */
  readonly values: ArrayLike<number>;
}

/**
 * Checks a matrix whole: sizes, pointers, indices, lengths.
 * @throws SparseFormatError that names the entry, what was expected and what came
 */
export function validateGroups(m: GroupMatrix): void {
  const { rows, cols, channels } = m;
  if (!Number.isInteger(channels) || channels < 1) {
    throw new SparseFormatError(`channels: expected an integer >= 1, got ${channels}`);
  }
  validateSizes(rows, cols);
  validateLists(Math.ceil(rows / channels), cols, m.pointers, m.columnIndices);
  if (m.values.length !== m.columnIndices.length * channels) {
    throw new SparseFormatError(
      `values: expected ${m.columnIndices.length * channels} entries, got ${m.values.length}`,
    );
  }
}

/**
 * The matrix as [rows][cols].
 * @throws SparseFormatError
 */
export function expandGroups(m: GroupMatrix): Float32Array {
  validateGroups(m);
  const { rows, cols, channels, pointers, columnIndices, values } = m;
  const out = new Float32Array(rows * cols);
  for (let r = 0; r < rows; r++) {
    const g = Math.floor(r / channels);
    for (let i = pointers[g]; i < pointers[g + 1]; i++) {
      out[r * cols + columnIndices[i]] = values[i * channels + (r % channels)];
    }
  }
  return out;
}

/**
 * Packs groups for any SpMM kernel; those of 2 and 4 channels keep the sharing when `channels` is a multiple of theirs.
 * @throws SparseFormatError when the structure is malformed; ArgumentRangeError when the bias does not fit
 */
export function packGroups(m: GroupMatrix, variant: Variant, bias?: Float32Array): PackedSpmm {
  return packSpmm(expandGroups(m), m.rows, m.cols, variant, bias);
}
