/**
 * Changes of a weight matrix W that are small beside it: W + delta is a fine-tuned layer. Merged into weights (merged.ts) or run
 * beside the product with W (adapted.ts). What is zero is dropped when an adapter is made, so it costs nothing later:
 *
 *     lora     scale B A   [rows][rank] [rank][cols]: LoRA (arXiv 2106.09685); zero pairs go, all of them in the layers that
 *                          GS-LoRA leaves empty (arXiv 2403.11530)
 *     rows     whole rows, cols   whole columns: the slabs that S2FT trains (arXiv 2412.06289)
 *     sparse   single weights
 */
import { ArgumentRangeError, ArgumentTypeError } from '../errors.ts';
import { checkArray } from './arguments.ts';
import { allocate, MAX_SIZE } from './check.ts';
import { partsOf, type SparseMatrix } from './matrix.ts';

/** Sizes of the matrix that is adapted. */
export interface AdapterShape {
  /** Output channels. */
  readonly rows: number;
  /** Inputs. */
  readonly cols: number;
}

export interface LoraShape extends AdapterShape {
  /** Pairs of a column of B and a row of A. */
  readonly rank: number;
  /** Factor of B A, alpha / rank in most files; default 1. It is multiplied into B, rounded to f32. */
  readonly scale?: number;
}

/** The places that an adapter changes and by how much: every `cols` of every `rows`, both ascending. */
export interface Grid {
  readonly rows: Uint32Array;
  readonly cols: Uint32Array;
}
export interface LowRank extends Grid {
  readonly kind: 'lora';
  readonly rank: number;
  /** [rows.length][rank] */
  readonly b: Float32Array;
  /** [rank][cols.length] */
  readonly a: Float32Array;
}
export interface Slab extends Grid {
  readonly kind: 'slab';
  /** [rows.length][cols.length] */
  readonly data: Float32Array;
}
/** Single places: entries pointers[i] to pointers[i + 1] are in rows[i], at cols ascending. */
export interface Entries {
  readonly kind: 'sparse';
  readonly rows: Uint32Array;
  readonly pointers: Uint32Array;
  readonly cols: Uint32Array;
  readonly data: Float32Array;
}
export type Delta = LowRank | Slab | Entries;

/** What an adapter is made of. @throws ArgumentTypeError when it is none */
export let deltaOf: (adapter: Adapter, argument?: string) => Delta;

/**
 * A change of a weight matrix [rows][cols], checked when made and never changed. Arrays are copied. Every factory throws
 * ArgumentTypeError, ArgumentRangeError for wrong sizes and for numbers that are not finite.
 *
 *     const lora = Adapter.lora(a, b, { rank: 8, rows: 768, cols: 768, scale: 2 });
 *     using op = await engine.prepare(w, { columns: 3, layout: 'tokens', adapters: [lora] });
 *     const y = op.run(x, [0, -1, 0]); // the second token without
 */
export class Adapter {
  static readonly name: string = 'Adapter';
  readonly rows: number;
  readonly cols: number;
  readonly kind: 'lora' | 'rows' | 'cols' | 'sparse';
  readonly #delta: Delta;

  static {
    deltaOf = (adapter, argument = 'adapter') => {
      if (typeof adapter !== 'object' || adapter === null || !(#delta in adapter)) {
        throw new ArgumentTypeError(argument, 'an Adapter', adapter);
      }
      return adapter.#delta;
    };
  }

  private constructor(kind: Adapter['kind'], { rows, cols }: AdapterShape, delta: Delta) {
    this.kind = kind;
    this.rows = rows;
    this.cols = cols;
    this.#delta = delta;
  }

  /**
   * scale B A. Pairs whose column of B or row of A is all zeros are dropped.
   * @param a [rank][cols], PEFT's lora_A
   * @param b [rows][rank], PEFT's lora_B
   */
  static lora(a: Float32Array, b: Float32Array, shape: LoraShape): Adapter {
    const { rows, cols } = checkShape(shape);
    const { rank, scale = 1 } = shape;
    checkCount('rank', rank);
    if ('alpha' in shape)
      throw new ArgumentRangeError('alpha', 'to be given as scale, which is alpha / rank', shape.alpha);
    if (typeof scale !== 'number' || !Number.isFinite(scale)) {
      throw new ArgumentRangeError('scale', 'a finite number', scale);
    }
    checkFinite('a', a, rank * cols);
    checkFinite('b', b, rows * rank);
    const scaled = b.map((v) => v * scale);
    const over = scaled.findIndex((v) => !Number.isFinite(v));
    if (over >= 0) throw new ArgumentRangeError('scale', `a factor that keeps b[${over}] = ${b[over]} finite`, scale);
    const pairs = keep(rank, (k) => some(rows, (r) => scaled[r * rank + k]) && some(cols, (c) => a[k * cols + c]));
    const touched = keep(rows, (r) => some(pairs.length, (i) => scaled[r * rank + pairs[i]]));
    const inputs = keep(cols, (c) => some(pairs.length, (i) => a[pairs[i] * cols + c]));
    const delta: LowRank = {
      kind: 'lora',
      rank: pairs.length,
      rows: touched,
      cols: inputs,
      b: pick(scaled, rank, touched, pairs),
      a: pick(a, cols, pairs, inputs),
    };
    return new Adapter('lora', { rows, cols }, delta);
  }

  /** Adds a sparse matrix, of any format and dtype. Stored zeros are dropped. */
  static sparse(matrix: SparseMatrix): Adapter {
    partsOf(matrix);
    const { rows, cols, rowPointers, columnIndices, values } = matrix.toCSR();
    checkFinite('matrix', values);
    let n = 0;
    const own: number[] = [];
    const pointers = [0];
    for (let r = 0; r < rows; r++) {
      for (let i = rowPointers[r]; i < rowPointers[r + 1]; i++) {
        if (values[i] === 0) continue;
        columnIndices[n] = columnIndices[i];
        values[n++] = values[i];
      }
      if (n === pointers[own.length]) continue;
      own.push(r);
      pointers.push(n);
    }
    const delta: Entries = {
      kind: 'sparse',
      rows: Uint32Array.from(own),
      pointers: Uint32Array.from(pointers),
      cols: columnIndices.slice(0, n),
      data: values.slice(0, n),
    };
    return new Adapter('sparse', { rows, cols }, delta);
  }

  /**
   * Adds to whole rows. Rows of zeros are dropped.
   * @param list rows in any order, each once
   * @param data [list.length][cols], in the order of the list
   */
  static rows(list: ArrayLike<number>, data: Float32Array, shape: AdapterShape): Adapter {
    const { rows, cols } = checkShape(shape);
    const order = sorted(list, rows);
    checkFinite('data', data, order.length * cols);
    const kept = order.filter((i) => some(cols, (c) => data[i * cols + c]));
    const inputs = keep(kept.length && cols, () => true);
    const delta: Slab = {
      kind: 'slab',
      rows: kept.map((i) => list[i]),
      cols: inputs,
      data: pick(data, cols, kept, inputs),
    };
    return new Adapter('rows', { rows, cols }, delta);
  }

  /**
   * Adds to whole columns. Columns of zeros are dropped.
   * @param list columns in any order, each once
   * @param data [rows][list.length], in the order of the list
   */
  static cols(list: ArrayLike<number>, data: Float32Array, shape: AdapterShape): Adapter {
    const { rows, cols } = checkShape(shape);
    const order = sorted(list, cols);
    const n = order.length;
    checkFinite('data', data, rows * n);
    const kept = order.filter((i) => some(rows, (r) => data[r * n + i]));
    const outputs = keep(kept.length && rows, () => true);
    const delta: Slab = {
      kind: 'slab',
      rows: outputs,
      cols: kept.map((i) => list[i]),
      data: pick(data, n, outputs, kept),
    };
    return new Adapter('cols', { rows, cols }, delta);
  }

  /** Pairs of a low-rank adapter that are not zero; 0 for others. */
  get rank(): number {
    return this.#delta.kind === 'lora' ? this.#delta.rank : 0;
  }

  /** Weights that merging it changes. */
  get touched(): number {
    return touchedBy(this.#delta);
  }

  /** Bytes of its numbers and indices. */
  get bytes(): number {
    const d = this.#delta;
    const numbers = d.kind === 'lora' ? d.a.byteLength + d.b.byteLength : d.data.byteLength;
    return numbers + d.rows.byteLength + d.cols.byteLength + (d.kind === 'sparse' ? d.pointers.byteLength : 0);
  }

  /** The change as a new array [rows][cols], summed in f64. @throws SparseFormatError when that does not fit in memory */
  toDense(): Float32Array {
    const { rows, cols } = this;
    const out = allocate(Float32Array, rows * cols, `${rows} * ${cols}`);
    eachRow(this.#delta, (row, places, values) => {
      places.forEach((c, i) => {
        out[row * cols + c] = values[i];
      });
    });
    return out;
  }
}

export const touchedBy = (d: Delta): number => (d.kind === 'sparse' ? d.cols.length : d.rows.length * d.cols.length);

/** The smallest block with all places that change. */
export function extent({ rows, cols }: Delta): { row: number; rowEnd: number; col: number; colEnd: number } {
  if (!rows.length) return { row: 0, rowEnd: 0, col: 0, colEnd: 0 };
  let [col, last] = [cols[0], 0];
  for (const c of cols) {
    if (c < col) col = c;
    if (c > last) last = c;
  }
  return { row: rows[0], rowEnd: rows[rows.length - 1] + 1, col, colEnd: last + 1 };
}

/** Numbers that summing a row takes. */
export const scratchOf = (d: Delta): number => (d.kind === 'lora' ? d.cols.length : 0);

/**
 * Calls `f` for every row that changes, with its places (ascending) and their changes; low-rank ones are summed in f64. The
 * arrays are valid during the call.
 * @param sum scratch for one row
 */
export function eachRow(
  d: Delta,
  f: (row: number, places: Uint32Array, values: ArrayLike<number>) => void,
  sum: Float64Array = new Float64Array(scratchOf(d)),
): void {
  if (d.kind === 'sparse') {
    d.rows.forEach((row, i) => {
      const [from, to] = [d.pointers[i], d.pointers[i + 1]];
      f(row, d.cols.subarray(from, to), d.data.subarray(from, to));
    });
    return;
  }
  const n = d.cols.length;
  d.rows.forEach((row, i) => {
    if (d.kind === 'slab') f(row, d.cols, d.data.subarray(i * n, (i + 1) * n));
    else {
      sumRow(d, i, sum);
      f(row, d.cols, sum);
    }
  });
}

/** Row i of B A, four pairs a time: one load and store of the sum for four multiplications is twice as fast. */
function sumRow({ rank, a, b, cols: { length: n } }: LowRank, i: number, sum: Float64Array): void {
  const pair = (k: number) => a.subarray(k * n, (k + 1) * n);
  sum.fill(0, 0, n);
  let k = 0;
  for (let at = i * rank; k + 4 <= rank; k += 4, at += 4) {
    const [b0, b1, b2, b3] = [b[at], b[at + 1], b[at + 2], b[at + 3]];
    const [a0, a1, a2, a3] = [pair(k), pair(k + 1), pair(k + 2), pair(k + 3)];
    for (let c = 0; c < n; c++) sum[c] = sum[c] + b0 * a0[c] + b1 * a1[c] + b2 * a2[c] + b3 * a3[c];
  }
  for (; k < rank; k++) {
    const [b0, a0] = [b[i * rank + k], pair(k)];
    for (let c = 0; c < n; c++) sum[c] += b0 * a0[c];
  }
}

function checkCount(name: string, n: unknown): void {
  if (!Number.isInteger(n) || (n as number) < 0 || (n as number) > MAX_SIZE) {
    throw new ArgumentRangeError(name, `an integer from 0 to ${MAX_SIZE}`, n);
  }
}

function checkShape(shape: AdapterShape): AdapterShape {
  if (typeof shape !== 'object' || shape === null) throw new ArgumentTypeError('shape', '{ rows, cols }', shape);
  const { rows, cols } = shape;
  checkCount('rows', rows);
  checkCount('cols', cols);
  return { rows, cols };
}

function checkFinite(name: string, array: unknown, length?: number): void {
  checkArray(name, array, length);
  for (let i = 0; i < array.length; i++) {
    if (!Number.isFinite(array[i])) throw new ArgumentRangeError(`${name}[${i}]`, 'a finite number', array[i]);
  }
}

/** Positions of a list of unique indices below `limit`, by ascending index. */
function sorted(list: ArrayLike<number>, limit: number): Uint32Array {
  if (!Array.isArray(list) && !ArrayBuffer.isView(list))
    throw new ArgumentTypeError('list', 'an array of integers', list);
  for (let i = 0; i < list.length; i++) {
    if (!Number.isInteger(list[i]) || list[i] < 0 || list[i] >= limit) {
      throw new ArgumentRangeError(`list[${i}]`, `an integer from 0 to ${limit - 1}`, list[i]);
    }
  }
  const order = Uint32Array.from({ length: list.length }, (_, i) => i).sort((a, b) => list[a] - list[b]);
  for (let i = 1; i < order.length; i++) {
    if (list[order[i]] === list[order[i - 1]]) {
      throw new ArgumentRangeError(`list[${Math.max(order[i], order[i - 1])}]`, 'each index once', list[order[i]]);
    }
  }
  return order;
}

function some(n: number, value: (i: number) => number): boolean {
  for (let i = 0; i < n; i++) if (value(i) !== 0) return true;
  return false;
}

/** The integers below n that pass. */
function keep(n: number, test: (i: number) => boolean): Uint32Array {
  const out: number[] = [];
  for (let i = 0; i < n; i++) if (test(i)) out.push(i);
  return Uint32Array.from(out);
}

/** Rows and columns of a matrix with `width` columns. */
function pick(m: Float32Array, width: number, rows: Uint32Array, cols: Uint32Array): Float32Array {
  const out = new Float32Array(rows.length * cols.length);
  let at = 0;
  for (const r of rows) for (const c of cols) out[at++] = m[r * width + c];
  return out;
}
