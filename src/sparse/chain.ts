/** Chains of int8 layers: what lies between two of them are integers, never floats. */
import { ArgumentRangeError, ArgumentTypeError, checkOptions } from '../errors.ts';
import type { KernelCall } from '../kernel/call.ts';
import {
  int8ArrangeCalls,
  int8PanelStride,
  int8ProductCalls,
  int8QuantizeCalls,
  int8Scratch,
  int8Table,
} from '../kernel/int8.ts';
import { chooseInt8 } from '../kernel/select-int8.ts';
import { type Int8Format, type PackedInt8, packInt8 } from '../pack/int8.ts';
import { type Affine, type Dynamic, isStatic, validateAffine } from '../pack/quantize.ts';
import { checkArray } from './arguments.ts';
import { checkSums, integersOf, plainPlaces } from './integers.ts';
import { partsOf, type SparseMatrix } from './matrix.ts';
import { type OperatorHost, ProductOperator } from './operator.ts';
import { checkShape, type Limits } from './products.ts';

/** real = scale * (integer - zeroPoint), as in ONNX: integers from -128 to 127, or from 0 to 255. */
export interface Quantization {
  readonly type: 'int8' | 'uint8';
  readonly scale: number;
  readonly zeroPoint: number;
}

/** One layer of a chain: y = f(W x + bias). */
export interface Int8Layer {
  /** [rows][cols], of dtype int8. */
  readonly w: SparseMatrix;
  /** [rows] */
  readonly bias?: Float32Array;
  /**
   * What x is rounded to. Of the first layer also found in each run, so that the largest magnitude is 127 steps: of each column
   * (`token`, the default) or of all (`tensor`).
   */
  readonly input?: Quantization | 'token' | 'tensor';
  /**
   * A function between this layer and the next. W x + bias is rounded to `input` and looked up in a table of 256 entries, which
   * hold f in steps of the next layer's input; NaN counts as 0. Left out: rounded to those steps at once.
   */
  readonly activation?: { readonly f: (y: number) => number; readonly input: Quantization };
}

export interface Int8Options {
  /** Columns of X: pixels or tokens. */
  columns: number;
  /** `features`: X is [cols][columns] and Y [rows][columns]. `tokens`: X is [columns][cols] and Y [columns][rows]. */
  layout?: 'features' | 'tokens';
  /** Limits of the last layer's result; none where not given. */
  min?: number;
  max?: number;
}

interface Link {
  readonly packed: PackedInt8;
  /** From this layer's integers to those of the next. */
  readonly table?: Int16Array;
}

/**
 * Several int8 layers as one operator, f32 in and out. Sums are exact: results are the same on every machine, instruction set and
 * number of threads. With a static input infinities are its extremes and NaN is 0; else a column with either is NaN after one layer,
 * and between layers counts as the least integers.
 */
export class Int8Operator extends ProductOperator {
  static override readonly name: string = 'Int8Operator';
  /** Outputs of the last layer, and inputs of the first. */
  readonly rows: number;
  readonly cols: number;
  readonly columns: number;
  readonly layout: 'features' | 'tokens';
  /** Names of the layers' kernels. */
  readonly kernels: readonly string[];
  /** Bytes of packed weights. */
  readonly weightBytes: number;
  protected readonly x: number;
  protected readonly y: number;
  protected readonly work: () => void;

  /** @internal Made by Engine.prepareInt8. */
  constructor(host: OperatorHost, layers: readonly Int8Layer[], options: Int8Options) {
    super(host);
    checkOptions(options);
    const { columns, layout = 'features', min = -Infinity, max = Infinity } = options;
    checkShape(columns, layout, min, max);
    const links = readLayers(layers).map((layer, i, all) => packLayer(host, layer, all[i + 1], columns, i));
    const [first, last] = [links[0].packed, links[links.length - 1].packed];
    this.rows = last.rows;
    this.cols = first.cols;
    this.columns = columns;
    this.layout = layout;
    this.kernels = links.map((l) => l.packed.kernel);
    this.weightBytes = links.reduce((n, l) => n + l.packed.bytes, 0);
    try {
      this.x = this.memory.alloc(4 * this.cols * columns);
      this.y = this.memory.alloc(4 * this.rows * columns);
      this.work = host.bind(this.calls(links, { min, max }));
    } catch (error) {
      this.memory.release();
      throw error;
    }
  }

  /** Quantise, then layer after layer from the panels of one to those of the next. */
  private calls(links: readonly Link[], limits: Limits): KernelCall[] {
    const { memory, rows, cols, columns, layout, x, y } = this;
    const need = links.map((l) => int8Scratch(l.packed, columns));
    const panels = need.map((n) => memory.alloc(n.panels));
    const lanes = memory.alloc(need[0].lanes);
    const sums = memory.alloc(Math.max(...need.map((n) => n.sums)));
    const { from, into } = plainPlaces({ rows, cols, columns, layout, x, y }, limits);
    return links.flatMap(({ packed, table }, i) => {
      const at = memory.put(packed);
      const io = { columns, panels: panels[i], lanes, sums };
      const next = {
        ...{ into: 'panels' as const, y: panels[i + 1], yChannelStride: 16 },
        yPanelStride: int8PanelStride(packed.rows, 'i16'),
        table: table && memory.put({ data: new Uint8Array(table.buffer) }),
      };
      return [
        ...(i ? int8ArrangeCalls(packed, io) : int8QuantizeCalls(packed, at, { ...from, ...io })),
        ...int8ProductCalls(packed, at, { ...io, ...(i === links.length - 1 ? into : next) }),
      ];
    });
  }
}

interface Checked extends Omit<Int8Layer, 'input' | 'activation'> {
  readonly input: Affine | Dynamic;
  readonly activation?: { readonly f: (y: number) => number; readonly input: Affine };
}

/** @throws ArgumentTypeError, ArgumentRangeError that name the layer */
function readLayers(layers: readonly Int8Layer[]): Checked[] {
  if (!Array.isArray(layers)) throw new ArgumentTypeError('layers', 'an array of layers', layers);
  if (!layers.length) throw new ArgumentRangeError('layers', 'at least one', layers);
  return layers.map((layer, i) => {
    const name = `layers[${i}]`;
    if (typeof layer !== 'object' || layer === null) throw new ArgumentTypeError(name, 'a layer', layer);
    const { w, bias, input = 'token', activation } = layer as Int8Layer;
    const { values } = partsOf(w, `${name}.w`);
    if (w.dtype !== 'int8') throw new ArgumentRangeError(`${name}.w`, 'a matrix of dtype int8', w.dtype);
    if (values.data.includes(-128)) throw new ArgumentRangeError(`${name}.w`, 'integers from -127 to 127', -128);
    if (i && w.cols !== layers[i - 1].w.rows)
      throw new ArgumentRangeError(`${name}.w`, `${layers[i - 1].w.rows} columns, the rows before`, w.cols);
    if (bias !== undefined) {
      checkArray(`${name}.bias`, bias, w.rows);
      const bad = bias.find((b) => !Number.isFinite(b));
      if (bad !== undefined) throw new ArgumentRangeError(`${name}.bias`, 'finite numbers', bad);
    }
    if (activation !== undefined) {
      if (i === layers.length - 1)
        throw new ArgumentRangeError(`${name}.activation`, 'none after the last layer', activation);
      if (typeof activation?.f !== 'function')
        throw new ArgumentTypeError(`${name}.activation.f`, 'a function', activation);
    }
    return {
      w,
      bias: bias?.slice(),
      input: readInput(input, `${name}.input`, i === 0),
      activation: activation && { f: activation.f, input: affine(activation.input, `${name}.activation.input`) },
    };
  });
}

function readInput(input: Int8Layer['input'], name: string, first: boolean): Affine | Dynamic {
  if (first && (input === 'token' || input === 'tensor')) return { per: input, range: 'magnitude' };
  return affine(input, name);
}

function affine(q: unknown, name: string): Affine {
  if (typeof q !== 'object' || q === null)
    throw new ArgumentTypeError(name, 'a quantization { type, scale, zeroPoint }', q);
  const { type, scale, zeroPoint } = q as Quantization;
  if (type !== 'int8' && type !== 'uint8') throw new ArgumentRangeError(`${name}.type`, 'int8 or uint8', type);
  const checked: Affine = { type: type === 'int8' ? 's8' : 'u8', scale, zeroPoint };
  validateAffine(name, checked);
  // What the kernels count in.
  return { ...checked, scale: Math.fround(scale) };
}

function packLayer(host: OperatorHost, layer: Checked, next: Checked | undefined, columns: number, i: number): Link {
  const { w, bias, input, activation } = layer;
  const { rows, cols } = w;
  const weights = integersOf(w);
  checkSums(weights.weights, rows, cols, isStatic(input) ? 255 : 127, `layers[${i}].w`);
  const { format } = chooseInt8(host.info.isa, 'i16', weights.weights, rows, cols, columns, false);
  const after = next?.input as Affine | undefined;
  const output = activation?.input ?? after;
  const packed = packInt8(weights, rows, cols, {
    ...{ format: format as Int8Format, activations: 'i16', input, bias },
    ...(output && { output }),
  });
  return { packed, table: activation && after && int8Table(activation.f, activation.input, after, 'panels') };
}
