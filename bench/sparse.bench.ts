// What it costs to make a sparse matrix: checks, and packing for the kernels; nanoseconds a nonzero.
import { encodeBSR, validateBSR } from '../src/pack/bsr.ts';
import { encodeCSR, validateCSR } from '../src/pack/csr.ts';
import { SparseMatrix } from '../src/sparse/matrix.ts';
import { pruned } from './support/spmm.ts';

const [rows, cols] = [3072, 3072];
const dense = pruned(rows, cols, 0.2, 4);
const csr = encodeCSR(dense, dense, rows, cols);
const bsr = encodeBSR(dense, dense, rows, cols, [4, 1]);
const nonzeros = csr.values.length;
for (const [name, run] of [
  ['validate CSR', () => validateCSR(csr)],
  ['validate BSR 4x1', () => validateBSR(bsr)],
  ['SparseMatrix.fromCSR, checks and copies', () => SparseMatrix.fromCSR(csr)],
  ['SparseMatrix.fromDense, CSR', () => SparseMatrix.fromDense(dense, rows, cols)],
] as const) {
  const times = Array.from({ length: 15 }, () => {
    const start = performance.now();
    run();
    return ((performance.now() - start) * 1e6) / nonzeros;
  }).sort((a, b) => a - b);
  console.log(`${name}: ${times[7].toFixed(2)} ns a nonzero (median of 15), Node ${process.versions.node}`);
}
