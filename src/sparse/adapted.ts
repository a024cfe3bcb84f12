/**
 * One product for a batch whose columns have different adapters: Y[:, p] = clamp((W + delta of p's adapter) X[:, p] + bias), as
 * S-LoRA (arXiv 2311.03285) and Punica (arXiv 2310.18547) serve. W is multiplied once for all columns, and no merged copy of it
 * is made: the columns of an adapter are brought side by side, so that a run of lanes has one adapter, and the same kernels add
 * U (V x) to Y there. A run begins at any lane of a panel (addresses need no alignment); one that begins inside a panel is two
 * calls, up to that panel's end and from there on.
 *
 *     columns given   0 1 . 0 1 .         adapters 0 and 1, none
 *     in memory       0 0 | 1 1 | . .     runs, in the order in which their adapters come first
 *
 * Columns are moved as rows of [columns][cols]; kernels turn X and Y of the layout `features` to that and back (768x768, 128
 * columns, 4 adapters of rank 8 in turn: 0.26 ms more than W alone, 0.67 ms with columns moved number by number on the host).
 */
import { ArgumentRangeError, ArgumentTypeError } from '../errors.ts';
import type { KernelCall } from '../kernel/call.ts';
import { packTokensCalls, transposeCalls, unpackTokensCalls } from '../kernel/layout.ts';
import { unaryCalls } from '../kernel/pointwise.ts';
import { spmmCalls } from '../kernel/spmm.ts';
import { type Adapter, type Delta, deltaOf, eachRow, extent } from './adapter.ts';
import { checkApart, checkArray } from './arguments.ts';
import { allocate } from './check.ts';
import type { Operand } from './composite.ts';
import { Operator, type OperatorHost } from './operator.ts';
import type { PrepareOptions } from './operators.ts';
import { LANES, OPEN, type PanelIo, type Placed, Products, readTask } from './products.ts';

export interface AdaptedOptions extends PrepareOptions {
  /** Adapters of w's size; run() names them by their places here. */
  adapters: readonly Adapter[];
}

/** A packed adapter: its matrices in the order in which they are applied, within the block of W that they change. */
interface Resident {
  readonly adapter: Adapter;
  readonly row: number;
  readonly col: number;
  readonly parts: readonly Placed[];
}

/** How the columns of a batch lie in memory. */
interface Arrangement {
  /** Of each column as given, its adapter. */
  readonly ids: Int32Array;
  /** Column as given of each column in memory; left out where they are the same. */
  readonly order?: Uint32Array;
  /** Adds the changes to Y; left out where no column has any. */
  readonly work?: () => void;
}

/** Y = clamp((W + delta) X + bias), with an adapter a column: packed once, run many times. Made by engine.prepare. */
export class AdaptedOperator extends Operator {
  static override readonly name: string = 'AdaptedOperator';
  readonly rows: number;
  readonly cols: number;
  readonly columns: number;
  readonly layout: 'features' | 'tokens';
  /** Name of the kernel that multiplies W, and its weight format. */
  readonly kernel: string;
  readonly format: string;
  /** Bytes of packed W. */
  readonly weightBytes: number;
  private readonly products: Products;
  /** Rows of one column each, whatever the layout: those are quick to bring into another order. */
  private readonly x: number;
  private readonly y: number;
  /** X and Y as `features` has them, and turned to rows of one column, with what turns X one way and Y the other. */
  private readonly turn: { plain: number; rows: number; enter(): void; leave(): void } | undefined;
  private readonly io: PanelIo;
  private readonly base: () => void;
  /** To and from the panels of `io`, around the changes, where W is multiplied without them. */
  private readonly toPanels: (() => void) | undefined;
  private readonly fromPanels: (() => void) | undefined;
  /** After W and the changes. */
  private readonly finish: () => void;
  private readonly residents: (Resident | undefined)[] = [];
  private between: { x: number; xPanelStride: number; channels: number } | undefined;
  private last: Arrangement | undefined;

  /** @internal Made by Engine.prepare. */
  constructor(host: OperatorHost, w: Operand, options: AdaptedOptions) {
    super(host);
    const task = readTask(w, options);
    const { rows, cols } = task.w;
    const { columns, layout, min, max } = task;
    if (!Array.isArray(options.adapters))
      throw new ArgumentTypeError('adapters', 'an array of Adapters', options.adapters);
    const adapters = [...options.adapters];
    this.rows = rows;
    this.cols = cols;
    this.columns = columns;
    this.layout = layout;
    for (const [i, a] of adapters.entries()) this.fitting(a, `adapters[${i}]`);
    this.products = new Products(host, this.memory, columns);
    try {
      this.x = this.memory.alloc(4 * cols * columns);
      this.y = this.memory.alloc(4 * rows * columns);
      const { x, y } = this;
      if (layout === 'features' && columns > 1) {
        const [plain, turned] = [0, 0].map(() => this.memory.alloc(4 * Math.max(rows, cols) * columns));
        const enter = host.bind(transposeCalls({ x: plain, y: turned, rows: cols, cols: columns }));
        const leave = host.bind(transposeCalls({ x: turned, y: plain, rows: columns, cols: rows }));
        this.turn = { plain, rows: turned, enter, leave };
      }
      const plan = this.products.plan({ ...task, layout: 'tokens', ...OPEN }, x, y);
      this.kernel = plan.kernel;
      this.format = plan.format;
      this.weightBytes = plan.weightBytes;
      this.base = host.bind(plan.product);
      if (plan.io) this.io = plan.io;
      else {
        const [from, to] = [this.products.panels(cols), this.products.panels(rows)];
        this.io = { ...from, y: to.x, yPanelStride: to.xPanelStride, yChannelStride: 4 * LANES };
        const in1 = { x, y: from.x, tokens: columns, features: cols, lanes: LANES, panelStride: from.xPanelStride };
        const in2 = { x: y, y: to.x, tokens: columns, features: rows, lanes: LANES, panelStride: to.xPanelStride };
        this.toPanels = host.bind([...packTokensCalls(in1), ...packTokensCalls(in2)]);
        this.fromPanels = host.bind(unpackTokensCalls({ ...in2, x: to.x, y }));
      }
      // The limits hold for the sum, so they come last.
      const limited = min > -Infinity || max < Infinity;
      const clamp = limited ? unaryCalls('clamp', { x: y, y, n: rows * columns, a: min, b: max }) : [];
      this.finish = host.bind([...plan.finish, ...clamp]);
      for (const [i, adapter] of adapters.entries()) this.residents.push(this.resident(adapter, adapters.length - i));
    } catch (error) {
      this.memory.release();
      throw error;
    }
  }

  /** The adapters by their numbers; undefined where one was removed. */
  get adapters(): (Adapter | undefined)[] {
    return this.residents.map((r) => r?.adapter);
  }

  /** Bytes of packed adapters. */
  get adapterBytes(): number {
    return this.residents.reduce((n, r) => n + (r ? r.parts.reduce((m, p) => m + p.packed.bytes, 0) : 0), 0);
  }

  /**
   * Packs another adapter; nothing of the others is touched. The engine's memory may grow, which ends views of it.
   * @returns its number, for run()
   * @throws ArgumentTypeError, ArgumentRangeError for one of another size; OutOfMemoryError, after which all is as before
   */
  add(adapter: Adapter): number {
    this.check();
    this.fitting(adapter, 'adapter');
    const at = this.residents.indexOf(undefined);
    const number = at < 0 ? this.residents.length : at;
    this.residents[number] = this.resident(adapter, this.residents.length + 1);
    return number;
  }

  /**
   * Frees an adapter's memory, and its number for the next one added.
   * @throws ArgumentRangeError where there is none of that number
   */
  remove(number: number): void {
    this.check();
    const resident = Number.isInteger(number) ? this.residents[number] : undefined;
    if (!resident) throw new ArgumentRangeError('number', 'the number of an adapter', number);
    for (const { at } of resident.parts) this.memory.release(at);
    this.residents[number] = undefined;
    this.last = undefined;
  }

  /**
   * @param x in the operator's layout
   * @param adapters [columns], the number of each column's adapter, -1 for none. The same ones as in the last run cost nothing
   * @param out takes the result; must not share memory with x. Left out, a new array
   * @throws ArgumentTypeError, ArgumentRangeError for wrong arrays; DisposedError
   */
  run(x: Float32Array, adapters: ArrayLike<number>, out?: Float32Array): Float32Array {
    this.check();
    const { rows, cols, columns, host } = this;
    checkArray('x', x, cols * columns);
    if (out !== undefined) {
      checkArray('out', out, rows * columns);
      checkApart(x, out);
    }
    const arrangement = this.arrange(adapters);
    const { order, work } = arrangement;
    this.enter(x, order);
    host.guard(() => {
      this.base();
      if (work) {
        this.toPanels?.();
        work();
        this.fromPanels?.();
      }
      this.finish();
    });
    this.last = arrangement;
    out ??= new Float32Array(rows * columns);
    this.leave(out, order);
    return out;
  }

  override dispose(): void {
    super.dispose();
    this.residents.length = 0;
  }

  private fitting(adapter: Adapter, name: string): void {
    deltaOf(adapter, name);
    if (adapter.rows !== this.rows || adapter.cols !== this.cols) {
      throw new ArgumentRangeError(name, `${this.rows} x ${this.cols}`, `${adapter.rows} x ${adapter.cols}`);
    }
  }

  /** Packs an adapter, for the share of the columns that so many adapters leave it. */
  private resident(adapter: Adapter, count: number): Resident {
    const delta = deltaOf(adapter);
    const { row, rowEnd, col, colEnd } = extent(delta);
    const share = Math.ceil(this.columns / count);
    const parts: Placed[] = [];
    try {
      for (const { data, rows, cols } of matricesOf(delta, row, rowEnd, col, colEnd)) {
        parts.push(this.products.pack(data, rows, cols, share));
      }
      if (delta.kind === 'lora' && delta.rank > (this.between?.channels ?? 0)) {
        const next = { ...this.products.panels(delta.rank), channels: delta.rank };
        if (this.between) this.memory.release(this.between.x);
        this.between = next;
        this.last = undefined;
      }
    } catch (error) {
      for (const { at } of parts) this.memory.release(at);
      throw error;
    }
    return { adapter, row, col, parts };
  }

  /** Copies X in, its columns in the order of memory. */
  private enter(x: Float32Array, order: Uint32Array | undefined): void {
    const { host, turn, cols } = this;
    const view = (at: number) => host.arena.view('float32', at, cols * this.columns);
    let from = x;
    if (turn) {
      view(turn.plain).set(x);
      host.guard(turn.enter);
      from = view(turn.rows);
    }
    const to = view(this.x);
    if (!order) to.set(from);
    else order.forEach((given, i) => void to.set(from.subarray(given * cols, (given + 1) * cols), i * cols));
  }

  /** Copies Y out, its columns in the order given. */
  private leave(y: Float32Array, order: Uint32Array | undefined): void {
    const { host, turn, rows } = this;
    const view = (at: number) => host.arena.view('float32', at, rows * this.columns);
    const to = turn ? view(turn.rows) : y;
    const from = view(this.y);
    if (!order) to.set(from);
    else order.forEach((given, i) => void to.set(from.subarray(i * rows, (i + 1) * rows), given * rows));
    if (!turn) return;
    host.guard(turn.leave);
    y.set(view(turn.plain));
  }

  /** @throws ArgumentTypeError, ArgumentRangeError unless each column names an adapter or none */
  private arrange(adapters: ArrayLike<number>): Arrangement {
    const { columns, residents } = this;
    if (!Array.isArray(adapters) && !ArrayBuffer.isView(adapters)) {
      throw new ArgumentTypeError('adapters', 'an array of integers', adapters);
    }
    if (adapters.length !== columns) throw new ArgumentRangeError('adapters', `${columns} numbers`, adapters);
    const ids = new Int32Array(columns);
    let same = this.last !== undefined;
    for (let i = 0; i < columns; i++) {
      const id = adapters[i];
      if (id !== -1 && (!Number.isInteger(id) || !residents[id])) {
        throw new ArgumentRangeError(`adapters[${i}]`, 'the number of an adapter, or -1 for none', id);
      }
      ids[i] = id;
      same &&= id === this.last?.ids[i];
    }
    if (same) return this.last!;
    const groups = new Map<number, number[]>();
    ids.forEach((id, i) => {
      const group = groups.get(id);
      if (group) group.push(i);
      else groups.set(id, [i]);
    });
    const order = Uint32Array.from([...groups.values()].flat());
    const calls: KernelCall[] = [];
    let from = 0;
    for (const [id, { length }] of groups) {
      if (id >= 0) calls.push(...this.changes(residents[id]!, from, from + length));
      from += length;
    }
    return {
      ids,
      ...(order.some((given, i) => given !== i) && { order }),
      ...(calls.length && { work: this.host.bind(calls) }),
    };
  }

  /** Adds an adapter's change to columns [from, to) of Y. */
  private changes({ row, col, parts }: Resident, from: number, to: number): KernelCall[] {
    const { io, between } = this;
    const calls: KernelCall[] = [];
    for (let next = from; next < to; from = next) {
      const lane = from % LANES;
      next = lane ? Math.min(to, from - lane + LANES) : to;
      const columns = next - from;
      const panel = (from - lane) / LANES;
      const place = (base: number, panelStride: number) => base + panel * panelStride + 4 * lane;
      const x = place(io.x, io.xPanelStride) + 4 * LANES * col;
      const y = place(io.y, io.yPanelStride) + row * io.yChannelStride;
      let input = { x, xPanelStride: io.xPanelStride };
      parts.forEach(({ packed, at }, i) => {
        if (i < parts.length - 1) {
          // Each run has its own lanes here too: threads may still read one's while they write another's.
          const { x: to, xPanelStride: yPanelStride } = between!;
          const own = { y: place(to, yPanelStride), yPanelStride, yChannelStride: 4 * LANES };
          calls.push(...spmmCalls(packed, at, { ...input, ...own, columns, ...OPEN }));
          input = { x: own.y, xPanelStride: yPanelStride };
        } else calls.push(...spmmCalls(packed, at, { ...io, ...input, y, columns, ...OPEN, add: true }));
      });
    }
    return calls;
  }
}

/** The matrices of a change in the order in which they are applied, cut to the block that changes; none for no change. */
function matricesOf(d: Delta, row: number, rowEnd: number, col: number, colEnd: number) {
  const [rows, cols] = [rowEnd - row, colEnd - col];
  if (!rows || !cols) return [];
  if (d.kind === 'lora') {
    const n = d.cols.length;
    const v = allocate(Float32Array, d.rank * cols, `${d.rank} * ${cols}`);
    for (let k = 0; k < d.rank; k++) for (let c = 0; c < n; c++) v[k * cols + d.cols[c] - col] = d.a[k * n + c];
    const u = allocate(Float32Array, rows * d.rank, `${rows} * ${d.rank}`);
    for (const [i, r] of d.rows.entries()) u.set(d.b.subarray(i * d.rank, (i + 1) * d.rank), (r - row) * d.rank);
    return [
      { data: v, rows: d.rank, cols },
      { data: u, rows, cols: d.rank },
    ];
  }
  const data = allocate(Float32Array, rows * cols, `${rows} * ${cols}`);
  eachRow(d, (r, places, values) => {
    for (let i = 0; i < places.length; i++) data[(r - row) * cols + places[i] - col] = values[i];
  });
  return [{ data, rows, cols }];
}
