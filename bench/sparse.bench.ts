// What it costs to make a sparse matrix, which is always checked and copied, and what its copies cost alone; nanoseconds a
// nonzero. Garbage is collected before each: on memory that is new to the process, fromCSR takes 5 ns instead of 2, for its pages.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { SparseMatrix } from '../src/sparse/matrix.ts';
import { pruned } from './support/spmm.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const [rows, cols] = [3072, 3072];
const dense = pruned(rows, cols, 0.2, 4);
const made = SparseMatrix.fromDense(dense, rows, cols);
const csr = made.toCSR();
const signed = {
  ...csr,
  rowPointers: Int32Array.from(csr.rowPointers),
  columnIndices: Int32Array.from(csr.columnIndices),
};
const plain = { ...csr, rowPointers: [...csr.rowPointers], columnIndices: [...csr.columnIndices] };
const groups = {
  ...{ rows, cols, block: [4, 1] as const },
  rowPointers: csr.rowPointers.filter((_, r) => r % 4 === 0).map((p) => p / 4),
  columnIndices: Uint32Array.from(
    [...csr.rowPointers.keys()]
      .filter((r) => r % 4 === 0 && r < rows)
      .flatMap((r) => [...csr.columnIndices.subarray(csr.rowPointers[r], csr.rowPointers[r + 1])]),
  ),
  values: csr.values,
};
for (const [name, run] of [
  ['copies alone', () => [csr.values.slice(), new Uint16Array(csr.columnIndices), csr.rowPointers.slice()]],
  ['fromCSR', () => SparseMatrix.fromCSR(csr)],
  ['fromCSR, Int32Array', () => SparseMatrix.fromCSR(signed)],
  ['fromCSR, plain arrays', () => SparseMatrix.fromCSR(plain)],
  ['fromBSR 4x1', () => SparseMatrix.fromBSR(groups)],
  ['fromDense, csr', () => SparseMatrix.fromDense(dense, rows, cols)],
  ['fromDense, bsr 4x1', () => SparseMatrix.fromDense(dense, rows, cols, { format: 'bsr' })],
  ['toDense', () => made.toDense()],
  ['toCSR', () => made.toCSR()],
] as const) {
  const times = Array.from({ length: 15 }, () => {
    collect();
    const start = performance.now();
    run();
    return ((performance.now() - start) * 1e6) / made.nonzeros;
  }).sort((a, b) => a - b);
  console.log(`${name}: ${times[7].toFixed(2)} ns a nonzero (median of 15), Node ${process.versions.node}`);
}
