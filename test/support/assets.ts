// What `#assets` is under vitest: sources run unbundled, so the built wasm and the worker script lie elsewhere.
import { readFile } from 'node:fs/promises';
import type { Isa } from '../../src/kernel/isa.ts';
import { threads as node, startWorker } from '../../src/runtime/assets.node.ts';
import type { ThreadHost } from '../../src/threads/host.ts';

const dist = (file: string) => new URL(`../../dist/${file}`, import.meta.url);

export const wasmAsset = (isa: Isa) => readFile(dist(`wasm/sparsimd.${isa}.wasm`));

export const threads: ThreadHost = {
  ...node,
  wasm: (isa) => readFile(dist(`wasm/sparsimd.${isa}-threads.wasm`)),
  start: (data, on) => startWorker(dist('worker.node.js'), data, on),
};

export { readSource } from '../../src/runtime/assets.node.ts';
