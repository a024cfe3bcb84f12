/** Products with sparse matrices for people who bring their own graph. */
import { ArgumentRangeError, DisposedError } from '../errors.ts';
import type { KernelCall } from '../kernel/call.ts';
import type { Calibrated } from '../kernel/cost.ts';
import { gemvCalls } from '../kernel/dense.ts';
import { chooseFew, FEW_TOKENS } from '../kernel/few.ts';
import type { Kernels } from '../kernel/instance.ts';
import { groupedInt8, int8Calls, int8Scratch } from '../kernel/int8.ts';
import { packPanelsCalls, packTokensCalls, unpackTokensCalls } from '../kernel/layout.ts';
import { chooseFormat } from '../kernel/select.ts';
import { type SpmmIo, spmmCalls } from '../kernel/spmm.ts';
import { spmvCalls, spmvScratch } from '../kernel/spmv.ts';
import { SPMM } from '../kernel/tiles.ts';
import type { Arena } from '../memory/arena.ts';
import { packGemv } from '../pack/dense.ts';
import { type Int8Weights, packInt8 } from '../pack/int8.ts';
import { packSpmm } from '../pack/spmm.ts';
import { packSpmv } from '../pack/spmv.ts';
import { checkApart, checkArray, kept } from './arguments.ts';
import { Composite, type Operand, readOperand } from './composite.ts';
import { partsOf, SparseMatrix } from './matrix.ts';
import type { DenseMatrix } from './types.ts';

export { sddmm } from './sddmm.ts';

export interface SpmmOptions {
  /** [rows], added before the limits. */
  bias?: Float32Array;
  /** Limits of the result; none where not given. */
  min?: number;
  max?: number;
  /** `features`: X is [cols][columns] and Y [rows][columns]. `tokens`: X is [columns][cols] and Y [columns][rows]. */
  layout?: 'features' | 'tokens';
  /**
   * `int8` quantises X, one scale a column (largest magnitude / 127), and multiplies an int8 matrix exactly in integers; a column
   * with NaN or infinities gives NaN. Left out, `float32`: an int8 matrix is multiplied as the numbers it stands for.
   */
  activations?: 'float32' | 'int8';
}

export interface PrepareOptions extends SpmmOptions {
  /** Columns of X: pixels or tokens. */
  columns: number;
}

/** What operators need of an engine. */
export interface OperatorHost {
  readonly info: Calibrated['info'] & { readonly deterministic: boolean };
  readonly arena: Arena;
  readonly kernels: Kernels;
  bind(calls: readonly KernelCall[]): () => void;
  guard<T>(run: () => T): T;
  check(): void;
}

interface Limits {
  readonly min: number;
  readonly max: number;
}
const OPEN: Limits = { min: -Infinity, max: Infinity };

/** X in panels, Y in panels or plain. */
type PanelIo = Omit<SpmmIo, 'columns' | keyof Limits>;

interface Product {
  readonly kernel: string;
  readonly format: string;
  readonly weightBytes: number;
  readonly calls: KernelCall[];
}

const LANES = 16;

/** Y = clamp(W X + bias) for one W and one number of columns, with its memory: packed once, run many times. */
export class SpmmOperator {
  readonly rows: number;
  readonly cols: number;
  readonly columns: number;
  readonly layout: 'features' | 'tokens';
  /** Name of the kernel that does the work, and its weight format. */
  readonly kernel: string;
  readonly format: string;
  /** Bytes of packed weights. */
  readonly weightBytes: number;
  private readonly host: OperatorHost;
  private readonly int8: boolean;
  private readonly blocks: number[] = [];
  private held = 0;
  private readonly x: number;
  private readonly y: number;
  private readonly work: () => void;
  private disposed = false;

  /** @internal Made by Engine.prepare. */
  constructor(host: OperatorHost, w: Operand, options: PrepareOptions) {
    host.check();
    w = readOperand(w, 'w');
    if ('data' in w) w = { ...w, data: kept(host.arena, w.data) };
    const { rows, cols } = w;
    const { columns, layout = 'features', min = -Infinity, max = Infinity, activations = 'float32' } = options ?? {};
    checkOptions(rows, columns, layout, options?.bias, min, max);
    const bias = options.bias && kept(host.arena, options.bias);
    checkActivations(activations, w);
    this.int8 = activations === 'int8';
    this.host = host;
    this.rows = rows;
    this.cols = cols;
    this.columns = columns;
    this.layout = layout;
    try {
      this.x = this.alloc(4 * cols * columns);
      this.y = this.alloc(4 * rows * columns);
      const limits = { min, max };
      const few =
        columns <= FEW_TOKENS && (layout === 'tokens' || columns === 1) && !this.int8 && !(w instanceof Composite)
          ? this.few(w, bias, limits)
          : undefined;
      const plan = few ?? this.many(w, bias, limits);
      this.kernel = plan.kernel;
      this.format = plan.format;
      this.weightBytes = plan.weightBytes;
      this.work = host.bind(plan.calls);
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** Bytes of the engine's memory that the operator holds: weights, X, Y and scratch; 0 once disposed. */
  get bytes(): number {
    return this.held;
  }

  /** Where run() puts X. A view of the engine's memory: valid until that grows, which any allocation may do. */
  get input(): Float32Array {
    this.check();
    return this.host.arena.view('float32', this.x, this.cols * this.columns);
  }

  /** What the last run made. A view of the engine's memory: valid until that grows, which any allocation may do. */
  get output(): Float32Array {
    this.check();
    return this.host.arena.view('float32', this.y, this.rows * this.columns);
  }

  /** Multiplies what `input` holds; the result is in `output`. Nothing is copied. */
  execute(): void {
    this.check();
    this.host.guard(this.work);
  }

  /**
   * @param x in the operator's layout
   * @param out takes the result; must not share memory with x. Left out, a new array
   * @throws ArgumentTypeError, ArgumentRangeError for wrong arrays; DisposedError
   */
  run(x: Float32Array, out?: Float32Array): Float32Array {
    this.check();
    checkArray('x', x, this.cols * this.columns);
    if (out !== undefined) {
      checkArray('out', out, this.rows * this.columns);
      checkApart(x, out);
    }
    this.input.set(x);
    this.host.guard(this.work);
    if (!out) return this.output.slice();
    out.set(this.output);
    return out;
  }

  /** Frees the memory. Calling it twice does no harm. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  private check(): void {
    if (this.disposed) throw new DisposedError('the operator');
    this.host.check();
  }

  private release(): void {
    for (const at of this.blocks) this.host.arena.release(at);
    this.blocks.length = 0;
    this.held = 0;
  }

  private alloc(bytes: number): number {
    const at = this.host.arena.alloc(bytes);
    this.blocks.push(at);
    this.held += bytes;
    return at;
  }

  private put({ data }: { data: Uint8Array }): number {
    const at = this.alloc(data.length);
    this.host.arena.view('uint8', at, data.length).set(data);
    return at;
  }

  /** Outputs in lanes, where that is faster. */
  private few(w: SparseMatrix | DenseMatrix, bias: Float32Array | undefined, limits: Limits): Product | undefined {
    const { rows, cols, columns: tokens, x, y, host } = this;
    const dense = w instanceof SparseMatrix ? w.toDense() : w.data;
    const { format } = chooseFew(host.info.isa, false, dense, rows, cols, tokens);
    if (format === 'panels') return undefined;
    if (format === 'dense') {
      const packed = packGemv(dense, rows, cols, bias);
      const calls = gemvCalls(packed, this.put(packed), { x, y, tokens, ...limits });
      return { kernel: 'f32_dense_gemv', format, weightBytes: packed.bytes, calls };
    }
    const packed = packSpmv(dense, rows, cols, format, bias);
    const scratch = this.alloc(spmvScratch(packed, tokens));
    const calls = spmvCalls(packed, this.put(packed), { x, y, tokens, scratch, ...limits });
    return { kernel: packed.kernel, format, weightBytes: packed.bytes, calls };
  }

  /** Columns in lanes. */
  private many(w: Operand, bias: Float32Array | undefined, limits: Limits) {
    const { rows, cols, columns, x, y } = this;
    const from = this.panels(cols);
    const into = { x, y: from.x, lanes: LANES as 16, panelStride: from.xPanelStride };
    if (this.layout === 'features') {
      const to = { y, yPanelStride: 4 * LANES, yChannelStride: 4 * columns };
      const { calls, ...facts } = this.product(w, { ...from, ...to }, bias, limits, false);
      return { ...facts, calls: [...packPanelsCalls({ ...into, channels: cols, pixels: columns }), ...calls] };
    }
    const made = this.panels(rows);
    const to = { y: made.x, yPanelStride: made.xPanelStride, yChannelStride: 4 * LANES };
    const { calls, ...facts } = this.product(w, { ...from, ...to }, bias, limits, false);
    const out = { x: made.x, y, tokens: columns, features: rows, lanes: LANES, panelStride: made.xPanelStride };
    return {
      ...facts,
      calls: [...packTokensCalls({ ...into, tokens: columns, features: cols }), ...calls, ...unpackTokensCalls(out)],
    };
  }

  /** Panels of so many channels. */
  private panels(channels: number): { x: number; xPanelStride: number } {
    const xPanelStride = 4 * LANES * channels + 64;
    return { x: this.alloc(Math.ceil(this.columns / LANES) * xPanelStride), xPanelStride };
  }

  /** Y = clamp(W X + bias), or Y = clamp(Y + W X), from panels. */
  private product(w: Operand, io: PanelIo, bias: Float32Array | undefined, limits: Limits, add: boolean): Product {
    if (!(w instanceof Composite)) return this.matrix(w, io, bias, limits, add);
    const { parts } = w;
    const made: Product[] = [];
    if (w.kind === 'product') {
      let from = { x: io.x, xPanelStride: io.xPanelStride };
      for (let i = parts.length - 1; i > 0; i--) {
        const next = this.panels(parts[i].rows);
        const to = { y: next.x, yPanelStride: next.xPanelStride, yChannelStride: 4 * LANES };
        made.push(this.product(parts[i], { ...from, ...to }, undefined, OPEN, false));
        from = next;
      }
      made.push(this.product(parts[0], { ...io, ...from }, bias, limits, add));
    } else if (w.kind === 'sum') {
      parts.forEach((part, i) => {
        const last = i === parts.length - 1;
        made.push(this.product(part, io, i ? undefined : bias, last ? limits : OPEN, add || i > 0));
      });
    } else {
      let [row, col] = [0, 0];
      for (const part of parts) {
        const at = { ...io, x: io.x + 4 * LANES * col, y: io.y + io.yChannelStride * row };
        made.push(this.product(part, at, bias?.subarray(row, row + part.rows), limits, add));
        row += part.rows;
        col += part.cols;
      }
    }
    return {
      kernel: w.kind,
      format: made.map((m) => m.format).join(' '),
      weightBytes: made.reduce((n, m) => n + m.weightBytes, 0),
      calls: made.flatMap((m) => m.calls),
    };
  }

  private matrix(
    w: SparseMatrix | DenseMatrix,
    io: PanelIo,
    bias: Float32Array | undefined,
    limits: Limits,
    add: boolean,
  ): Product {
    const { rows, cols } = w;
    if (this.int8) return this.integers(w as SparseMatrix, io, bias, limits);
    const dense = w instanceof SparseMatrix ? w.toDense() : w.data;
    const choice = chooseFormat(this.host, 'all', dense, rows, cols, this.columns);
    const packed = packSpmm(dense, rows, cols, SPMM.find((v) => v.name === choice.variant)!, bias);
    const calls = spmmCalls(packed, this.put(packed), { ...io, columns: this.columns, ...limits, add });
    return { kernel: choice.variant, format: choice.format, weightBytes: packed.bytes, calls };
  }

  /** An int8 matrix by activations quantised column by column. */
  private integers(w: SparseMatrix, io: PanelIo, bias: Float32Array | undefined, limits: Limits): Product {
    const { rows, cols } = w;
    const { columns } = this;
    const weights = integersOf(w);
    const format = groupedInt8(weights.weights, rows, cols) ? 'group4' : 'dense';
    const input = { per: 'token', range: 'magnitude' } as const;
    const packed = packInt8(weights, rows, cols, { format, activations: 'i16', input, bias });
    const need = int8Scratch(packed, columns);
    const scratch = this.alloc(need.panels + need.lanes + need.sums);
    const from = { x: io.x, xChannelStride: 4 * LANES, xPanelStride: io.xPanelStride };
    const { y, yPanelStride, yChannelStride } = io;
    const to = { into: 'f32', y, yPanelStride, yChannelStride, ...limits } as const;
    const calls = int8Calls(packed, this.put(packed), { ...from, ...to, columns, scratch });
    return { kernel: packed.kernel, format, weightBytes: packed.bytes, calls };
  }
}

/** One product: engine.spmm. */
export function spmm(
  host: OperatorHost,
  w: Operand,
  x: Float32Array,
  options: SpmmOptions & { columns?: number; out?: Float32Array } = {},
): Float32Array {
  host.check();
  const { cols } = readOperand(w, 'w');
  checkArray('x', x);
  const columns = options.columns ?? (cols ? x.length / cols : 0);
  if (!Number.isInteger(columns)) throw new ArgumentRangeError('x', `a multiple of ${cols} values`, x);
  if (options.out) checkApart(x, options.out);
  const own = kept(host.arena, x);
  const operator = new SpmmOperator(host, w, { ...options, columns });
  try {
    return operator.run(own, options.out);
  } finally {
    operator.dispose();
  }
}

/** The integers of an int8 matrix, and its scales; a row of scale 0 is a row of zeros. */
function integersOf(w: SparseMatrix): Int8Weights {
  const { pattern, values } = partsOf(w);
  const weights = new Int8Array(w.rows * w.cols);
  pattern.visit((slot, row, col) => {
    if (values.scales![row] > 0) weights[row * w.cols + col] = values.data[slot];
  });
  return { weights, scales: values.scales!.map((s) => s || 1) };
}

function checkActivations(activations: string, w: Operand): void {
  if (activations !== 'float32' && activations !== 'int8') {
    throw new ArgumentRangeError('activations', 'float32 or int8', activations);
  }
  if (activations === 'int8' && !(w instanceof SparseMatrix && w.dtype === 'int8')) {
    throw new ArgumentRangeError('activations', 'float32, unless w is a SparseMatrix of dtype int8', activations);
  }
}

function checkOptions(
  rows: number,
  columns: number,
  layout: string,
  bias: Float32Array | undefined,
  min: number,
  max: number,
): void {
  if (!Number.isInteger(columns) || columns < 0) throw new ArgumentRangeError('columns', 'an integer >= 0', columns);
  if (layout !== 'features' && layout !== 'tokens')
    throw new ArgumentRangeError('layout', 'features or tokens', layout);
  if (bias !== undefined) checkArray('bias', bias, rows);
  for (const [name, limit] of [
    ['min', min],
    ['max', max],
  ] as const) {
    if (typeof limit !== 'number' || Number.isNaN(limit)) throw new ArgumentRangeError(name, 'a number', limit);
  }
  if (min > max) throw new ArgumentRangeError('min', `at most max, ${max}`, min);
}
