// What `#assets` is under vitest: sources run unbundled, so the built wasm lies elsewhere.
import { readFile } from 'node:fs/promises';
import type { Isa } from '../../src/kernel/isa.ts';

export const wasmAsset = (isa: Isa) => readFile(new URL(`../../dist/wasm/sparsimd.${isa}.wasm`, import.meta.url));

export { readSource } from '../../src/runtime/assets.node.ts';
