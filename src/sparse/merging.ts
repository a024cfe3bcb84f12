/** Merging, a chunk of its own: fetched when first asked for. */
import type { SparseMatrix } from './matrix.ts';
import type { MergedMatrix, MergedWeights } from './merged.ts';

const merged = () => import('./merged.ts');

/**
 * Dense weights that adapters are merged into, in place, and taken out of again to the bit.
 *
 *     const merged = await mergedWeights(weights, 768, 768);
 *     merged.add(lora);
 *     merged.remove(lora); // weights has the bits that it had
 * @param weights [rows][cols], used in place: a view of a WebAssembly memory must stay valid
 * @throws ArgumentTypeError, ArgumentRangeError
 */
export async function mergedWeights(weights: Float32Array, rows: number, cols: number): Promise<MergedWeights> {
  return new (await merged()).MergedWeights(weights, rows, cols);
}

/**
 * A sparse matrix that adapters are added to: each state is a new matrix, and without adapters it is `base` itself.
 * @throws ArgumentTypeError
 */
export async function mergedMatrix(base: SparseMatrix): Promise<MergedMatrix> {
  return new (await merged()).MergedMatrix(base);
}
