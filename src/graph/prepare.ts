/** What loading a model needs and running it does not: in a chunk of its own, fetched when the first model is loaded. */
export { OPS } from '../ops/index.ts';
export { optimise } from './passes.ts';
