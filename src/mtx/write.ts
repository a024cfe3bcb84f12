/** Writes MatrixMarket files; see read.ts. */
import { ArgumentRangeError, ArgumentTypeError, checkOptions } from '../errors.ts';
import { checkFloats, checkNumbers, checkSize } from '../sparse/check.ts';
import { readStructure } from '../sparse/structure.ts';
import type { CooMatrix, CsrMatrix } from '../sparse/types.ts';
import type { MtxField, MtxSymmetry } from './read.ts';

export interface MtxOptions {
  /** Default real. A pattern has no values. */
  field?: MtxField;
  /** Default general; otherwise the matrix must be so, and what lies above the diagonal is left out. */
  symmetry?: MtxSymmetry;
  /** Lines put under the first. */
  comment?: string;
}

/** [rows][cols], row-major. */
interface Dense {
  readonly data: ArrayLike<number>;
  readonly rows: number;
  readonly cols: number;
}

/**
 * The text of a MatrixMarket file: an array for a dense matrix, coordinates for the others (e.g. `SparseMatrix.toCSR()`).
 * Values come back exactly; those of a Float32Array take 9 digits at most, others 17.
 * @throws SparseFormatError where it is malformed; ArgumentTypeError, ArgumentRangeError when it is not as the options say
 */
export function writeMtx(matrix: CsrMatrix | CooMatrix | Dense, options: MtxOptions = {}): string {
  checkOptions(options);
  const { field = 'real', symmetry = 'general', comment } = options;
  if (typeof matrix !== 'object' || matrix === null) throw new ArgumentTypeError('matrix', 'a matrix', matrix);
  checkFloats(matrix);
  if (!['real', 'integer', 'pattern'].includes(field))
    throw new ArgumentRangeError('field', 'real, integer or pattern', field);
  if (!['general', 'symmetric', 'skew-symmetric'].includes(symmetry)) {
    throw new ArgumentRangeError('symmetry', 'general, symmetric or skew-symmetric', symmetry);
  }
  const { rows, cols } = matrix;
  if (symmetry !== 'general' && rows !== cols)
    throw new ArgumentRangeError('symmetry', 'general, the matrix is not square', symmetry);
  const dense = 'data' in matrix;
  if (field === 'pattern' && (dense || symmetry === 'skew-symmetric')) {
    throw new ArgumentRangeError(
      'field',
      `real or integer for ${dense ? 'a dense' : 'a skew-symmetric'} matrix`,
      field,
    );
  }
  const lines = [`%%MatrixMarket matrix ${dense ? 'array' : 'coordinate'} ${field} ${symmetry}`];
  if (comment !== undefined)
    lines.push(
      ...String(comment)
        .split(/\r?\n/)
        .map((line) => `%${line}`),
    );
  const single = (dense ? matrix.data : matrix.values) instanceof Float32Array;
  const text = (value: number): string => {
    if (field === 'integer' && !Number.isSafeInteger(value)) throw new ArgumentRangeError('matrix', 'integers', value);
    return numberText(value, single);
  };
  if (dense) denseLines(matrix, symmetry, text, lines);
  else coordinateLines(matrix, symmetry, field === 'pattern' ? undefined : text, lines);
  return `${lines.join('\n')}\n`;
}

/** The shortest decimal that is this double; of a float32, where `single`, at most 9 digits. */
function numberText(value: number, single: boolean): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value < 0 ? '-inf' : 'inf';
  if (Object.is(value, -0)) return '-0';
  if (single) {
    for (const digits of [6, 8, 9]) {
      const short = Number(value.toPrecision(digits));
      if (Math.fround(short) === value) return String(short);
    }
  }
  return String(value);
}

function denseLines(
  { data, rows, cols }: Dense,
  symmetry: MtxSymmetry,
  text: (v: number) => string,
  lines: string[],
): void {
  checkSize(rows, cols);
  if (data?.length !== rows * cols) throw new ArgumentRangeError('matrix.data', `${rows} * ${cols} values`, data);
  checkNumbers(data, 'data', data.length);
  lines.push(`${rows} ${cols}`);
  for (let c = 0; c < cols; c++) {
    for (let r = 0; r < rows; r++) {
      const value = data[r * cols + c];
      if (symmetry !== 'general') {
        mirrored(value, data[c * cols + r], r, c, symmetry);
        if (r < c || (r === c && symmetry === 'skew-symmetric')) continue;
      }
      lines.push(text(value));
    }
  }
}

function coordinateLines(
  matrix: CsrMatrix | CooMatrix,
  symmetry: MtxSymmetry,
  text: ((v: number) => string) | undefined,
  lines: string[],
): void {
  const structure = readStructure(matrix);
  const { columnIndices } = structure;
  const { rows, cols, values } = matrix;
  const n = columnIndices.length;
  if (structure.format === 'bsr') throw new ArgumentTypeError('matrix', 'CSR, COO or dense', matrix);
  const rowIndices = structure.format === 'coo' ? structure.rowIndices : expand(structure.rowPointers, n);
  if (values?.length !== n) throw new ArgumentRangeError('matrix.values', `${n} values`, values);
  checkNumbers(values, 'values', n);
  const at = symmetry === 'general' ? undefined : new Map<number, number>();
  for (let i = 0; at && i < n; i++) at.set(rowIndices[i] * cols + columnIndices[i], values[i]);
  const entries: string[] = [];
  for (let i = 0; i < n; i++) {
    const [r, c] = [rowIndices[i], columnIndices[i]];
    if (at) {
      mirrored(values[i], at.get(c * cols + r) ?? 0, r, c, symmetry);
      if (r < c || (r === c && symmetry === 'skew-symmetric')) continue;
    }
    entries.push(text ? `${r + 1} ${c + 1} ${text(values[i])}` : `${r + 1} ${c + 1}`);
  }
  lines.push(`${rows} ${cols} ${entries.length}`);
  for (const entry of entries) lines.push(entry);
}

/** @throws ArgumentRangeError unless a value is what the one across the diagonal says */
function mirrored(value: number, across: number, row: number, col: number, symmetry: MtxSymmetry): void {
  const expected = symmetry === 'symmetric' ? across : -across;
  if (value !== expected && !(Number.isNaN(value) && Number.isNaN(expected))) {
    throw new ArgumentRangeError('matrix', `${expected} at row ${row}, column ${col} of a ${symmetry} matrix`, value);
  }
}

function expand(pointers: ArrayLike<number>, entries: number): Uint32Array {
  const rows = new Uint32Array(entries);
  for (let r = 0; r + 1 < pointers.length; r++) rows.fill(r, pointers[r], pointers[r + 1]);
  return rows;
}
