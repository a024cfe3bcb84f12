/** Products with sparse matrices for people who bring their own graph. */
import { ArgumentRangeError, ArgumentTypeError, DisposedError } from '../errors.ts';
import type { KernelCall } from '../kernel/call.ts';
import type { Calibrated } from '../kernel/cost.ts';
import { gemvCalls } from '../kernel/dense.ts';
import { chooseFew, FEW_TOKENS } from '../kernel/few.ts';
import type { Kernels } from '../kernel/instance.ts';
import { packPanelsCalls, packTokensCalls, unpackTokensCalls } from '../kernel/layout.ts';
import { sddmmCalls } from '../kernel/sddmm.ts';
import { chooseFormat } from '../kernel/select.ts';
import { spmmCalls } from '../kernel/spmm.ts';
import { spmvCalls, spmvScratch } from '../kernel/spmv.ts';
import { VARIANTS } from '../kernel/variants.ts';
import type { Arena } from '../memory/arena.ts';
import { packGemv } from '../pack/dense.ts';
import { packPattern } from '../pack/sddmm.ts';
import { packSpmm } from '../pack/spmm.ts';
import { packSpmv } from '../pack/spmv.ts';
import { SparseMatrix } from './matrix.ts';

/** A dense matrix [rows][cols]; its zeros are looked for. */
export interface DenseMatrix {
  readonly data: Float32Array;
  readonly rows: number;
  readonly cols: number;
}

export interface SpmmOptions {
  /** [rows], added before the limits. */
  bias?: Float32Array;
  /** Limits of the result; none where not given. */
  min?: number;
  max?: number;
  /** `features`: X is [cols][columns] and Y [rows][columns]. `tokens`: X is [columns][cols] and Y [columns][rows]. */
  layout?: 'features' | 'tokens';
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
  private readonly blocks: number[] = [];
  private readonly x: number;
  private readonly y: number;
  private readonly work: () => void;
  private disposed = false;

  /** @internal Made by Engine.prepare. */
  constructor(host: OperatorHost, w: SparseMatrix | DenseMatrix, options: PrepareOptions) {
    host.check();
    const { rows, cols, dense } = weightsOf(w);
    const { columns, layout = 'features', bias, min = -Infinity, max = Infinity } = options ?? {};
    checkOptions(rows, columns, layout, bias, min, max);
    this.host = host;
    this.rows = rows;
    this.cols = cols;
    this.columns = columns;
    this.layout = layout;
    try {
      this.x = this.alloc(4 * cols * columns);
      this.y = this.alloc(4 * rows * columns);
      const few = columns <= FEW_TOKENS && (layout === 'tokens' || columns === 1);
      const limits = { min, max };
      const plan = (few && this.few(dense, bias, limits)) || this.many(dense, bias, limits);
      this.kernel = plan.kernel;
      this.format = plan.format;
      this.weightBytes = plan.weightBytes;
      this.work = host.bind(plan.calls);
    } catch (error) {
      this.release();
      throw error;
    }
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
      const overlap = out.byteOffset < x.byteOffset + x.byteLength && x.byteOffset < out.byteOffset + out.byteLength;
      if (out.buffer === x.buffer && overlap) throw new ArgumentRangeError('out', 'memory that x does not use', out);
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
  }

  private alloc(bytes: number): number {
    const at = this.host.arena.alloc(bytes);
    this.blocks.push(at);
    return at;
  }

  private put({ data }: { data: Uint8Array }): number {
    const at = this.alloc(data.length);
    this.host.arena.view('uint8', at, data.length).set(data);
    return at;
  }

  /** Outputs in lanes, where that is faster. */
  private few(dense: Float32Array, bias: Float32Array | undefined, limits: { min: number; max: number }) {
    const { rows, cols, columns: tokens, x, y, host } = this;
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
  private many(dense: Float32Array, bias: Float32Array | undefined, limits: { min: number; max: number }) {
    const { rows, cols, columns, x, y, host } = this;
    const choice = chooseFormat(host, 'all', dense, rows, cols, columns);
    const packed = packSpmm(dense, rows, cols, VARIANTS.find((v) => v.name === choice.variant)!, bias);
    const panels = Math.ceil(columns / LANES);
    const xPanelStride = 4 * LANES * cols + 64;
    const xPanels = this.alloc(panels * xPanelStride);
    const into = { y: xPanels, lanes: LANES as 16, panelStride: xPanelStride };
    const at = this.put(packed);
    const facts = { kernel: choice.variant, format: choice.format, weightBytes: packed.bytes };
    if (this.layout === 'features') {
      const io = { x: xPanels, xPanelStride, y, yPanelStride: 4 * LANES, yChannelStride: 4 * columns, columns };
      const calls = [
        ...packPanelsCalls({ ...into, x, channels: cols, pixels: columns }),
        ...spmmCalls(packed, at, { ...io, ...limits }),
      ];
      return { ...facts, calls };
    }
    const yPanelStride = 4 * LANES * rows + 64;
    const yPanels = this.alloc(panels * yPanelStride);
    const io = { x: xPanels, xPanelStride, y: yPanels, yPanelStride, yChannelStride: 4 * LANES, columns };
    const from = { x: yPanels, lanes: LANES, panelStride: yPanelStride };
    const calls = [
      ...packTokensCalls({ ...into, x, tokens: columns, features: cols }),
      ...spmmCalls(packed, at, { ...io, ...limits }),
      ...unpackTokensCalls({ ...from, y, tokens: columns, features: rows }),
    ];
    return { ...facts, calls };
  }
}

/** One product: engine.spmm. */
export function spmm(
  host: OperatorHost,
  w: SparseMatrix | DenseMatrix,
  x: Float32Array,
  options: SpmmOptions & { columns?: number; out?: Float32Array } = {},
): Float32Array {
  const { cols } = weightsOf(w);
  checkArray('x', x);
  const columns = options.columns ?? (cols ? x.length / cols : 0);
  if (!Number.isInteger(columns)) throw new ArgumentRangeError('x', `a multiple of ${cols} values`, x);
  const operator = new SpmmOperator(host, w, { ...options, columns });
  try {
    return operator.run(x, options.out);
  } finally {
    operator.dispose();
  }
}

/**
 * One sampled product: engine.sddmm.
 * @returns scale (A B^T) at the places where `pattern` is not zero, as CSR
 */
export function sddmm(
  host: OperatorHost,
  pattern: SparseMatrix,
  a: Float32Array,
  b: Float32Array,
  { scale = 1 }: { scale?: number } = {},
): SparseMatrix {
  host.check();
  if (!(pattern instanceof SparseMatrix)) throw new ArgumentTypeError('pattern', 'a SparseMatrix', pattern);
  checkArray('a', a);
  const { rows, cols } = pattern;
  const d = rows ? a.length / rows : 0;
  if (!Number.isInteger(d)) throw new ArgumentRangeError('a', `a multiple of ${rows} values`, a);
  checkArray('b', b, cols * d);
  if (typeof scale !== 'number' || Number.isNaN(scale)) throw new ArgumentRangeError('scale', 'a number', scale);
  const csr = pattern.toCSR();
  const packed = packPattern(csr);
  const blocks: number[] = [];
  const put = (data: Float32Array | Uint8Array) => {
    const at = host.arena.alloc(data.byteLength);
    blocks.push(at);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    host.arena.view('uint8', at, bytes.length).set(bytes);
    return at;
  };
  try {
    const at = put(packed.data);
    const io = { a: put(a), b: put(b), y: put(new Float32Array(packed.entries)), d, scale };
    host.guard(host.bind(sddmmCalls(packed, at, io)));
    return pattern.withValues(csr, host.arena.view('float32', io.y, packed.entries).slice());
  } finally {
    for (const at of blocks) host.arena.release(at);
  }
}

function weightsOf(w: SparseMatrix | DenseMatrix): { rows: number; cols: number; dense: Float32Array } {
  if (w instanceof SparseMatrix) return { rows: w.rows, cols: w.cols, dense: w.toDense() };
  if (typeof w !== 'object' || w === null)
    throw new ArgumentTypeError('w', 'a SparseMatrix or { data, rows, cols }', w);
  const { rows, cols, data } = w;
  for (const [name, n] of [
    ['w.rows', rows],
    ['w.cols', cols],
  ] as const) {
    if (!Number.isInteger(n) || n < 0) throw new ArgumentRangeError(name, 'an integer >= 0', n);
  }
  checkArray('w.data', data, rows * cols);
  return { rows, cols, dense: data };
}

function checkArray(name: string, array: unknown, length?: number): asserts array is Float32Array {
  if (!(array instanceof Float32Array)) throw new ArgumentTypeError(name, 'a Float32Array', array);
  if (length !== undefined && array.length !== length) throw new ArgumentRangeError(name, `${length} values`, array);
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
