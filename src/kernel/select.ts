/** The kernel of a weight matrix, chosen once a layer by predicted time. */
import { countSpmm } from '../pack/spmm.ts';
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
  /** Zeros in the matrix. */
  readonly zeros: number;
}

/** What choosing needs of an engine. */
interface Chooser extends Calibrated {
  readonly info: Calibrated['info'] & { readonly deterministic: boolean };
}

/** Measured once per process and instruction set: the engine is the same for all. */
const measured = new Map<Isa, CostTable>();

/** The costs on an engine, measured the first time, in 50 ms. */
function measuredCosts(engine: Chooser): CostTable {
  let costs = measured.get(engine.info.isa);
  if (!costs) measured.set(engine.info.isa, (costs = calibrate(engine)));
  return costs;
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
  const zeros = rows * cols - counts.csr.stored;
  const kernels = VARIANTS.filter((v) => v.op === 'spmm');
  const cost = (costs: CostTable) =>
    kernels
      .map((v) => ({
        variant: v.name,
        format: v.format!,
        lanes: v.lanes as Choice['lanes'],
        ns: predict(costs.get(v.name)!, v, counts, columns),
      }))
      .sort((a, b) => a.ns - b.ns);
  const best = (list: ReturnType<typeof cost>) => list.find((c) => c.format === 'dense' || (zeros > 0 && !denseOnly))!;
  const dense = (list: ReturnType<typeof cost>) => list.find((c) => c.format === 'dense')!;
  const builtIn = cost(DEFAULT_COSTS[engine.info.isa]);
  const ranked =
    engine.info.deterministic || dense(builtIn).ns < WORTH_MEASURING ? builtIn : cost(measuredCosts(engine));
  return { ...best(ranked), denseNs: dense(ranked).ns, zeros };
}
