// Runs an SpMM variant on feature-major data: packs the weights, lays X out in panels whose dead lanes and padding hold NaN,
// and reads Y back from panels or from plain rows.
import { spmmCalls } from '../../src/kernel/spmm.ts';
import { VARIANTS, type Variant } from '../../src/kernel/variants.ts';
import { PANEL_LANES as L, type PackedSpmm, packSpmm } from '../../src/pack/spmm.ts';
import type { Bench } from './kernels.ts';

export const spmmVariants = (format?: string): Variant[] =>
  VARIANTS.filter((v) => v.op === 'spmm' && (!format || v.format === format));

export interface Product {
  rows: number;
  cols: number;
  columns: number;
  /** [cols][columns] */
  x: Float32Array;
  bias?: Float32Array;
  min?: number;
  max?: number;
  /** Y in panels (default) or plain rows, to which a kernel must write no lane too many. */
  plain?: boolean;
  /** Extra bytes between panels, a multiple of 64. */
  pad?: number;
}

/** Y[rows][columns]. Throws when a kernel touched bytes it does not own. */
export function runSpmm(bench: Bench, variant: Variant, w: Float32Array | PackedSpmm, p: Product): Float32Array {
  bench.reset();
  const { rows, cols, columns, pad = 64 } = p;
  const packed = w instanceof Float32Array ? packSpmm(w, rows, cols, variant, p.bias) : w;
  const panels = Math.ceil(columns / L);
  const xPanelStride = cols * 4 * L + pad;
  const x = bench.alloc(panels * xPanelStride, 'X');
  const yPanelStride = p.plain ? 4 * L : rows * 4 * L + pad;
  const yChannelStride = p.plain ? 4 * columns : 4 * L;
  const y = bench.alloc(p.plain ? rows * columns * 4 : panels * yPanelStride, 'Y');
  const at = bench.put(packed.data, 'weights');
  const X = bench.f32(x, (panels * xPanelStride) / 4).fill(Number.NaN);
  for (let k = 0; k < cols; k++) {
    for (let c = 0; c < columns; c++) {
      X[(Math.floor(c / L) * xPanelStride) / 4 + k * L + (c % L)] = p.x[k * columns + c];
    }
  }
  const io = {
    x,
    xPanelStride,
    y,
    yPanelStride,
    yChannelStride,
    columns,
    min: p.min ?? -Infinity,
    max: p.max ?? Infinity,
  };
  for (const { kernel, args } of spmmCalls({ ...packed, data: new Uint8Array(0) }, at, io))
    bench.exports[kernel](...args);
  bench.check();
  const bytes = p.plain ? rows * columns * 4 : panels * yPanelStride;
  const Y = bench.f32(y, bytes / 4);
  const canaries = new Uint8Array(bench.memory.buffer, y, bytes);
  const out = new Float32Array(rows * columns);
  const owned = new Uint8Array(bytes / 4);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const i = (Math.floor(c / L) * yPanelStride + r * yChannelStride) / 4 + (c % L);
      out[r * columns + c] = Y[i];
      owned[i] = 1;
    }
  }
  // Dead lanes and padding keep the bytes they had.
  owned.forEach((mine, i) => {
    if (!mine && canaries[4 * i] !== 0xc5)
      throw new Error(`${variant.name} wrote a dead lane or padding, float ${i} of Y`);
  });
  return out;
}

/** The largest allowed error of a sum of n products of numbers below 1. */
export const tolerance = (n: number): number => 1e-5 * Math.sqrt(n) + 1e-6;

/** Throws unless equal within `tol`; NaN equals NaN, infinities equal themselves. */
export function expectClose(got: ArrayLike<number>, expected: ArrayLike<number>, tol: number, what = ''): void {
  if (got.length !== expected.length) throw new Error(`${what}: ${got.length} values, expected ${expected.length}`);
  for (let i = 0; i < got.length; i++) {
    if (!Object.is(got[i], expected[i]) && !(Math.abs(got[i] - expected[i]) <= tol)) {
      throw new Error(`${what}[${i}]: got ${got[i]}, expected ${expected[i]}`);
    }
  }
}
