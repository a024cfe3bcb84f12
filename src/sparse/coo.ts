/**
 * Coordinates: a row, a column and a value for each entry, in any order. Taken as input, stored as compressed rows.
 *
 *     a . b      rowIndices     1 0 0          csr: rowPointers    0 2 3
 *     . c .      columnIndices  1 0 2               columnIndices  0 2 1
 *                values         c a b               values         a b c
 */
import { SparseFormatError } from '../errors.ts';
import { allocate, checkArray, checkObject, checkSize, floats, integers, wrong } from './check.ts';
import type { CooMatrix, CsrMatrix } from './types.ts';

/** Copies and checks a structure. @throws SparseFormatError */
export function readCoo(m: Omit<CooMatrix, 'values'>): { rowIndices: Uint32Array; columnIndices: Uint32Array } {
  checkObject(m, 'coo matrix');
  const { rows, cols } = m;
  checkSize(rows, cols);
  const columnIndices = integers(m.columnIndices, 'columnIndices', Math.max(0, cols - 1));
  const n = columnIndices.length;
  checkArray(m.rowIndices, 'rowIndices', n);
  const rowIndices = integers(m.rowIndices, 'rowIndices', Math.max(0, rows - 1));
  for (let i = 0; i < n; i++) {
    if (rowIndices[i] >= rows) throw wrong(`rowIndices[${i}]`, `an integer from 0 to ${rows - 1}`, m.rowIndices[i]);
    if (columnIndices[i] >= cols) {
      throw wrong(`columnIndices[${i}]`, `an integer from 0 to ${cols - 1}`, m.columnIndices[i]);
    }
  }
  return { rowIndices, columnIndices };
}

/**
 * Sorts entries by row and column.
 * @param sum adds entries of the same place, in the order they come; otherwise they are an error
 * @throws SparseFormatError
 */
export function sortCoo(m: CooMatrix, sum: boolean): CsrMatrix & { values: Float32Array } {
  const { rowIndices: rowOf, columnIndices: columns } = readCoo(m);
  const { rows, cols } = m;
  const n = columns.length;
  const given = floats(m.values, 'values', n);
  const rowPointers = allocate(Uint32Array, rows + 1, 'rowPointers');
  for (let i = 0; i < n; i++) rowPointers[rowOf[i] + 1]++;
  for (let r = 0; r < rows; r++) rowPointers[r + 1] += rowPointers[r];
  const next = rowPointers.slice();
  const order = new Uint32Array(n);
  for (let i = 0; i < n; i++) order[next[rowOf[i]]++] = i;

  const columnIndices = new Uint32Array(n);
  const values = new Float32Array(n);
  let out = 0;
  for (let r = 0, from = 0; r < rows; r++) {
    const to = rowPointers[r + 1];
    const row = order.subarray(from, to);
    let sorted = true;
    for (let i = 1; i < row.length; i++) if (columns[row[i]] < columns[row[i - 1]]) sorted = false;
    if (!sorted) row.sort((a, b) => columns[a] - columns[b] || a - b);
    const start = out;
    for (let i = 0; i < row.length; ) {
      const column = columns[row[i]];
      let value = given[row[i]];
      for (i++; i < row.length && columns[row[i]] === column; i++) {
        if (!sum) {
          const text = `expected each place once, got row ${r}, column ${column} twice; { sum: true } adds such entries`;
          throw new SparseFormatError(`entry ${row[i]}: ${text}`);
        }
        value += given[row[i]];
      }
      columnIndices[out] = column;
      values[out++] = value;
    }
    from = to;
    rowPointers[r] = start;
  }
  rowPointers[rows] = out;
  return { rows, cols, rowPointers, columnIndices: columnIndices.slice(0, out), values: values.slice(0, out) };
}
