/**
 * What an SpMM kernel will take: two numbers a kernel, measured on the running engine. Which kernel is fastest differs
 * between JavaScript engines by up to a factor of two (laboratory.md, section 6), so nothing is assumed where it can be
 * measured.
 */
import { packSpmm, type SpmmCounts } from '../pack/spmm.ts';
import type { Isa } from './isa.ts';
import { spmmCalls } from './spmm.ts';
import { VARIANTS, type Variant } from './variants.ts';

/** Nanoseconds. */
export interface VariantCost {
  readonly perCall: number;
  /** For each group of rows and tile of columns: bias, loop entry, clamp and store. */
  readonly perRow: number;
  /** For each stored index (dense: input of a group) and tile of columns. */
  readonly perIndex: number;
}

export type CostTable = ReadonlyMap<string, VariantCost>;

const table = (rows: Record<string, readonly [perRow: number, perIndex: number]>): CostTable =>
  new Map(Object.entries(rows).map(([k, [perRow, perIndex]]) => [`f32_${k}`, { perCall: 100, perRow, perIndex }]));

/** Measured on V8 (Node 20 simd128, Node 24 relaxed; Zen 4), for engines whose clock stands still. */
export const DEFAULT_COSTS: Readonly<Record<Isa, CostTable>> = {
  simd128: table({
    csr_spmm_32x1: [9, 2.4],
    csr_spmm_16x1: [5, 1.3],
    group2_spmm_16x2: [9, 2.1],
    group4_spmm_8x4: [10, 2.1],
    dense_spmm_8x4: [10, 2.0],
    dense_spmm_16x2: [9, 2.1],
    dense_spmm_8x6: [14, 5],
  }),
  relaxed: table({
    csr_spmm_32x1: [7, 1.9],
    csr_spmm_16x1: [4, 1.05],
    group2_spmm_16x2: [7, 1.55],
    group4_spmm_8x4: [8, 1.55],
    dense_spmm_8x4: [8, 1.5],
    dense_spmm_16x2: [7, 1.55],
    dense_spmm_8x6: [12, 2.2],
  }),
};

const tileLanes = (v: Variant): number => Number(/(\d+)x\d+$/.exec(v.name)![1]);

/** Tiles of columns; a narrow one costs more than its share of lanes. */
function tilesOf(v: Variant, columns: number): number {
  const lanes = tileLanes(v);
  const rest = columns % lanes;
  return (columns - rest) / lanes + (rest ? 0.25 + (0.75 * rest) / lanes : 0);
}

/**
 * Predicted time of a product, ns.
 * @param counts of the matrix, from countSpmm
 * @param columns pixels or tokens
 */
export function predict(cost: VariantCost, variant: Variant, counts: SpmmCounts, columns: number): number {
  const { rows, cols } = counts;
  const groups = Math.ceil(rows / variant.channels);
  const format = variant.format!;
  const indices = format === 'dense' ? groups * cols : counts[format].indices;
  return cost.perCall + tilesOf(variant, columns) * (groups * cost.perRow + indices * cost.perIndex);
}

/** What calibration needs of an engine. */
export interface Calibrated {
  readonly info: { readonly isa: Isa };
  readonly kernels: Readonly<Record<string, (...args: number[]) => unknown>>;
  readonly arena: {
    alloc(bytes: number): number;
    release(at: number): void;
    view(type: 'uint8', at: number, length: number): Uint8Array;
  };
}

/** Tiles of the shapes that are measured: rows x cols with so many inputs a group. */
const ROWS = 24;
const COLS = 256;
const SHORT = 4;
const LONG = 128;
const COLUMNS = 96;

/** Milliseconds between two values of a clock; Infinity when it stands still (Cloudflare's does during computation). */
function resolution(now: () => number): number {
  let least = Number.POSITIVE_INFINITY;
  let last = now();
  for (let i = 0; i < 20000; i++) {
    const t = now();
    if (t > last) least = Math.min(least, t - last);
    if (i > 200 && least < 0.02) break;
    last = t;
  }
  return least;
}

/**
 * Measures every SpMM kernel on this engine: a matrix of short rows and one of long rows each, in turn, and keeps the best
 * time of each, which comes after the optimising compiler has replaced the first code.
 * @param budget milliseconds
 * @returns the built-in costs where the clock stands still or is too coarse
 */
export function calibrate(engine: Calibrated, now: () => number = () => performance.now(), budget = 50): CostTable {
  const { arena } = engine;
  const variants = VARIANTS.filter((v) => v.op === 'spmm');
  const x = arena.alloc(COLS * 64 * (COLUMNS / 16));
  const y = arena.alloc(ROWS * 64 * (COLUMNS / 16));
  // Zeros: multiplying them takes no other time, and no garbage that memory may hold makes slow denormals.
  arena.view('uint8', x, COLS * 64 * (COLUMNS / 16)).fill(0);
  const blocks = [x, y];
  try {
    const runs = variants.flatMap((v) =>
      [SHORT, LONG].map((inputs) => {
        const cols = v.format === 'dense' ? inputs : COLS;
        const weights = new Float32Array(ROWS * cols);
        for (let r = 0; r < ROWS; r++) for (let i = 0; i < inputs; i++) weights[r * cols + (i * cols) / inputs] = 1;
        const packed = packSpmm(weights, ROWS, cols, v);
        const at = arena.alloc(packed.bytes);
        blocks.push(at);
        arena.view('uint8', at, packed.bytes).set(packed.data);
        const calls = spmmCalls(packed, at, {
          x,
          xPanelStride: COLS * 64,
          y,
          yPanelStride: ROWS * 64,
          yChannelStride: 64,
          columns: COLUMNS,
          min: Number.NEGATIVE_INFINITY,
          max: Number.POSITIVE_INFINITY,
        });
        const run = () => {
          for (const c of calls) engine.kernels[c.kernel](...c.args);
        };
        return { run, best: Number.POSITIVE_INFINITY };
      }),
    );
    const tick = resolution(now);
    const span = Math.max(0.02, 10 * tick);
    if (!(span * runs.length < budget)) return DEFAULT_COSTS[engine.info.isa];
    const end = now() + budget;
    do {
      for (const r of runs) {
        let from = now();
        if (tick > 0.005) for (const edge = from; from === edge; ) from = now();
        let n = 0;
        let spent = 0;
        for (; spent < span; n++) {
          r.run();
          spent = now() - from;
        }
        r.best = Math.min(r.best, (spent * 1e6) / n);
      }
    } while (now() < end);
    return new Map(
      variants.map((v, i) => {
        const [short, long] = [runs[2 * i].best, runs[2 * i + 1].best];
        const tiles = (tilesOf(v, COLUMNS) * ROWS) / v.channels;
        const perIndex = Math.max((long - short) / (LONG - SHORT) / tiles, 0.01);
        return [v.name, { perCall: 100, perRow: Math.max(short / tiles - SHORT * perIndex, 0), perIndex }];
      }),
    );
  } finally {
    for (const at of blocks) arena.release(at);
  }
}
