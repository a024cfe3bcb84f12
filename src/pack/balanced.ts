/**
 * Fine-grained groups with a balanced count: every group of g rows keeps k inputs (SparseByteNN's pattern, capabilities C.1).
 *
 *     indices  [ceil(rows / g)][k]      ascending and unique within a group
 *     values   [ceil(rows / g)][k][g]   zeros past the last row
 */
import { SparseFormatError } from '../errors.ts';
import { validateSizes } from './csr.ts';

export interface BalancedMatrix {
  readonly rows: number;
  readonly cols: number;
  /** Rows of a group, and inputs it keeps. */
  readonly group: number;
  readonly kept: number;
  readonly indices: ArrayLike<number>;
  readonly values: ArrayLike<number>;
}

/**
 * Checks a matrix whole.
 * @throws SparseFormatError that names the entry, what was expected and what came
 */
export function validateBalanced({ rows, cols, group, kept, indices, values }: BalancedMatrix): void {
  validateSizes(rows, cols);
  if (!Number.isInteger(group) || group < 1 || group > 256) {
    throw new SparseFormatError(`group: expected an integer from 1 to 256, got ${group}`);
  }
  if (!Number.isInteger(kept) || kept < 0 || kept > cols) {
    throw new SparseFormatError(`kept: expected an integer from 0 to ${cols}, got ${kept}`);
  }
  const groups = Math.ceil(rows / group);
  if (indices.length !== groups * kept) {
    throw new SparseFormatError(`indices: expected ${groups * kept} entries, got ${indices.length}`);
  }
  if (values.length !== groups * kept * group) {
    throw new SparseFormatError(`values: expected ${groups * kept * group} entries, got ${values.length}`);
  }
  for (let i = 0; i < indices.length; i++) {
    const least = i % kept ? indices[i - 1] + 1 : 0;
    if (!Number.isInteger(indices[i]) || indices[i] < least || indices[i] >= cols) {
      throw new SparseFormatError(
        `indices[${i}]: expected an integer from ${least} to ${cols - 1}, ascending within a group, got ${indices[i]}`,
      );
    }
  }
}

/**
 * The inputs that each group of `pattern` [rows][cols] needs, with the values of `values`. Groups that need fewer than the
 * longest are filled up with inputs whose weights are zero.
 */
export function encodeBalanced(
  pattern: Float32Array,
  values: Float32Array,
  rows: number,
  cols: number,
  group: number,
): BalancedMatrix & { indices: Uint32Array; values: Float32Array } {
  const groups = Math.ceil(rows / group);
  const lists = Array.from({ length: groups }, (_, g) => {
    const list: number[] = [];
    for (let k = 0; k < cols; k++) {
      for (let r = g * group; r < Math.min(rows, (g + 1) * group); r++) {
        if (pattern[r * cols + k] !== 0) {
          list.push(k);
          break;
        }
      }
    }
    return list;
  });
  const kept = lists.reduce((most, l) => Math.max(most, l.length), 0);
  const indices = new Uint32Array(groups * kept);
  const out = new Float32Array(groups * kept * group);
  lists.forEach((list, g) => {
    const have = new Set(list);
    for (let k = 0; list.length < kept; k++) if (!have.has(k)) list.push(k);
    list.sort((a, b) => a - b);
    indices.set(list, g * kept);
    list.forEach((k, i) => {
      for (let j = 0; j < group && g * group + j < rows; j++) {
        out[(g * kept + i) * group + j] = values[(g * group + j) * cols + k];
      }
    });
  });
  return { rows, cols, group, kept, indices, values: out };
}

/** The matrix as [rows][cols]; it must be valid. */
export function decodeBalanced({ rows, cols, group, kept, indices, values }: BalancedMatrix): Float32Array {
  const out = new Float32Array(rows * cols);
  for (let r = 0; r < rows; r++) {
    const g = Math.floor(r / group);
    for (let i = g * kept; i < (g + 1) * kept; i++) out[r * cols + indices[i]] = values[i * group + (r % group)];
  }
  return out;
}
