/** Sparse structures as a user brings them, and how a matrix is to be stored. */

/** How a matrix stores its nonzeros; diagrams in the file of each. */
export type SparseFormat = 'csr' | 'bsr' | 'group' | 'nm' | 'bitmask';

/** How values, as float32, are stored: `int8` has one float32 scale an output channel (row). */
export type ValueType = 'float32' | 'float16' | 'int8';

interface Sized {
  /** Output channels; below 2^26. */
  readonly rows: number;
  /** Inputs; below 2^26. */
  readonly cols: number;
}

/** A dense matrix, row-major. */
export interface DenseMatrix extends Sized {
  /** [rows][cols] */
  readonly data: Float32Array;
}

/** Compressed sparse rows, as in SciPy: row r holds entries rowPointers[r] to rowPointers[r + 1]. */
export interface CsrMatrix extends Sized {
  /** [rows + 1], from 0 to the number of entries. */
  readonly rowPointers: ArrayLike<number>;
  /** [entries], ascending and unique within a row. */
  readonly columnIndices: ArrayLike<number>;
  /** [entries] */
  readonly values: ArrayLike<number>;
}

/** Compressed sparse rows with values as a SparseMatrix stores them; also the options that `SparseMatrix.fromCSR` reads them by. */
export interface StoredCsr extends CsrMatrix {
  readonly rowPointers: Uint32Array;
  readonly columnIndices: Uint32Array;
  /** float16: bits. */
  readonly values: Float32Array | Uint16Array | Int8Array;
  readonly dtype: ValueType;
  /** Of int8, [rows]. */
  readonly scales?: Float32Array;
}

/** Block compressed sparse rows, as in SciPy, but the last row and column of blocks may reach over the edge. */
export interface BsrMatrix extends Sized {
  /** Rows and columns of a block, 1 to 64 each. [4, 1]: groups of four output channels that share their inputs. */
  readonly block: readonly [r: number, c: number];
  /** [ceil(rows / r) + 1], from 0 to the number of blocks. */
  readonly rowPointers: ArrayLike<number>;
  /** [blocks], in units of blocks, ascending and unique within a row of blocks. */
  readonly columnIndices: ArrayLike<number>;
  /** [blocks][r][c]; what lies over the edge is ignored. */
  readonly values: ArrayLike<number>;
}

/** Groups of output channels that keep the same number of inputs each. */
export interface GroupMatrix extends Sized {
  /** Output channels that share a list of inputs, 1 to 64; the last group may have fewer. */
  readonly group: number;
  /** [ceil(rows / group)][k], ascending and unique within a group. */
  readonly columnIndices: ArrayLike<number>;
  /** [ceil(rows / group)][k][group]; those of rows past the last are ignored. */
  readonly values: ArrayLike<number>;
}

/** N:M: of every `m` consecutive inputs of an output channel, `n` are kept. */
export interface NmMatrix extends Sized {
  readonly n: number;
  /** n < m <= 32 */
  readonly m: number;
  /** [rows][ceil(cols / m)][n], within the group, ascending and unique; ceil(log2 m) bits each, lowest bits first. */
  readonly indices: Uint8Array;
  /** [rows][ceil(cols / m)][n]; those of columns past the last are ignored. */
  readonly values: ArrayLike<number>;
}

/** One bit a position, and the values of the ones. */
export interface BitmaskMatrix extends Sized {
  /** [rows][ceil(cols / 8)], lowest bit first; bits past the last column are 0. */
  readonly mask: Uint8Array;
  /** [ones], row by row. */
  readonly values: ArrayLike<number>;
}

/** Coordinates, in any order. */
export interface CooMatrix extends Sized {
  /** [entries] */
  readonly rowIndices: ArrayLike<number>;
  /** [entries] */
  readonly columnIndices: ArrayLike<number>;
  /** [entries] */
  readonly values: ArrayLike<number>;
}

/** How the values of a structure are stored, and how they come. */
export interface ValueOptions {
  /** Default float32. With float16, a Uint16Array of values holds raw bits. */
  dtype?: ValueType;
  /** [rows], for int8 values that are quantized already (an Int8Array): value * scale. Left out, int8 scales are made. */
  scales?: ArrayLike<number>;
}

/** The format that `fromDense` is to store. */
export interface SparseOptions {
  /** Default csr. */
  format?: SparseFormat;
  /** Of bsr. Default [4, 1]. */
  block?: readonly [r: number, c: number];
  /** Output channels of a group; default 4. */
  group?: number;
  /** Inputs of each group; groups that need fewer store zeros. Left out, all groups must need the same number. */
  k?: number;
  /** Of N:M; default 2:4. */
  n?: number;
  m?: number;
  dtype?: ValueType;
}
