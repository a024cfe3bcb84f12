/**
 * What a model needs: operators, inference, passes, the choice of formats, lowering, plans. A chunk of its own, fetched with
 * the first model, so that the engine alone stays small; the rest of the package knows it by type only.
 */
export { chooseFew } from '../kernel/few.ts';
export { chooseFormat } from '../kernel/select.ts';
export { OPS } from '../ops/index.ts';
export { ancestorsOf, checkInputs, NeedsValue, opOf, specialize } from './infer.ts';
export { host } from './lower/host.ts';
export { optimise } from './passes.ts';
export { Plans } from './plans.ts';

export type Prepare = typeof import('./prepare.ts');
