/**
 * @typedef {{ kind: 'dense' | 'csr' | 'group2' | 'group4', sparsity?: number }} Pattern
 * `csr` drops single weights; `groupN` drops blocks of N consecutive output channels at one input channel.
 */

const GROUP = { csr: 1, group2: 2, group4: 4 };

/** The fraction of weights that `pattern` removes. */
export const sparsityOf = (pattern) => (pattern.kind === 'dense' ? 0 : (pattern.sparsity ?? 0));

/**
 * Zeroes exactly `round(sparsity · blocks)` blocks of a row-major `rows` × `columns` matrix in place, chosen uniformly over
 * the whole matrix, as global magnitude pruning chooses among random weights.
 * @param {Float32Array} weights
 * @param {number} rows output channels, a multiple of the group
 * @param {number} columns input channels
 * @param {Pattern} pattern
 * @param {() => number} next random numbers in [0, 1)
 */
export function prune(weights, rows, columns, pattern, next) {
  if (pattern.kind === 'dense') return;
  const group = GROUP[pattern.kind];
  if (!group) throw new RangeError(`pattern.kind: expected dense, csr, group2 or group4, got ${pattern.kind}`);
  if (rows % group) throw new RangeError(`rows: expected a multiple of ${group}, got ${rows}`);
  const blocks = Uint32Array.from({ length: (rows / group) * columns }, (_, i) => i);
  const removed = Math.round(blocks.length * sparsityOf(pattern));
  for (let i = 0; i < removed; i++) {
    const j = i + Math.floor(next() * (blocks.length - i));
    const block = blocks[j];
    blocks[j] = blocks[i];
    const row = Math.floor(block / columns) * group;
    for (let g = 0; g < group; g++) weights[(row + g) * columns + (block % columns)] = 0;
  }
}
