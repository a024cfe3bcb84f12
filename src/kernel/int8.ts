/** Calls of int8 products: activations quantised into panels of 8 columns, then multiplied exactly. */
import { roundEven } from '../half.ts';
import { type Int8Activations, type PackedInt8, ROW_BYTES } from '../pack/int8.ts';
import { type Affine, isStatic, limitsOf, stepsOf } from '../pack/quantize.ts';
import type { KernelCall } from './call.ts';

/** f32 activations. Addresses and strides in bytes. */
export type Activations =
  /** Plain [channels][columns] (panel stride 64), or panels of 16 lanes. */
  | { readonly x: number; readonly xChannelStride: number; readonly xPanelStride: number }
  /** Row-major [tokens][channels]; bytes between tokens. */
  | { readonly x: number; readonly xTokenStride: number };

const ceil = (n: number, m: number): number => Math.ceil(n / m) * m;

/** Bytes from a quantised panel of 8 columns to the next: its inputs are padded to a multiple of 4. */
export const int8PanelStride = (cols: number, activations: Int8Activations): number =>
  ceil(cols, 4) * ROW_BYTES[activations] || 64;

/** Bytes that the product needs besides its input and output, 64-byte aligned. */
export interface Int8Scratch {
  /** Quantised panels. */
  readonly panels: number;
  /** Scales and zero points, 64 bytes for 8 columns, and 64 for the one who finds them. */
  readonly lanes: number;
  /** i32 sums between blocks of inputs. */
  readonly sums: number;
}

export function int8Scratch(p: PackedInt8, columns: number): Int8Scratch {
  const tiles = Math.ceil(columns / 8);
  return {
    panels: ceil(tiles * int8PanelStride(p.cols, p.activations), 64),
    lanes: isStatic(p.input) ? 0 : 64 * (p.input.per === 'token' ? tiles : 1) + 64,
    sums: p.segments.length > 1 ? tiles * sumsOf(p) : 0,
  };
}

const sumsOf = (p: PackedInt8): number => 32 * ceil(p.rows, 4);

/** Two packed matrices that read the same quantised panels have the same key. */
export const int8Input = (p: PackedInt8): string => JSON.stringify([p.activations, layoutOf(p), p.cols, p.input]);

/** Rows of i16, even and odd ones apart, rows of bytes, quads of them: see assembly/int8quant.ts. */
const layoutOf = (p: PackedInt8): number => 2 * Number(p.activations === 'u7') + Number(p.format === 'dense');

/**
 * Quantises activations, and finds their scales first when they are dynamic. Infinities saturate and NaN becomes the zero point
 * under static scales; a dynamic scale of an infinity or NaN is NaN, and so are the columns' f32 outputs.
 * @param at address the packed data was copied to
 * @param io addresses of the scratch
 */
export function int8QuantizeCalls(
  p: PackedInt8,
  at: number,
  io: Activations & { columns: number; panels: number; lanes: number },
): KernelCall[] {
  if (!io.columns) return [];
  const source = 'xTokenStride' in io ? [io.x, io.xTokenStride] : [io.x, io.xChannelStride, io.xPanelStride];
  const kind = 'xTokenStride' in io ? 'tokens' : 'panels';
  const to = [io.panels, int8PanelStride(p.cols, p.activations), layoutOf(p)];
  const name = `i8_${kind}_quantize`;
  const { input } = p;
  if (isStatic(input)) {
    const [lo, hi] = limitsOf(input.type);
    const { zeroPoint: z } = input;
    return [{ kernel: name, args: [...source, p.cols, io.columns, at, 0, lo - z, hi - z, 0, ...to] }];
  }
  const u7 = p.activations === 'u7';
  const one = input.per === 'tensor';
  const lanes = io.lanes + 64;
  const steps = stepsOf(input.range, u7 ? 7 : (input.bits ?? 8));
  const zero = input.range === 'extremes' ? -1 : u7 ? 64 : 0;
  const limits = zero < 0 ? [-steps - 1, steps + 1, steps] : [-steps, steps, -1];
  return [
    {
      kernel: `i8_${kind}_range`,
      args: [...source, p.cols, io.columns, lanes, Number(one), steps, zero, io.lanes],
    },
    { kernel: name, args: [...source, p.cols, io.columns, lanes, one ? 0 : 64, ...limits, ...to] },
  ];
}

/** The panels that the layer before wrote, to what the kernel of `p` reads: those of dense i16 have even and odd inputs apart. */
export function int8ArrangeCalls(p: PackedInt8, io: { columns: number; panels: number }): KernelCall[] {
  if (!io.columns || p.format !== 'dense' || p.activations !== 'i16') return [];
  const args = [io.panels, int8PanelStride(p.cols, p.activations), io.columns, p.cols];
  return [{ kernel: 'i8_panels_apart', args }];
}

/** Where Y goes. */
export type Int8Output =
  /** f32, plain [rows][columns] (panel stride 64) or in panels of 16 lanes; limits in reals. */
  | {
      readonly into: 'f32';
      readonly y: number;
      readonly yChannelStride: number;
      readonly yPanelStride: number;
      readonly min: number;
      readonly max: number;
    }
  /** f32, row-major tokens [columns][rows], that many bytes from one to the next. */
  | {
      readonly into: 'tokens';
      readonly y: number;
      readonly yTokenStride: number;
      readonly min: number;
      readonly max: number;
    }
  /**
   * Integers of the packed `output`: `panels`, 16 bits less the zero point for a kernel of `i16` activations; `bytes`, 8 bits, in
   * panels of 8 columns too (as kernels of `u7` read them), or plain (panel stride 8). `table`: address of one of int8Table.
   */
  | {
      readonly into: 'panels' | 'bytes';
      readonly y: number;
      readonly yChannelStride: number;
      readonly yPanelStride: number;
      readonly table?: number;
    };

/**
 * Y = W Q, where the scales, bias and limits go, in order.
 * @param at address the packed data was copied to, a multiple of 64
 * @param io addresses of the quantised panels and of the scratch
 */
export function int8ProductCalls(
  p: PackedInt8,
  at: number,
  io: Int8Output & { columns: number; panels: number; lanes: number; sums: number },
): KernelCall[] {
  if (!io.columns || !p.rows) return [];
  const dynamic = !isStatic(p.input);
  const per = isStatic(p.input) ? '' : p.input.per;
  const lanes = dynamic ? [io.lanes + 64, per === 'token' ? 64 : 0] : [at + 64, 0];
  const xp = int8PanelStride(p.cols, p.activations);
  // A tile is 8 columns, a panel of f32 two tiles.
  const y =
    io.into === 'tokens'
      ? [16 * io.yTokenStride, 8 * io.yTokenStride, io.yTokenStride]
      : io.into === 'f32'
        ? [io.yPanelStride, 32, io.yChannelStride]
        : [2 * io.yPanelStride, io.yPanelStride, io.yChannelStride];
  const real = io.into === 'tokens' || io.into === 'f32';
  const store = real ? [3 * Number(io.into === 'tokens'), io.min, io.max, 0, 0] : integers(p.output as Affine, io);
  const zeros = p.activations === 'u7' && !isStatic(p.input) && p.input.range === 'extremes' ? 4 : 0;
  return p.segments.map((s, i) => {
    const stage = Number(i > 0) + 2 * Number(i + 1 < p.segments.length) + zeros;
    const x = [io.panels + s.input * ROW_BYTES[p.activations], xp];
    const weights = [p.rows, at + s.from, at + s.to];
    return {
      kernel: p.kernel,
      args: [...x, io.columns, io.y, ...y, ...weights, ...store, ...lanes, io.sums, sumsOf(p), stage],
    };
  });
}

function integers(o: Affine, io: { into: string; table?: number }): number[] {
  const [lo, hi] = limitsOf(o.type);
  const z = o.zeroPoint;
  const raw = io.into === 'panels' && !io.table;
  return [io.into === 'panels' ? 1 : 2, lo - z, hi - z, raw ? 0 : z, io.table ?? 0];
}

/** Both, with the scratch one after the other at `scratch`, 64-byte aligned. */
export function int8Calls(
  p: PackedInt8,
  at: number,
  io: Activations & Int8Output & { columns: number; scratch: number },
): KernelCall[] {
  const need = int8Scratch(p, io.columns);
  const at3 = { panels: io.scratch, lanes: io.scratch + need.panels, sums: io.scratch + need.panels + need.lanes };
  return [...int8QuantizeCalls(p, at, { ...io, ...at3 }), ...int8ProductCalls(p, at, { ...io, ...at3 })];
}

/**
 * A function of one number as a table from integers to integers, 512 bytes to be copied into memory: entry q & 255 holds
 * f(from.scale * (q - from.zeroPoint)) in steps of `to`, to nearest even, limited; less `to.zeroPoint` for `panels`. NaN is 0.
 */
export function int8Table(f: (x: number) => number, from: Affine, to: Affine, into: 'panels' | 'bytes'): Int16Array {
  const table = new Int16Array(256);
  const [lo, hi] = limitsOf(from.type);
  const [least, most] = limitsOf(to.type);
  for (let q = lo; q <= hi; q++) {
    const steps = f(from.scale * (q - from.zeroPoint)) / to.scale;
    const v = Math.max(least - to.zeroPoint, Math.min(most - to.zeroPoint, Number.isNaN(steps) ? 0 : roundEven(steps)));
    table[q & 255] = into === 'panels' ? v : v + to.zeroPoint;
  }
  return table;
}
