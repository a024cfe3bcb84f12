/** Structures on their way into files, checked as SparseMatrix checks what it takes. */
import { ArgumentTypeError } from '../errors.ts';
import { Bsr } from './bsr.ts';
import type { Indices } from './check.ts';
import { readCoo } from './coo.ts';
import { Csr } from './csr.ts';
import type { BsrMatrix, CooMatrix, CsrMatrix } from './types.ts';

/** Pointers and indices as they were when checked. */
export type Structure =
  | { readonly format: 'csr'; readonly rowPointers: Uint32Array; readonly columnIndices: Indices }
  | { readonly format: 'bsr'; readonly rowPointers: Uint32Array; readonly columnIndices: Indices; block: Bsr['block'] }
  | { readonly format: 'coo'; readonly rowIndices: Uint32Array; readonly columnIndices: Indices };

/** @throws ArgumentTypeError unless it is one of these; SparseFormatError when malformed */
export function readStructure(matrix: CsrMatrix | BsrMatrix | CooMatrix): Structure {
  if (typeof matrix !== 'object' || matrix === null || !('columnIndices' in matrix)) {
    throw new ArgumentTypeError('matrix', 'a CSR, BSR or COO structure, e.g. SparseMatrix.toCSR()', matrix);
  }
  if ('rowIndices' in matrix) return { format: 'coo', ...readCoo(matrix) };
  if ('block' in matrix) {
    const { pointers, indices, block } = Bsr.from(matrix);
    return { format: 'bsr', rowPointers: pointers, columnIndices: indices, block };
  }
  const { pointers, indices } = Csr.from(matrix);
  return { format: 'csr', rowPointers: pointers, columnIndices: indices };
}
