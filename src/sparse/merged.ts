/**
 * Adapters merged into weights, and taken out again to the bit. Adding in f32 cannot be undone by subtracting, so the bits of
 * what an adapter touches are kept, in the order of adding, a stack:
 *
 *     add      keeps the touched weights, then adds to them: w = f32(w + change), the change in f64
 *     remove   puts back what was kept by this adapter and by later ones that overlap it, then adds those again in their order
 *
 * So weights are always what the present adapters give when merged one after the other into the originals, whatever else came
 * and went.
 */
import { ArgumentRangeError, SparsimdError } from '../errors.ts';
import { type Adapter, type Delta, deltaOf, eachRow, extent, scratchOf, touchedBy } from './adapter.ts';
import { checkArray } from './arguments.ts';
import { partsOf, SparseMatrix } from './matrix.ts';

interface Layer {
  readonly adapter: Adapter;
  readonly delta: Delta;
  /** Bits of the touched weights before, row by row. */
  readonly kept: Uint32Array;
}

/**
 * Dense weights [rows][cols] that adapters are merged into, in place. Made by mergedWeights(). Whoever changes weights in between
 * should know that removing puts back what was there when an adapter was added.
 */
export class MergedWeights {
  static readonly name: string = 'MergedWeights';
  readonly rows: number;
  readonly cols: number;
  private readonly weights: Float32Array;
  private layers: Layer[] = [];
  /** For the widest row of any adapter so far: removing allocates nothing that could fail half-way. */
  private sum = new Float64Array(0);

  /** @internal */
  constructor(weights: Float32Array, rows: number, cols: number) {
    for (const [name, n] of Object.entries({ rows, cols })) {
      if (!Number.isInteger(n) || n < 0) throw new ArgumentRangeError(name, 'an integer >= 0', n);
    }
    checkArray('weights', weights, rows * cols);
    this.weights = weights;
    this.rows = rows;
    this.cols = cols;
  }

  /** What is merged, in the order of adding. */
  get adapters(): Adapter[] {
    return this.layers.map((l) => l.adapter);
  }

  /** Bytes of weights that are kept for removing. */
  get bytes(): number {
    return this.layers.reduce((n, l) => n + l.kept.byteLength, 0);
  }

  /**
   * Merges an adapter.
   * @throws ArgumentTypeError, ArgumentRangeError for one that is of another size or is merged already; nothing changes then
   */
  add(adapter: Adapter): void {
    const delta = fitting(this, adapter);
    this.check();
    const layer = { adapter, delta, kept: new Uint32Array(touchedBy(delta)) };
    const scratch = scratchOf(delta);
    if (scratch > this.sum.length) this.sum = new Float64Array(scratch);
    this.merge(layer);
    this.layers.push(layer);
  }

  /**
   * Takes an adapter out.
   * @throws ArgumentRangeError for one that is not merged
   */
  remove(adapter: Adapter): void {
    const at = position(this, adapter);
    this.check();
    const affected = [this.layers[at]];
    for (const layer of this.layers.slice(at + 1)) {
      if (affected.some((l) => overlap(l.delta, layer.delta))) affected.push(layer);
    }
    for (const layer of [...affected].reverse()) this.restore(layer);
    this.layers.splice(at, 1);
    for (const layer of affected.slice(1)) this.merge(layer);
  }

  /** Takes all out. */
  clear(): void {
    this.check();
    for (let layer = this.layers.pop(); layer; layer = this.layers.pop()) this.restore(layer);
  }

  private merge({ delta, kept }: Layer): void {
    const { weights, cols } = this;
    const bits = bitsOf(weights);
    let at = 0;
    const change = (row: number, places: Uint32Array, values: ArrayLike<number>) => {
      const base = row * cols;
      const n = places.length;
      const first = places[0];
      if (places[n - 1] - first === n - 1) kept.set(bits.subarray(base + first, base + first + n), at);
      else for (let i = 0; i < n; i++) kept[at + i] = bits[base + places[i]];
      for (let i = 0; i < n; i++) weights[base + places[i]] += values[i];
      at += n;
    };
    eachRow(delta, change, this.sum);
  }

  private restore({ delta, kept }: Layer): void {
    const { weights, cols } = this;
    const bits = bitsOf(weights);
    let at = 0;
    eachPlace(delta, (row, places) => {
      const base = row * cols;
      const n = places.length;
      const first = places[0];
      if (places[n - 1] - first === n - 1) bits.set(kept.subarray(at, at + n), base + first);
      else for (let i = 0; i < n; i++) bits[base + places[i]] = kept[at + i];
      at += n;
    });
  }

  private check(): void {
    if (this.weights.length !== this.rows * this.cols) {
      throw new SparsimdError(
        'DETACHED',
        "the weights' memory was moved or handed over: nothing can be put back there",
      );
    }
  }
}

/**
 * Sparse weights and the adapters added to them. Each state is a matrix of its own: f32, CSR, of every place that the base or an
 * adapter stores. Made by mergedMatrix(). Low-rank adapters would fill it, so they are refused: engine.prepare() runs them beside it.
 */
export class MergedMatrix {
  static readonly name: string = 'MergedMatrix';
  readonly base: SparseMatrix;
  private current: SparseMatrix;
  private list: Adapter[] = [];

  /** @internal */
  constructor(base: SparseMatrix) {
    partsOf(base, 'base');
    this.base = base;
    this.current = base;
  }

  get rows(): number {
    return this.base.rows;
  }

  get cols(): number {
    return this.base.cols;
  }

  /** The base with all that was added; without adapters the base itself. */
  get matrix(): SparseMatrix {
    return this.current;
  }

  /** What is added, in order. */
  get adapters(): Adapter[] {
    return [...this.list];
  }

  /**
   * @returns the new matrix
   * @throws ArgumentTypeError, ArgumentRangeError for an adapter that is low-rank, of another size or added already
   */
  add(adapter: Adapter): SparseMatrix {
    const delta = fitting(this, adapter);
    if (delta.kind === 'lora') throw new ArgumentRangeError('adapter', 'rows, cols or a sparse one', adapter.kind);
    this.current = plus(this.current, delta);
    this.list.push(adapter);
    return this.current;
  }

  /**
   * @returns what the other adapters give; without any, the base itself
   * @throws ArgumentRangeError for one that was not added
   */
  remove(adapter: Adapter): SparseMatrix {
    const at = position(this, adapter);
    const list = this.list.filter((_, i) => i !== at);
    this.current = list.reduce((m, a) => plus(m, deltaOf(a)), this.base);
    this.list = list;
    return this.current;
  }
}

interface Target {
  readonly rows: number;
  readonly cols: number;
  readonly adapters: readonly Adapter[];
}

/** @throws ArgumentTypeError, ArgumentRangeError unless the adapter fits and is not there yet */
function fitting({ rows, cols, adapters }: Target, adapter: Adapter): Delta {
  const delta = deltaOf(adapter);
  if (adapter.rows !== rows || adapter.cols !== cols) {
    throw new ArgumentRangeError('adapter', `${rows} x ${cols}`, `${adapter.rows} x ${adapter.cols}`);
  }
  if (adapters.includes(adapter)) throw new ArgumentRangeError('adapter', 'one that is not merged yet', adapter);
  return delta;
}

function position({ adapters }: Target, adapter: Adapter): number {
  deltaOf(adapter);
  const at = adapters.indexOf(adapter);
  if (at < 0) throw new ArgumentRangeError('adapter', 'one that is merged', adapter);
  return at;
}

const bitsOf = ({ buffer, byteOffset, length }: Float32Array): Uint32Array =>
  new Uint32Array(buffer, byteOffset, length);

/** Whether both may touch one place: whether the smallest blocks around them do. */
function overlap(a: Delta, b: Delta): boolean {
  const [x, y] = [extent(a), extent(b)];
  return x.row < y.rowEnd && y.row < x.rowEnd && x.col < y.colEnd && y.col < x.colEnd;
}

/** The places of eachRow(), without the changes. */
function eachPlace(d: Delta, f: (row: number, places: Uint32Array) => void): void {
  d.rows.forEach((row, i) => {
    f(row, d.kind === 'sparse' ? d.cols.subarray(d.pointers[i], d.pointers[i + 1]) : d.cols);
  });
}

/** The sum, at every place that either stores. */
function plus(m: SparseMatrix, delta: Delta): SparseMatrix {
  const { rows, cols } = m;
  const { rowPointers, columnIndices, values } = m.toCSR();
  const most = columnIndices.length + touchedBy(delta);
  const pointers = new Uint32Array(rows + 1);
  const indices = new Uint32Array(most);
  const sums = new Float32Array(most);
  let n = 0;
  let row = 0;
  /** Copies what m has in the row left of a column. */
  let at = 0;
  const copyTo = (column: number) => {
    for (; at < rowPointers[row + 1] && columnIndices[at] < column; at++) {
      indices[n] = columnIndices[at];
      sums[n++] = values[at];
    }
  };
  const rowsTo = (end: number) => {
    for (; row < end; pointers[++row] = n) copyTo(cols);
  };
  eachRow(delta, (r, places, changes) => {
    rowsTo(r);
    for (let i = 0; i < places.length; i++) {
      copyTo(places[i]);
      const stored = at < rowPointers[r + 1] && columnIndices[at] === places[i] ? values[at++] : 0;
      indices[n] = places[i];
      sums[n++] = stored + changes[i];
    }
  });
  rowsTo(rows);
  return SparseMatrix.fromCSR({
    rows,
    cols,
    rowPointers: pointers,
    columnIndices: indices.subarray(0, n),
    values: sums.subarray(0, n),
  });
}
