/**
 * What an SpMM kernel will take: two numbers a kernel, measured on the running engine. Which kernel is fastest differs
 * between JavaScript engines by up to a factor of two (V8, SpiderMonkey and JavaScriptCore), so nothing is assumed where it can be
 * measured.
 */
import { OutOfMemoryError } from '../errors.ts';
import { blocksOf, packSpmm, type SpmmCounts } from '../pack/spmm.ts';
import type { Isa } from './isa.ts';
import { spmmCalls } from './spmm.ts';
import { SPMM, type Variant } from './tiles.ts';

/** Nanoseconds. */
export interface VariantCost {
  readonly perCall: number;
  /** For each group of rows, tile of columns and block of inputs: loop entry, clamp and store. */
  readonly perRow: number;
  /** For each stored index (dense: input of a group) and tile of columns. */
  readonly perIndex: number;
}

export type CostTable = ReadonlyMap<string, VariantCost>;

const table = (rows: Record<string, readonly [perRow: number, perIndex: number]>): CostTable =>
  new Map(Object.entries(rows).map(([k, [perRow, perIndex]]) => [`f32_${k}`, { perCall: 100, perRow, perIndex }]));

/** Measured by calibrate() on Node 20 (simd128) and Node 24 (relaxed), Zen 4 at 3.7 GHz; for engines whose clock stands still. */
export const DEFAULT_COSTS: Readonly<Record<Isa, CostTable>> = {
  simd128: table({
    csr_spmm_32x1: [3.6, 1.67],
    csr_spmm_16x1: [3.3, 0.93],
    group2_spmm_16x2: [3.8, 1.43],
    group2_spmm_24x2: [8, 3.63],
    group4_spmm_8x4: [4.9, 1.43],
    dense_spmm_8x4: [4.1, 1.38],
    dense_spmm_16x2: [3.4, 1.39],
    dense_spmm_8x6: [7, 3.32],
  }),
  relaxed: table({
    csr_spmm_32x1: [3.2, 1.31],
    csr_spmm_16x1: [2.3, 0.69],
    group2_spmm_16x2: [2.7, 1.19],
    group2_spmm_24x2: [4.5, 1.68],
    group4_spmm_8x4: [3, 1.19],
    dense_spmm_8x4: [2.7, 1.18],
    dense_spmm_16x2: [2.1, 1.19],
    dense_spmm_8x6: [4.5, 1.65],
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
  const blocks = blocksOf(cols, format, counts.csr.stored / (rows * cols));
  return blocks * cost.perCall + tilesOf(variant, columns) * (blocks * groups * cost.perRow + indices * cost.perIndex);
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

/** The shapes that are measured: rows x cols with so many inputs a group. Short rows take more, or calling counts too. */
const ROWS = { 4: 96, 128: 24 };
const COLS = 256;
const SHORT = 4;
const LONG = 128;
const COLUMNS = 96;
const X_STRIDE = COLS * 64 + 64;
const Y_STRIDE = ROWS[SHORT] * 64 + 64;

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

/** Engines differ in one kernel against another by so much at most (measured on three engines, with room to spare). */
const SPREAD = 1.7;
/** Kernels that may differ by more: the two with twelve accumulators spill where an engine has fewer registers. */
const MAX_ODD = 2;

/** What each kernel took against its built-in cost, over the median of that: 1 where only the machine is slower or faster. */
function oddness(measured: CostTable, builtIn: CostTable): { pace: number; odd: number } {
  const paces = [...measured].map(([name, c]) => c.perIndex / builtIn.get(name)!.perIndex).sort((a, b) => a - b);
  const pace = paces[paces.length >> 1];
  return { pace, odd: paces.filter((p) => p > pace * SPREAD || p < pace / SPREAD).length };
}

/**
 * Measured costs, each kept within SPREAD of the built-in one at this machine's pace. A kernel that was interrupted, or not
 * yet optimised, at every try must not look so slow that a dense kernel is taken for a layer of 80 % zeros.
 */
export function tempered(measured: CostTable, builtIn: CostTable): CostTable {
  const { pace } = oddness(measured, builtIn);
  const keep = (value: number, usual: number) =>
    Math.min(Math.max(value, (usual * pace) / SPREAD), usual * pace * SPREAD);
  return new Map(
    [...measured].map(([name, { perCall, perRow, perIndex }]) => {
      const usual = builtIn.get(name)!;
      return [name, { perCall, perRow: keep(perRow, usual.perRow), perIndex: keep(perIndex, usual.perIndex) }];
    }),
  );
}

/** A try at the costs of an engine. */
export interface Calibration {
  /** The built-in costs where the clock stands still or is too coarse. Undefined: a busy machine, or a single core. */
  readonly costs: CostTable | undefined;
  /** What the kernels took at first, for the next try. */
  readonly early?: readonly number[];
}

/**
 * The costs of the kernels on this engine, unless the optimising compiler had not replaced the first code in time: that was
 * not seen, or not over, or several kernels are oddly slow. First code makes other kernels look best, 8x6 for one on Node 20,
 * where it takes twice as long as 8x4 once both are optimised.
 * @param early from an earlier try: a kernel that is faster now has been optimised since
 * @param budget milliseconds
 */
export function calibrate(engine: Calibrated, early?: readonly number[], now?: () => number, budget = 45): Calibration {
  const builtIn = DEFAULT_COSTS[engine.info.isa];
  let measured: ReturnType<typeof measure>;
  try {
    measured = measure(engine, early, now, budget);
  } catch (error) {
    // 200 KB that a tight limit leaves for the model, not for this.
    if (error instanceof OutOfMemoryError) return { costs: undefined };
    throw error;
  }
  if (!measured) return { costs: builtIn };
  const busy = !measured.settled || oddness(measured.costs, builtIn).odd > MAX_ODD;
  return { costs: busy ? undefined : tempered(measured.costs, builtIn), early: measured.early };
}

/**
 * Measures every SpMM kernel on this engine: a matrix of short rows and one of long rows each, in turn, and keeps the best
 * time of each, which comes after the optimising compiler has replaced the first code.
 * @param budget milliseconds
 * @returns undefined where the clock stands still or is too coarse; settled: most kernels were seen to become faster, as they
 *   do when optimised code replaces the first, and none near the end
 */
export function measure(
  engine: Calibrated,
  early?: readonly number[],
  now: () => number = () => performance.now(),
  budget = 45,
): { costs: CostTable; early: number[]; settled: boolean } | undefined {
  const start = now();
  const { arena } = engine;
  const variants = SPMM.filter((v) => v.op === 'spmm');
  const blocks: number[] = [];
  const alloc = (bytes: number) => {
    const at = arena.alloc(bytes);
    blocks.push(at);
    return at;
  };
  try {
    const x = alloc((X_STRIDE * COLUMNS) / 16);
    const y = alloc((Y_STRIDE * COLUMNS) / 16);
    // Zeros: multiplying them takes no other time, and no garbage that memory may hold makes slow denormals.
    arena.view('uint8', x, (X_STRIDE * COLUMNS) / 16).fill(0);
    const runs = variants.flatMap((v) =>
      ([SHORT, LONG] as const).map((inputs) => {
        const rows = ROWS[inputs];
        const cols = v.format === 'dense' ? inputs : COLS;
        const weights = new Float32Array(rows * cols);
        // Scattered, differently in each row, but so many in each (7 and cols have no common factor).
        for (let i = 0; i < weights.length; i++) {
          const [r, k] = [Math.floor(i / cols / v.channels), i % cols];
          if ((7 * k + 5 * r) % cols < inputs) weights[i] = 1;
        }
        const packed = packSpmm(weights, rows, cols, v);
        const at = alloc(packed.bytes);
        arena.view('uint8', at, packed.bytes).set(packed.data);
        const calls = spmmCalls(packed, at, {
          x,
          xPanelStride: X_STRIDE,
          y,
          yPanelStride: Y_STRIDE,
          yChannelStride: 64,
          columns: COLUMNS,
          min: Number.NEGATIVE_INFINITY,
          max: Number.POSITIVE_INFINITY,
        });
        const run = () => {
          // Not csr's kernel of short rows, which has no costs: rows of 3 nonzeros are predicted up to a quarter too slow. With
          // their true time csr would be taken where groups of 2 are 10 % faster (96x16x12544 at 80 % in groups), which are
          // predicted too slow as well.
          for (const c of calls) engine.kernels[v.name](...c.args);
        };
        return { run, early: Number.POSITIVE_INFINITY, best: Number.POSITIVE_INFINITY };
      }),
    );
    const tick = resolution(now);
    const span = Math.max(0.02, 10 * tick);
    if (!(span * runs.length < budget)) return undefined;
    // The optimising compiler takes the kernels one after the other, each in its time: on two quiet cores it is done by then.
    let settled = start;
    let round = 0;
    do {
      round++;
      for (const r of runs) {
        let from = now();
        if (tick > 0.005) for (const edge = from; from === edge; ) from = now();
        let n = 0;
        let spent = 0;
        for (; spent < span; n++) {
          r.run();
          spent = now() - from;
        }
        const ns = (spent * 1e6) / n;
        if (ns < 0.8 * r.best) settled = now();
        r.best = Math.min(r.best, ns);
        // The first round compiles, in some engines.
        if (round === 2) r.early = ns;
      }
    } while (now() - start < budget);
    const costs = new Map(
      variants.map((v, i): [string, VariantCost] => {
        const [short, long] = [runs[2 * i].best, runs[2 * i + 1].best];
        // Nanoseconds of a group and tile with few inputs, and with many.
        const [few, many] = ([SHORT, LONG] as const).map(
          (inputs) => (inputs === SHORT ? short : long) / ((tilesOf(v, COLUMNS) * ROWS[inputs]) / v.channels),
        );
        const perIndex = Math.max((many - few) / (LONG - SHORT), 0.01);
        return [v.name, { perCall: 100, perRow: Math.max(few - SHORT * perIndex, 0), perIndex }];
      }),
    );
    const optimised = runs.filter((r, i) => r.best < 0.75 * (early?.[i] ?? r.early)).length;
    return {
      costs,
      early: runs.map((r, i) => Math.max(r.early, early?.[i] ?? 0)),
      settled: now() - settled > budget / 5 && optimised >= 0.75 * runs.length,
    };
  } finally {
    for (const at of blocks) arena.release(at);
  }
}
