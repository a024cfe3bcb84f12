/**
 * What a model needs: operators, inference, passes, the choice of formats, lowering, plans. A chunk of its own, fetched with
 * the first model, so that the engine alone stays small; the rest of the package knows it by type only.
 */
import { COMMON } from '../ops/common.ts';
import type { OpTable } from '../ops/types.ts';
import { branchesOf, type Graph } from './ir.ts';

export { chooseFew } from '../kernel/few.ts';
export { chooseFormat } from '../kernel/select.ts';
export { ancestorsOf, checkInputs, NeedsValue, opOf, specialize } from './infer.ts';
export { host } from './lower/host.ts';
export { optimise } from './passes.ts';
export { Plans } from './plans.ts';

/** This module, and the operators that the graph at hand needs. */
export type Prepare = typeof import('./prepare.ts') & { readonly ops: OpTable };

/** Whether a table holds every operator of a graph, its branches included. */
const covers = (ops: OpTable, { nodes }: Graph): boolean =>
  nodes.every(
    (node) =>
      (node.op === 'If' || Object.hasOwn(ops, node.op)) && branchesOf(node).every((branch) => covers(ops, branch)),
  );

/** Every operator a graph needs, if it is known at all. */
export async function opsFor(graph: Graph): Promise<OpTable> {
  if (covers(COMMON, graph)) return COMMON;
  const more = { ...COMMON, ...(await import('../ops/more.ts')).MORE };
  return covers(more, graph) ? more : { ...more, ...(await import('../ops/rare.ts')).RARE };
}
