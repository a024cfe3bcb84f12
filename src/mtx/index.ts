/** MatrixMarket files. Results are plain objects: `SparseMatrix.fromCOO(m)`, `SparseMatrix.fromDense(m.data, m.rows, m.cols)`. */
export { FileFormatError } from '../errors.ts';
export type { CooMatrix, CsrMatrix } from '../sparse/types.ts';
export { type MtxArray, type MtxCoordinate, type MtxField, type MtxSymmetry, readMtx } from './read.ts';
export { type MtxOptions, writeMtx } from './write.ts';
