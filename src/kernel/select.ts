/** The kernel of a weight matrix, chosen once a layer by predicted time. */
import { countSpmm, type SpmmCounts } from '../pack/spmm.ts';
import { type Calibrated, type CostTable, calibrate, DEFAULT_COSTS, predict } from './cost.ts';
import type { Isa } from './isa.ts';
import { VARIANTS } from './variants.ts';

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

/** Measured once per process and instruction set: the engine is the same for all. */
const measured = new Map<Isa, CostTable>();
/** Calibrations that a busy machine spoiled; after a few the built-in costs stay. */
let spoiled = 0;
const MAX_SPOILED = 3;

/** The costs on an engine, measured the first time, in 50 ms; the built-in ones while measuring fails. */
function measuredCosts(engine: Chooser): CostTable {
  const { isa } = engine.info;
  let costs = measured.get(isa);
  if (!costs && spoiled < MAX_SPOILED) {
    costs = calibrate(engine);
    if (costs) measured.set(isa, costs);
    else spoiled++;
  }
  return costs ?? DEFAULT_COSTS[isa];
}

/** Below this many ns a layer's choice matters less than the time it takes to measure. */
const WORTH_MEASURING = 20_000;

/**
 * The fastest kernel for a weight matrix [rows][cols] and `columns` pixels or tokens. Predicted from measured costs; from
 * built-in ones where the engine must be deterministic or the layer is tiny.
 * @param denseOnly leaves the sparse formats out; without a zero they are out anyway
 */
export function chooseFormat(
  engine: Chooser,
  denseOnly: boolean,
  weights: Float32Array,
  rows: number,
  cols: number,
  columns: number,
): Choice {
  const counts = countSpmm(weights, rows, cols);
  const nonzeros = counts.csr.stored;
  const zeros = rows * cols - nonzeros;
  const kernels = VARIANTS.filter((v) => v.op === 'spmm');
  const rank = (costs: CostTable, of: SpmmCounts) =>
    kernels
      .map((v) => ({
        variant: v.name,
        format: v.format!,
        lanes: v.lanes as Choice['lanes'],
        ns: predict(costs.get(v.name)!, v, of, columns),
      }))
      .sort((a, b) => a.ns - b.ns);
  const dense = (list: ReturnType<typeof rank>) => list.find((c) => c.format === 'dense')!;
  const builtIn = rank(DEFAULT_COSTS[engine.info.isa], counts);
  const trusted = engine.info.deterministic || dense(builtIn).ns < WORTH_MEASURING;
  const costs = trusted ? DEFAULT_COSTS[engine.info.isa] : measuredCosts(engine);
  const ranked = trusted ? builtIn : rank(costs, counts);
  const best = zeros > 0 && !denseOnly ? ranked[0] : dense(ranked);
  const grouped: SpmmCounts = {
    ...counts,
    group2: { stored: nonzeros, indices: nonzeros / 2 },
    group4: { stored: nonzeros, indices: nonzeros / 4 },
  };
  return {
    ...best,
    denseNs: dense(ranked).ns,
    formats: Object.fromEntries([...ranked].reverse().map((c) => [c.format, c.ns])),
    groupedNs: rank(costs, grouped)[0].ns,
    zeros,
  };
}
