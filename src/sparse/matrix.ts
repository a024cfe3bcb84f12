/** The sparse matrices people make: one class over the formats of src/pack, validated and copied when made, immutable then. */
import { ArgumentRangeError, ArgumentTypeError, SparseFormatError } from '../errors.ts';
import { halfToNumber, numberToHalf, roundEven } from '../half.ts';
import { type BalancedMatrix, decodeBalanced, encodeBalanced } from '../pack/balanced.ts';
import { type BitmaskMatrix, decodeBitmask, encodeBitmask } from '../pack/bitmask.ts';
import { type BsrMatrix, decodeBSR, encodeBSR, validateBlock, validateBSR } from '../pack/bsr.ts';
import { type CsrMatrix, decodeCSR, encodeCSR, validateCSR, validateSizes } from '../pack/csr.ts';
import { decodeNM, encodeNM, type NmMatrix } from '../pack/nm.ts';

export type SparseFormat = 'csr' | 'bsr' | 'group' | 'nm' | 'bitmask';

/** How values are stored; int8 has a scale for each row. */
export type ValueType = 'float32' | 'float16' | 'int8';

export interface SparseOptions {
  format?: SparseFormat;
  /** bsr: rows and columns of a block. Left out: [4, 1]. */
  block?: readonly [number, number];
  /** group: rows that share their inputs; every group keeps as many. Left out: 4. */
  group?: number;
  /** nm: at most n of every m consecutive inputs. Left out: 2 of 4. */
  n?: number;
  m?: number;
  dtype?: ValueType;
}

/** Entries anywhere, in any order. */
export interface CooMatrix {
  readonly rows: number;
  readonly cols: number;
  readonly rowIndices: ArrayLike<number>;
  readonly columnIndices: ArrayLike<number>;
  readonly values: ArrayLike<number>;
}

type Structures = {
  csr: CsrMatrix;
  bsr: BsrMatrix;
  group: BalancedMatrix;
  nm: NmMatrix;
  bitmask: BitmaskMatrix;
};

const DECODE: { [F in SparseFormat]: (s: Structures[F]) => Float32Array } = {
  csr: decodeCSR,
  bsr: decodeBSR,
  group: decodeBalanced,
  nm: decodeNM,
  bitmask: decodeBitmask,
};

type Values = Float32Array | Uint16Array | Int8Array;

const store = (values: Float32Array, dtype: ValueType): Values =>
  dtype === 'float32' ? values : dtype === 'float16' ? Uint16Array.from(values, numberToHalf) : Int8Array.from(values); // integers already

/** Integers from -127 to 127 and a scale for each row: w = scale x integer, to nearest even; a row of zeros has scale 1. */
function quantized(dense: Float32Array, rows: number, cols: number): { integers: Float32Array; scales: Float32Array } {
  const integers = new Float32Array(dense.length);
  const scales = new Float32Array(rows).fill(1);
  for (let r = 0; r < rows; r++) {
    let most = 0;
    for (let at = r * cols; at < (r + 1) * cols; at++) {
      if (!Number.isFinite(dense[at])) throw new ArgumentRangeError('data', 'finite weights for int8', dense[at]);
      most = Math.max(most, Math.abs(dense[at]));
    }
    // A scale below the least normal number would not be exact.
    if (most > 127 * 2 ** -126) scales[r] = most / 127;
    for (let at = r * cols; at < (r + 1) * cols; at++) {
      integers[at] = Math.max(-127, Math.min(127, roundEven(dense[at] / scales[r])));
    }
  }
  return { integers, scales };
}

const indexBytes = (s: object): number =>
  Object.values(s).reduce((n: number, v) => n + (ArrayBuffer.isView(v) ? v.byteLength : 0), 0);

const isDense = (data: unknown): data is Float32Array | Float64Array | readonly number[] =>
  data instanceof Float32Array || data instanceof Float64Array || Array.isArray(data);

/**
 * An immutable sparse matrix [rows][cols], one row an output.
 *
 *     const w = SparseMatrix.fromDense(weights, 768, 3072, { format: 'bsr', block: [4, 1] });
 *     const y = engine.spmm(w, x, { bias, min: 0 });
 */
export class SparseMatrix {
  readonly rows: number;
  readonly cols: number;
  readonly format: SparseFormat;
  readonly dtype: ValueType;
  /** Stored entries that are not zero. */
  readonly nonzeros: number;
  /** Stored entries, with the zeros of blocks and groups. */
  readonly stored: number;
  /** Bytes of values, indices and scales. */
  readonly bytes: number;
  /** All of it but the values. */
  private readonly structure: Omit<Structures[SparseFormat], 'values'>;
  private readonly values: Values;
  private readonly scales: Float32Array | undefined;

  private constructor(
    format: SparseFormat,
    structure: Structures[SparseFormat] & { values: Float32Array },
    dtype: ValueType,
    scales?: Float32Array,
  ) {
    const { values: exact, ...rest } = structure;
    this.rows = structure.rows;
    this.cols = structure.cols;
    this.format = format;
    this.dtype = dtype;
    this.scales = scales;
    this.structure = rest;
    this.values = store(exact, dtype);
    this.nonzeros = exact.reduce((n, v) => n + Number(v !== 0), 0);
    this.stored = exact.length;
    this.bytes = this.values.byteLength + indexBytes(rest) + (scales?.byteLength ?? 0);
  }

  /** Share of the weights that are not zero. */
  get density(): number {
    return this.rows * this.cols ? this.nonzeros / (this.rows * this.cols) : 0;
  }

  /**
   * The nonzeros of a dense matrix: -0 counts as zero, NaN and infinities are kept (int8 refuses them).
   * @param data [rows][cols], row-major
   * @throws SparseFormatError for wrong sizes, or a matrix that the format cannot hold (it names the place);
   *   ArgumentTypeError, ArgumentRangeError for wrong arguments
   */
  static fromDense(
    data: Float32Array | Float64Array | readonly number[],
    rows: number,
    cols: number,
    options: SparseOptions = {},
  ): SparseMatrix {
    const { format = 'csr', dtype = 'float32', block = [4, 1], group = 4, n = 2, m = 4 } = options;
    if (!(format in DECODE)) throw new ArgumentRangeError('format', Object.keys(DECODE).join(', '), format);
    if (dtype !== 'float32' && dtype !== 'float16' && dtype !== 'int8') {
      throw new ArgumentRangeError('dtype', 'float32, float16 or int8', dtype);
    }
    validateSizes(rows, cols);
    if (!isDense(data)) throw new ArgumentTypeError('data', 'a Float32Array, Float64Array or numbers', data);
    if (data.length !== rows * cols) {
      throw new ArgumentRangeError('data', `${rows} * ${cols} = ${rows * cols} values`, data);
    }
    const dense = data instanceof Float32Array ? data : Float32Array.from(data);
    const q = dtype === 'int8' ? quantized(dense, rows, cols) : undefined;
    const values = q?.integers ?? dense;
    if (format === 'bsr') validateBlock(block);
    if (!Number.isInteger(group) || group < 1 || group > 256) {
      throw new ArgumentRangeError('group', 'an integer from 1 to 256', group);
    }
    const structure = {
      csr: () => encodeCSR(dense, values, rows, cols),
      bsr: () => encodeBSR(dense, values, rows, cols, [block[0], block[1]]),
      group: () => encodeBalanced(dense, values, rows, cols, group),
      nm: () => encodeNM(dense, values, rows, cols, n, m),
      bitmask: () => encodeBitmask(dense, values, rows, cols),
    }[format]();
    return new SparseMatrix(format, structure, dtype, q?.scales);
  }

  /**
   * Compressed sparse rows, as in SciPy. Everything is checked and copied.
   * @throws SparseFormatError that names the entry, what was expected and what came
   */
  static fromCSR(m: CsrMatrix): SparseMatrix {
    requireObject('m', m, ['rowPointers', 'columnIndices', 'values']);
    validateCSR(m);
    const { rows, cols } = m;
    return new SparseMatrix(
      'csr',
      {
        rows,
        cols,
        rowPointers: Uint32Array.from(m.rowPointers),
        columnIndices: Uint32Array.from(m.columnIndices),
        values: Float32Array.from(m.values),
      },
      'float32',
    );
  }

  /**
   * Block-compressed sparse rows, as in SciPy. Everything is checked and copied; values past the last row or column are dropped.
   * @throws SparseFormatError that names the entry, what was expected and what came
   */
  static fromBSR(m: BsrMatrix): SparseMatrix {
    requireObject('m', m, ['pointers', 'columnIndices', 'values']);
    validateBSR(m);
    const { rows, cols, block } = m;
    const [r, c] = block;
    const pointers = Uint32Array.from(m.pointers);
    const columnIndices = Uint32Array.from(m.columnIndices);
    const values = Float32Array.from(m.values);
    for (let i = 0; i < pointers.length - 1; i++) {
      for (let b = pointers[i]; b < pointers[i + 1]; b++) {
        for (let j = 0; j < r * c; j++) {
          if (i * r + Math.floor(j / c) >= rows || columnIndices[b] * c + (j % c) >= cols) values[b * r * c + j] = 0;
        }
      }
    }
    return new SparseMatrix('bsr', { rows, cols, block: [r, c], pointers, columnIndices, values }, 'float32');
  }

  /**
   * Entries in any order, stored as CSR.
   * @param options sum: entries of the same place are added; left out, they are an error
   * @throws SparseFormatError that names the entry, what was expected and what came
   */
  static fromCOO(m: CooMatrix, { sum = false }: { sum?: boolean } = {}): SparseMatrix {
    requireObject('m', m, ['rowIndices', 'columnIndices', 'values']);
    const { rows, cols, rowIndices, columnIndices, values } = m;
    validateSizes(rows, cols);
    const n = values.length;
    if (rowIndices.length !== n || columnIndices.length !== n) {
      throw new SparseFormatError(
        `rowIndices, columnIndices: expected ${n} entries like values, got ${rowIndices.length} and ${columnIndices.length}`,
      );
    }
    const rowPointers = new Uint32Array(rows + 1);
    for (let i = 0; i < n; i++) {
      for (const [name, index, size] of [
        ['rowIndices', rowIndices[i], rows],
        ['columnIndices', columnIndices[i], cols],
      ] as const) {
        if (!Number.isInteger(index) || index < 0 || index >= size) {
          throw new SparseFormatError(`${name}[${i}]: expected an integer from 0 to ${size - 1}, got ${index}`);
        }
      }
    }
    const order = Uint32Array.from({ length: n }, (_, i) => i).sort(
      (a, b) => rowIndices[a] - rowIndices[b] || columnIndices[a] - columnIndices[b] || a - b,
    );
    const columns: number[] = [];
    const sums: number[] = [];
    let last = -1;
    for (const i of order) {
      const same = last >= 0 && rowIndices[last] === rowIndices[i] && columnIndices[last] === columnIndices[i];
      if (same && !sum) {
        throw new SparseFormatError(
          `entries ${last} and ${i}: both at row ${rowIndices[i]}, column ${columnIndices[i]}; { sum: true } adds them`,
        );
      }
      if (same) sums[sums.length - 1] += values[i];
      else {
        columns.push(columnIndices[i]);
        sums.push(values[i]);
        rowPointers[rowIndices[i] + 1]++;
      }
      last = i;
    }
    for (let r = 0; r < rows; r++) rowPointers[r + 1] += rowPointers[r];
    const structure = {
      rows,
      cols,
      rowPointers,
      columnIndices: Uint32Array.from(columns),
      values: Float32Array.from(sums),
    };
    return new SparseMatrix('csr', structure, 'float32');
  }

  /** [rows][cols], row-major, a new array. */
  toDense(): Float32Array {
    const numbers = this.dtype === 'float16' ? Float32Array.from(this.values, halfToNumber) : this.values;
    const out = DECODE[this.format]({ ...this.structure, values: numbers } as never);
    if (this.scales) for (let i = 0; i < out.length; i++) out[i] *= this.scales[Math.floor(i / this.cols)];
    return out;
  }

  /** A matrix of this one's entries, CSR, with other values; for SDDMM. @internal */
  withValues(pattern: CsrMatrix, values: Float32Array): SparseMatrix {
    return new SparseMatrix('csr', { ...pattern, values }, 'float32');
  }

  /** Compressed sparse rows of the nonzeros, in new arrays. */
  toCSR(): CsrMatrix & { rowPointers: Uint32Array; columnIndices: Uint32Array; values: Float32Array } {
    const dense = this.toDense();
    return encodeCSR(dense, dense, this.rows, this.cols);
  }
}

function requireObject(argument: string, value: unknown, arrays: readonly string[]): void {
  if (typeof value !== 'object' || value === null) throw new ArgumentTypeError(argument, 'an object', value);
  for (const key of arrays) {
    const list = (value as Record<string, unknown>)[key];
    if (!Array.isArray(list) && !ArrayBuffer.isView(list)) {
      throw new ArgumentTypeError(`${argument}.${key}`, 'an array or typed array', list);
    }
  }
}
