/** Packs weights and plans products, with their memory: what operators are made of. */
import { ArgumentRangeError } from '../errors.ts';
import type { KernelCall } from '../kernel/call.ts';
import { gemvCalls } from '../kernel/dense.ts';
import { chooseFew, FEW_TOKENS } from '../kernel/few.ts';
import { packPanelsCalls, packTokensCalls, unpackTokensCalls } from '../kernel/layout.ts';
import { chooseFormat } from '../kernel/select.ts';
import { type SpmmIo, spmmCalls } from '../kernel/spmm.ts';
import { spmvCalls, spmvScratch } from '../kernel/spmv.ts';
import { SPMM } from '../kernel/tiles.ts';
import { packGemv } from '../pack/dense.ts';
import { type PackedSpmm, packSpmm } from '../pack/spmm.ts';
import { packSpmv, packSpmvHalf, type SpmvFormat } from '../pack/spmv.ts';
import { packSpmvInt8Wide } from '../pack/spmv-int8.ts';
import { checkArray } from './arguments.ts';
import { Composite, type Operand, readOperand } from './composite.ts';
import { integerProduct, integersOf, type Product } from './integers.ts';
import { partsOf, SparseMatrix } from './matrix.ts';
import type { Blocks, OperatorHost } from './operator.ts';
import type { PrepareOptions } from './operators.ts';
import type { DenseMatrix } from './types.ts';
import { finiteHalves } from './values.ts';

export interface Limits {
  readonly min: number;
  readonly max: number;
}
export const OPEN: Limits = { min: -Infinity, max: Infinity };

/** X in panels, Y in panels or plain. */
export type PanelIo = Omit<SpmmIo, 'columns' | keyof Limits>;

/** Packed weights in the engine's memory. */
export interface Placed {
  readonly packed: PackedSpmm;
  readonly at: number;
}

/** Lanes of a panel. */
export const LANES = 16;

/** One product from x to y. */
export interface Plan extends Omit<Product, 'calls'> {
  /** Up to the product itself. */
  readonly product: readonly KernelCall[];
  /** What brings its result to y, where it is not there yet. */
  readonly finish: readonly KernelCall[];
  /** X in panels, and the product's result; left out where columns are not in lanes. */
  readonly io?: PanelIo;
}

/** Arguments of a product, checked. */
export interface Task extends Limits {
  readonly w: Operand;
  readonly bias: Float32Array | undefined;
  readonly columns: number;
  readonly layout: 'features' | 'tokens';
  readonly activations: Activations;
}

/** A matrix of few tokens, and how it runs. */
interface Few {
  readonly rows: number;
  readonly cols: number;
  readonly dense: Float32Array;
  readonly halves?: () => Uint16Array;
  readonly integers?: SparseMatrix;
  readonly format: SpmvFormat | 'dense';
  readonly half?: boolean;
  readonly int8?: boolean;
}

/** What X is multiplied as. */
export type Activations = 'float32' | 'int8' | 'uint7';

/** @throws ArgumentTypeError, ArgumentRangeError */
export function readTask(w: Operand, options: PrepareOptions): Task {
  w = readOperand(w, 'w');
  const { columns, layout = 'features', min = -Infinity, max = Infinity, activations = 'float32' } = options ?? {};
  checkShape(columns, layout, min, max);
  const { bias } = options;
  if (bias !== undefined) checkArray('bias', bias, w.rows);
  checkActivations(activations, w);
  return { w, bias, columns, layout, min, max, activations };
}

/** Plans products of so many columns in an operator's memory. */
export class Products {
  private readonly host: OperatorHost;
  private readonly memory: Blocks;
  private readonly columns: number;

  constructor(host: OperatorHost, memory: Blocks, columns: number) {
    this.host = host;
    this.memory = memory;
    this.columns = columns;
  }

  /** Y = clamp(W X + bias) for X at x and Y at y, in the layout of the task. Run `once`, it is packed in the shortest time. */
  plan({ w, bias, layout, min, max, activations }: Task, x: number, y: number, once = false): Plan {
    const { columns } = this;
    const { rows, cols } = w;
    const limits = { min, max };
    if (activations !== 'float32') {
      const places = { columns, layout, x, y, memory: this.memory };
      const options = { ...limits, bias, activations, ...(once && { tries: 1 }) };
      const { calls, ...facts } = integerProduct(this.host.info.isa, w as SparseMatrix, places, options);
      return { ...facts, product: calls, finish: [] };
    }
    if (columns <= FEW_TOKENS && (layout === 'tokens' || columns === 1)) {
      const few = this.few(w, bias, limits, x, y);
      if (few) return { ...few, product: few.calls, finish: [] };
    }
    const from = this.panels(cols);
    const into = { x, y: from.x, lanes: LANES as 16, panelStride: from.xPanelStride };
    if (layout === 'features') {
      const io = { ...from, y, yPanelStride: 4 * LANES, yChannelStride: 4 * columns };
      const { calls, ...facts } = this.product(w, io, bias, limits, false);
      const product = [...packPanelsCalls({ ...into, channels: cols, pixels: columns }), ...calls];
      return { ...facts, product, finish: [], io };
    }
    const made = this.panels(rows);
    const io = { ...from, y: made.x, yPanelStride: made.xPanelStride, yChannelStride: 4 * LANES };
    const { calls, ...facts } = this.product(w, io, bias, limits, false);
    const product = [...packTokensCalls({ ...into, tokens: columns, features: cols }), ...calls];
    const out = { x: made.x, y, tokens: columns, features: rows, lanes: LANES, panelStride: made.xPanelStride };
    return { ...facts, product, finish: unpackTokensCalls(out), io };
  }

  /** Outputs in lanes, where that is faster: of a matrix, or of every factor of a product, one after the other. */
  private few(w: Operand, bias: Float32Array | undefined, limits: Limits, x: number, y: number): Product | undefined {
    const factors = w instanceof Composite ? (w.kind === 'product' ? w.parts : []) : [w];
    const chosen: Few[] = [];
    for (const part of factors) {
      const few = this.chooseFew(part);
      if (!few) return undefined;
      chosen.push(few);
    }
    if (!chosen.length) return undefined;
    let from = x;
    const made: Product[] = [];
    for (let i = factors.length - 1; i >= 0; i--) {
      const to = i ? this.memory.alloc(4 * factors[i].rows * this.columns) : y;
      made.push(this.fewTokens(chosen[i], i ? undefined : bias, i ? OPEN : limits, from, to));
      from = to;
    }
    return w instanceof Composite ? joined(w.kind, made) : made[0];
  }

  /** How so few tokens of a matrix run; undefined: in panels. */
  private chooseFew(w: Operand): Few | undefined {
    if (w instanceof Composite) return undefined;
    const { rows, cols } = w;
    const dense = w instanceof SparseMatrix ? w.toDense() : w.data;
    const halves = w instanceof SparseMatrix ? finiteHalves(partsOf(w)) : undefined;
    const integers = w instanceof SparseMatrix && w.dtype === 'int8' ? w : undefined;
    const stored = halves ? 'float16' : integers && 'int8';
    const { format, half, int8 } = chooseFew(this.host.info.isa, false, dense, rows, cols, this.columns, stored);
    return format === 'panels' ? undefined : { rows, cols, dense, halves, integers, format, half, int8 };
  }

  private fewTokens(w: Few, bias: Float32Array | undefined, limits: Limits, x: number, y: number): Product {
    const { rows, cols, dense, halves, integers, format, half, int8 } = w;
    const tokens = this.columns;
    if (format === 'dense') {
      const packed = packGemv(dense, rows, cols, bias);
      const calls = gemvCalls(packed, this.memory.put(packed), { x, y, tokens, ...limits });
      return { kernel: 'f32_dense_gemv', format, weightBytes: packed.bytes, calls };
    }
    const pack = () => {
      if (int8) return packSpmvInt8Wide(integersOf(integers!), rows, cols, bias);
      return half ? packSpmvHalf(halves!(), rows, cols, bias) : packSpmv(dense, rows, cols, format, bias);
    };
    const packed = pack();
    const scratch = this.memory.alloc(spmvScratch(packed, tokens));
    const calls = spmvCalls(packed, this.memory.put(packed), { x, y, tokens, scratch, ...limits });
    return { kernel: packed.kernel, format: packed.format, weightBytes: packed.bytes, calls };
  }

  /** Panels of so many channels. */
  panels(channels: number): { x: number; xPanelStride: number } {
    const xPanelStride = 4 * LANES * channels + 64;
    return { x: this.memory.alloc(Math.ceil(this.columns / LANES) * xPanelStride), xPanelStride };
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
    return joined(w.kind, made);
  }

  private matrix(
    w: SparseMatrix | DenseMatrix,
    io: PanelIo,
    bias: Float32Array | undefined,
    limits: Limits,
    add: boolean,
  ): Product {
    const { rows, cols } = w;
    const dense = w instanceof SparseMatrix ? w.toDense() : w.data;
    const { packed, at } = this.pack(dense, rows, cols, this.columns, bias);
    const calls = spmmCalls(packed, at, { ...io, columns: this.columns, ...limits, add });
    return { kernel: packed.variant, format: packed.format, weightBytes: packed.bytes, calls };
  }

  /** Packs a matrix [rows][cols] for the kernel that is fastest on so many columns. */
  pack(dense: Float32Array, rows: number, cols: number, columns: number, bias?: Float32Array): Placed {
    const { variant } = chooseFormat(this.host, 'all', dense, rows, cols, columns);
    const packed = packSpmm(dense, rows, cols, SPMM.find((v) => v.name === variant)!, bias);
    return { packed, at: this.memory.put(packed) };
  }
}

/** What the parts of a composition make together, in turn. */
function joined(kind: Composite['kind'], made: readonly Product[]): Product {
  return {
    kernel: kind,
    format: made.map((m) => m.format).join(' '),
    weightBytes: made.reduce((n, m) => n + m.weightBytes, 0),
    calls: made.flatMap((m) => m.calls),
  };
}

function checkActivations(activations: string, w: Operand): void {
  if (!['float32', 'int8', 'uint7'].includes(activations)) {
    throw new ArgumentRangeError('activations', 'float32, int8 or uint7', activations);
  }
  if (activations !== 'float32' && !(w instanceof SparseMatrix && w.dtype === 'int8')) {
    throw new ArgumentRangeError('activations', 'float32, unless w is a SparseMatrix of dtype int8', activations);
  }
  if (activations !== 'float32' && partsOf(w as SparseMatrix).values.data.includes(-128)) {
    throw new ArgumentRangeError('w', `integers from -127 to 127 for ${activations} activations`, -128);
  }
}

/** @throws ArgumentRangeError for what operators share: columns, layout and limits */
export function checkShape(columns: number, layout: string, min: number, max: number): void {
  if (!Number.isInteger(columns) || columns < 0) throw new ArgumentRangeError('columns', 'an integer >= 0', columns);
  if (layout !== 'features' && layout !== 'tokens')
    throw new ArgumentRangeError('layout', 'features or tokens', layout);
  for (const [name, limit] of [
    ['min', min],
    ['max', max],
  ] as const) {
    if (typeof limit !== 'number' || Number.isNaN(limit)) throw new ArgumentRangeError(name, 'a number', limit);
  }
  if (min > max) throw new ArgumentRangeError('min', `at most max, ${max}`, min);
}
