/**
 * Weights that are sums and products of matrices, run as one operator: low rank U(V x), dense times sparse (DSFormer), sparse
 * plus low rank (Sparse-IFT's doped layers), 2:4 plus block sums (AST's SLoRB). What lies between never leaves the engine's memory.
 */
import { ArgumentRangeError, ArgumentTypeError } from '../errors.ts';
import { checkArray } from './arguments.ts';
import { allocate, MAX_SIZE } from './check.ts';
import { partsOf, SparseMatrix } from './matrix.ts';
import type { DenseMatrix } from './types.ts';

/** What operators multiply with. */
export type Operand = SparseMatrix | DenseMatrix | Composite;

type Kind = 'product' | 'sum' | 'diagonal';

/** A matrix [rows][cols] made of others; immutable, and as large as its parts. Dense parts are copied. */
export class Composite {
  static readonly name: string = 'Composite';
  readonly rows: number;
  readonly cols: number;
  /** product: applied from the last to the first; sum: all to the same x; diagonal: each to its own share of x. */
  readonly kind: Kind;
  readonly parts: readonly Operand[];

  private constructor(kind: Kind, parts: readonly Operand[], rows: number, cols: number) {
    this.kind = kind;
    this.parts = Object.freeze(parts);
    this.rows = rows;
    this.cols = cols;
  }

  /**
   * parts[0] parts[1] …: y = parts[0] (parts[1] (… x)).
   * @throws ArgumentRangeError where one does not fit the next
   */
  static product(...given: Operand[]): Composite {
    const parts = copyParts(given);
    for (let i = 1; i < parts.length; i++) {
      if (parts[i].rows !== parts[i - 1].cols) {
        throw new ArgumentRangeError(`parts[${i}]`, `${parts[i - 1].cols} rows`, parts[i].rows);
      }
    }
    return new Composite('product', parts, parts[0].rows, parts[parts.length - 1].cols);
  }

  /**
   * parts[0] + parts[1] + …
   * @throws ArgumentRangeError unless all are of one size
   */
  static sum(...given: Operand[]): Composite {
    const parts = copyParts(given);
    const { rows, cols } = parts[0];
    parts.forEach((p, i) => {
      if (p.rows !== rows || p.cols !== cols) {
        throw new ArgumentRangeError(`parts[${i}]`, `${rows} x ${cols}`, `${p.rows} x ${p.cols}`);
      }
    });
    return new Composite('sum', parts, rows, cols);
  }

  /** Block-diagonal: part i maps its share of the inputs, in order, to its share of the outputs. */
  static diagonal(...given: Operand[]): Composite {
    const parts = copyParts(given);
    const sum = (of: 'rows' | 'cols') => {
      const n = parts.reduce((n, p) => n + p[of], 0);
      if (n > MAX_SIZE) throw new ArgumentRangeError('parts', `at most ${MAX_SIZE} ${of} together`, n);
      return n;
    };
    return new Composite('diagonal', parts, sum('rows'), sum('cols'));
  }

  /** U V: y = U (V x), with U [rows][rank] and V [rank][cols]. */
  static lowRank(u: Operand, v: Operand): Composite {
    return Composite.product(u, v);
  }

  /**
   * DSFormer's dense times sparse (arXiv 2312.13211): the inputs in blocks, each with a small dense basis; the outputs are sparse
   * combinations of all bases' results.
   * @param s [rows][sum of the bases' rows], a few nonzeros a row
   * @param bases [r][inputs of the block] each
   */
  static denseSparse(s: Operand, bases: readonly Operand[]): Composite {
    if (!Array.isArray(bases)) throw new ArgumentTypeError('bases', 'an array of matrices', bases);
    return Composite.product(s, Composite.diagonal(...bases));
  }

  /**
   * AST's SLoRB (arXiv 2407.20584): W + B P, where P adds up `group` consecutive inputs.
   * @param b [rows][ceil(cols / group)]
   */
  static slorb(w: Operand, b: Operand, group = 64): Composite {
    const { cols } = readOperand(w, 'w');
    if (!Number.isInteger(group) || group < 1) throw new ArgumentRangeError('group', 'an integer >= 1', group);
    const sums = Math.ceil(cols / group);
    const p = SparseMatrix.fromCSR({
      rows: sums,
      cols,
      rowPointers: Uint32Array.from({ length: sums + 1 }, (_, i) => Math.min(i * group, cols)),
      columnIndices: Uint32Array.from({ length: cols }, (_, i) => i),
      values: new Float32Array(cols).fill(1),
    });
    return Composite.sum(w, Composite.product(b, p));
  }

  /** The matrix it stands for, [rows][cols], row-major, summed in f64. */
  toDense(): Float32Array {
    return Float32Array.from(expand(this));
  }
}

/**
 * The operand; of a dense matrix, its sizes and data as they are now.
 * @throws ArgumentTypeError, ArgumentRangeError unless it is a matrix
 */
export function readOperand(w: Operand, name: string): Operand {
  // A Proxy of a matrix is an instance, too, but has no parts.
  if (w instanceof SparseMatrix) partsOf(w, name);
  if (w instanceof SparseMatrix || w instanceof Composite) return w;
  if (typeof w !== 'object' || w === null)
    throw new ArgumentTypeError(name, 'a SparseMatrix, a Composite or { data, rows, cols }', w);
  const { data, rows, cols } = w;
  if (data === undefined)
    throw new ArgumentTypeError(
      name,
      "a SparseMatrix or Composite of the engine's own entry point, or { data, rows, cols }",
      w,
    );
  for (const [key, n] of Object.entries({ rows, cols })) {
    if (!Number.isInteger(n) || n < 0 || n > MAX_SIZE)
      throw new ArgumentRangeError(`${name}.${key}`, `an integer from 0 to ${MAX_SIZE}`, n);
  }
  checkArray(`${name}.data`, data, rows * cols);
  return { data, rows, cols };
}

/** Parts that nobody can change any more: a part that grew would write past the memory planned for it. */
function copyParts(parts: readonly Operand[]): Operand[] {
  if (!parts.length) throw new ArgumentRangeError('parts', 'at least one', parts);
  return parts.map((part, i) => {
    const own = readOperand(part, `parts[${i}]`);
    return 'data' in own ? Object.freeze({ ...own, data: own.data.slice() }) : own;
  });
}

function expand(w: Operand): ArrayLike<number> {
  if (w instanceof SparseMatrix) return w.toDense();
  if (!(w instanceof Composite)) return w.data;
  const { rows, cols, parts } = w;
  if (w.kind === 'product') {
    return parts.slice(1).reduce((left: ArrayLike<number>, part, i) => {
      const inner = parts[i].cols;
      const right = expand(part);
      return allocate(Float64Array, rows * part.cols, 'm').map((_, at) => {
        const [r, c] = [Math.floor(at / part.cols), at % part.cols];
        let sum = 0;
        for (let k = 0; k < inner; k++) sum += left[r * inner + k] * right[k * part.cols + c];
        return sum;
      });
    }, expand(parts[0]));
  }
  const out = allocate(Float64Array, rows * cols, 'm');
  let [row, col] = [0, 0];
  for (const part of parts) {
    const dense = expand(part);
    for (let i = 0; i < dense.length; i++) {
      out[(row + Math.floor(i / part.cols)) * cols + col + (i % part.cols)] += dense[i];
    }
    if (w.kind === 'diagonal') [row, col] = [row + part.rows, col + part.cols];
  }
  return out;
}
