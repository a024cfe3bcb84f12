/** The kernel of a weight matrix, chosen once a layer by predicted time. */
import { countSpmm, type SpmmCounts } from '../pack/spmm.ts';
import { type Calibrated, type Calibration, type CostTable, calibrate, DEFAULT_COSTS, predict } from './cost.ts';
import type { Isa } from './isa.ts';
import { SPMM } from './tiles.ts';

export interface Choice {
  /** Kernel name of the SpMM variant, its weight format and its panel lanes. */
  readonly variant: string;
  readonly format: string;
  readonly lanes: 8 | 16 | 32;
  /** Predicted time of the choice and of the best dense kernel, ns. */
  readonly ns: number;
  readonly denseNs: number;
  /** Predicted time of the best kernel of each format, ns. */
  readonly formats: Readonly<Record<string, number>>;
  /** Predicted time if as many zeros lay in groups of 4 output channels, ns. */
  readonly groupedNs: number;
  /** Zeros in the matrix. */
  readonly zeros: number;
}

/** What choosing needs of an engine. */
interface Chooser extends Calibrated {
  readonly info: Calibrated['info'] & { readonly deterministic: boolean };
}

/** Measured once per process and instruction set, since the engine is the same for all; a few tries on a busy machine. */
const tries = new Map<Isa, Calibration & { count: number; at: number }>();
const MAX_TRIES = 3;
/** Milliseconds between tries: one for a model at most. */
const PAUSE = 1000;

/** The costs on an engine, measured the first time, in 50 ms; the built-in ones while measuring fails. */
function measuredCosts(engine: Chooser): CostTable {
  const { isa } = engine.info;
  let last = tries.get(isa);
  const { count = 0, at = Number.NEGATIVE_INFINITY } = last ?? {};
  if (!last?.costs && count < MAX_TRIES && performance.now() - at > PAUSE) {
    last = { ...calibrate(engine, last?.early), count: count + 1, at: performance.now() };
    tries.set(isa, last);
  }
  return last?.costs ?? DEFAULT_COSTS[isa];
}

/** Below this many ns a layer's choice matters less than the time it takes to measure. */
const WORTH_MEASURING = 20_000;

/** Which formats may be chosen: all, dense only, sparse ones only. */
export type Formats = 'all' | 'dense' | 'sparse';

/**
 * The fastest kernel for a weight matrix [rows][cols] and `columns` pixels or tokens. Predicted from measured costs; from
 * built-in ones where the engine must be deterministic or the layer is tiny.
 * @param formats without a zero, `all` means dense
 * @param runs so many products of `columns` each
 */
export function chooseFormat(
  engine: Chooser,
  formats: Formats,
  weights: Float32Array,
  rows: number,
  cols: number,
  columns: number,
  runs = 1,
): Choice {
  const counts = countSpmm(weights, rows, cols);
  const nonzeros = counts.csr.stored;
  const zeros = rows * cols - nonzeros;
  const kernels = SPMM.filter((v) => v.op === 'spmm');
  const rank = (costs: CostTable, of: SpmmCounts) =>
    kernels
      .map((v) => ({
        variant: v.name,
        format: v.format!,
        lanes: v.lanes as Choice['lanes'],
        ns: runs * predict(costs.get(v.name)!, v, of, columns),
      }))
      .sort((a, b) => a.ns - b.ns);
  const dense = (list: ReturnType<typeof rank>) => list.find((c) => c.format === 'dense')!;
  const builtIn = rank(DEFAULT_COSTS[engine.info.isa], counts);
  const trusted = engine.info.deterministic || dense(builtIn).ns < WORTH_MEASURING;
  const costs = trusted ? DEFAULT_COSTS[engine.info.isa] : measuredCosts(engine);
  const ranked = trusted ? builtIn : rank(costs, counts);
  const grouped: SpmmCounts = {
    ...counts,
    group2: { stored: nonzeros, indices: nonzeros / 2 },
    group4: { stored: nonzeros, indices: nonzeros / 4 },
  };
  const best = {
    all: zeros > 0 ? ranked[0] : dense(ranked),
    dense: dense(ranked),
    sparse: ranked.find((c) => c.format !== 'dense')!,
  };
  return {
    ...best[formats],
    denseNs: dense(ranked).ns,
    formats: Object.fromEntries([...ranked].reverse().map((c) => [c.format, c.ns])),
    groupedNs: rank(costs, grouped)[0].ns,
    zeros,
  };
}
