/** Files of NumPy and SciPy. Results are plain objects: `new Tensor(a.type, a.data, a.dims)`, `SparseMatrix.fromCSR(m)`. */
export { FileFormatError } from '../errors.ts';
export type { BsrMatrix, CooMatrix, CsrMatrix } from '../sparse/types.ts';
export { type NpzOptions, readNpz, writeNpz } from './archive.ts';
export { type NpyArray, readNpy, writeNpy } from './array.ts';
export { readSparseNpz, type ScipyMatrix, writeSparseNpz } from './scipy.ts';
