/** Which weight format and kernel a layer gets: predicted times from costs measured on the running engine. */
import type { Engine } from '../engine.ts';
import { calibrate, DEFAULT_COSTS, predict, type VariantCost } from '../kernel/cost.ts';
import type { Isa } from '../kernel/isa.ts';
import { VARIANTS } from '../kernel/variants.ts';
import { countSpmm } from '../pack/spmm.ts';
import type { Choice } from './lower/types.ts';
import type { Lanes } from './place.ts';

export type CostTable = ReadonlyMap<string, VariantCost>;

/** Measured once per process and instruction set: the engine is the same for all. */
const measured = new Map<Isa, CostTable>();

/** The costs for an engine: measured (about 50 ms the first time), or built in when results must not depend on a clock. */
export function costsOf(engine: Engine): CostTable {
  const { isa, deterministic } = engine.info;
  if (deterministic) return DEFAULT_COSTS[isa];
  let costs = measured.get(isa);
  if (!costs) measured.set(isa, (costs = calibrate(engine)));
  return costs;
}

/** Every SpMM kernel's predicted time on a matrix, for `columns` pixels or tokens. */
export function predictAll(
  costs: CostTable,
  weights: Float32Array,
  rows: number,
  cols: number,
  columns: number,
): Omit<Choice, 'denseNs'>[] {
  const counts = countSpmm(weights, rows, cols);
  return VARIANTS.filter((v) => v.op === 'spmm').map((v) => ({
    variant: v.name,
    format: v.format!,
    lanes: v.lanes as Lanes,
    zeros: rows * cols - counts.csr.stored,
    ns: predict(costs.get(v.name)!, v, counts, columns),
  }));
}
