/** The sparse matrix of the kernel-level API. */
import { ArgumentRangeError, ArgumentTypeError, checkOptions } from '../errors.ts';
import { Bitmask } from './bitmask.ts';
import { Bsr } from './bsr.ts';
import { allocate, checkSize, floats } from './check.ts';
import { sortCoo } from './coo.ts';
import { Csr } from './csr.ts';
import { Groups } from './group.ts';
import { Nm } from './nm.ts';
import type { Pattern } from './pattern.ts';
import type {
  BitmaskMatrix,
  BsrMatrix,
  CooMatrix,
  CsrMatrix,
  GroupMatrix,
  NmMatrix,
  SparseFormat,
  SparseOptions,
  StoredCsr,
  ValueOptions,
  ValueType,
} from './types.ts';
import { checkType, copyValues, countNonzeros, decode, gather, type Values } from './values.ts';

/** A pattern and its values; never handed to users, so that a matrix stays what was checked. */
export interface Parts {
  readonly pattern: Pattern;
  readonly values: Values;
}

/** The parts of a matrix. @throws ArgumentTypeError when it is none */
export let partsOf: (matrix: SparseMatrix, argument?: string) => Parts;

/** Makes a matrix of parts that are sound. */
export let fromParts: (pattern: Pattern, values: Values) => SparseMatrix;

/**
 * A sparse matrix [rows][cols], checked when made and never changed: rows are output channels, columns inputs; below 2^26 of
 * either, rows * cols at most 2^53 - 1. Arrays are copied in and out. Every factory throws SparseFormatError for a malformed
 * structure, naming the entry, and for a size beyond those limits.
 *
 *     const w = SparseMatrix.fromDense(weights, 512, 256, { format: 'bsr', block: [4, 1] });
 *     const y = await engine.spmm(w, x);
 */
export class SparseMatrix {
  static readonly name: string = 'SparseMatrix';
  readonly #pattern: Pattern;
  readonly #values: Values;
  #nonzeros = -1;

  static {
    partsOf = (matrix, argument = 'matrix') => {
      if (typeof matrix !== 'object' || matrix === null || !(#pattern in matrix)) {
        throw new ArgumentTypeError(argument, 'a SparseMatrix', matrix);
      }
      return { pattern: matrix.#pattern, values: matrix.#values };
    };
    fromParts = (pattern, values) => new SparseMatrix(pattern, values);
  }

  private constructor(pattern: Pattern, values: Values) {
    this.#pattern = pattern;
    this.#values = values;
  }

  /**
   * Stores the nonzeros of a dense matrix. -0 is a zero, NaN and infinities are not.
   * @param data [rows][cols]
   * @param rows, cols 0 to 2^26 - 1
   * @throws SparseFormatError also where the format cannot hold the nonzeros: it names the first place, nothing is dropped;
   *   ArgumentTypeError, ArgumentRangeError for wrong arguments
   */
  static fromDense(data: ArrayLike<number>, rows: number, cols: number, options: SparseOptions = {}): SparseMatrix {
    checkOptions(options);
    const { format = 'csr', block = [4, 1], group = 4, k, n = 2, m = 4, dtype = 'float32' } = options;
    checkSize(rows, cols);
    checkType(dtype);
    if (!Array.isArray(data) && !ArrayBuffer.isView(data))
      throw new ArgumentTypeError('data', 'an array of numbers', data);
    if (data.length !== rows * cols) {
      throw new ArgumentRangeError('data', `${rows} * ${cols} = ${rows * cols} values`, data);
    }
    const w = data instanceof Float32Array ? data : floats(data, 'data', rows * cols);
    const make: Record<SparseFormat, () => Pattern> = {
      csr: () => Csr.fromDense(w, rows, cols),
      bsr: () => Bsr.fromDense(w, rows, cols, block),
      group: () => Groups.fromDense(w, rows, cols, group, k),
      nm: () => Nm.fromDense(w, rows, cols, n, m),
      bitmask: () => Bitmask.fromDense(w, rows, cols),
    };
    if (typeof format !== 'string' || !Object.hasOwn(make, format))
      throw new ArgumentRangeError('format', `one of ${Object.keys(make).join(', ')}`, format);
    checkMeant(options, format);
    const pattern = make[format]();
    return new SparseMatrix(pattern, gather(pattern, w, dtype));
  }

  /** Takes compressed sparse rows. Entries that are zero stay stored. */
  static fromCSR(m: CsrMatrix, options?: ValueOptions): SparseMatrix {
    return made(Csr.from(m), m, options);
  }

  /** Takes block compressed sparse rows. */
  static fromBSR(m: BsrMatrix, options?: ValueOptions): SparseMatrix {
    return made(Bsr.from(m), m, options);
  }

  /** Takes groups of output channels that keep the same number of inputs each. */
  static fromGroups(m: GroupMatrix, options?: ValueOptions): SparseMatrix {
    return made(Groups.from(m), m, options);
  }

  /** Takes an N:M structure with packed indices. */
  static fromNM(m: NmMatrix, options?: ValueOptions): SparseMatrix {
    return made(Nm.from(m), m, options);
  }

  /** Takes a bitmask and the values of its ones. */
  static fromBitmask(m: BitmaskMatrix, options?: ValueOptions): SparseMatrix {
    return made(Bitmask.from(m), m, options);
  }

  /**
   * Takes coordinates in any order; stored as CSR.
   * @param options `sum` adds entries of the same place, which are an error otherwise
   */
  static fromCOO(m: CooMatrix, options: { sum?: boolean; dtype?: ValueType } = {}): SparseMatrix {
    checkOptions(options);
    const csr = sortCoo(m, options.sum === true);
    return made(Csr.from(csr), csr, { dtype: options.dtype });
  }

  /** Output channels. */
  get rows(): number {
    return this.#pattern.rows;
  }

  /** Inputs. */
  get cols(): number {
    return this.#pattern.cols;
  }

  get format(): SparseFormat {
    return this.#pattern.format;
  }

  get dtype(): ValueType {
    return this.#values.type;
  }

  /** Stored values that are not zero. */
  get nonzeros(): number {
    if (this.#nonzeros < 0) this.#nonzeros = countNonzeros(this.#values, this.#pattern);
    return this.#nonzeros;
  }

  /** Stored values, with the zeros that fill blocks and groups. */
  get stored(): number {
    return this.#pattern.stored;
  }

  /** Nonzeros over all positions; 0 for a matrix without positions. */
  get density(): number {
    return this.nonzeros / (this.rows * this.cols || 1);
  }

  /** Bytes of values, scales, pointers and indices. */
  get bytes(): number {
    const { data, scales } = this.#values;
    return this.#pattern.bytes + data.byteLength + (scales?.byteLength ?? 0);
  }

  /** A new array [rows][cols]. @throws SparseFormatError when that does not fit in memory */
  toDense(): Float32Array {
    const { rows, cols } = this;
    const out = allocate(Float32Array, rows * cols, `${rows} * ${cols}`);
    const values = decode(this.#values, this.#pattern);
    this.#pattern.visit((slot, row, col) => {
      out[row * cols + col] = values[slot];
    });
    return out;
  }

  /** Compressed sparse rows in new arrays. Zeros that fill blocks and groups are left out, those of CSR entries are not. */
  toCSR(): CsrMatrix & { rowPointers: Uint32Array; columnIndices: Uint32Array; values: Float32Array } {
    return toCsr(this.#pattern, decode(this.#values, this.#pattern), (v) => v === 0);
  }

  /**
   * As {@link toCSR}, with the values as they are stored, to be saved: `SparseMatrix.fromCSR(saved, saved)` makes a matrix of the
   * very same numbers, in csr. Which format a matrix has makes no difference to the kernels.
   */
  toStoredCSR(): StoredCsr {
    const { type: dtype, data, scales } = this.#values;
    // -0, and half -0, which has a bit, are numbers that were stored.
    const csr = toCsr<StoredCsr['values']>(this.#pattern, data, (v) => Object.is(v, 0));
    return { ...csr, dtype, ...(scales && { scales: scales.slice() }) };
  }
}

/** Lists row by row, as a pattern has its slots; where that is not CSR itself, without zeros. */
function toCsr<T extends StoredCsr['values']>(pattern: Pattern, slots: T, isZero: (v: number) => boolean) {
  const { rows, cols } = pattern;
  if (pattern instanceof Csr) {
    const { pointers, indices } = pattern;
    const values = slots.slice() as T;
    return { rows, cols, rowPointers: pointers.slice(), columnIndices: new Uint32Array(indices), values };
  }
  const rowPointers = allocate(Uint32Array, rows + 1, 'rowPointers');
  pattern.visit((slot, row) => {
    if (!isZero(slots[slot])) rowPointers[row + 1]++;
  });
  for (let r = 0; r < rows; r++) rowPointers[r + 1] += rowPointers[r];
  const next = rowPointers.slice();
  const columnIndices = new Uint32Array(rowPointers[rows]);
  const values = new (slots.constructor as new (n: number) => T)(rowPointers[rows]);
  pattern.visit((slot, row, col) => {
    if (isZero(slots[slot])) return;
    columnIndices[next[row]] = col;
    values[next[row]++] = slots[slot];
  });
  return { rows, cols, rowPointers, columnIndices, values };
}

function made(pattern: Pattern, m: { values: unknown }, options?: ValueOptions): SparseMatrix {
  return fromParts(pattern, copyValues(pattern, m.values, options));
}

const OPTIONS_OF = { block: 'bsr', group: 'group', k: 'group', n: 'nm', m: 'nm' } as const;

/** @throws ArgumentRangeError for an option of another format, which somebody thinks has an effect */
function checkMeant(options: SparseOptions, format: SparseFormat): void {
  for (const [name, of] of Object.entries(OPTIONS_OF)) {
    const value = options[name as keyof typeof OPTIONS_OF];
    if (value !== undefined && format !== of)
      throw new ArgumentRangeError(name, `to be left out unless format is '${of}'`, value);
  }
}
