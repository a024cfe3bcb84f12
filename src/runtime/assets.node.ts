// Node and Bun: the wasm lies beside the chunks and is read from disk.

import type { WasmSource } from '../kernel/instance.ts';
import type { Isa } from '../kernel/isa.ts';
import type { ThreadHost, WorkerEvents, WorkerHandle } from '../threads/host.ts';
import type { WorkerStart } from '../threads/worker.ts';
import { failed, fetchSource } from './fetch.ts';

export async function wasmAsset(isa: Isa): Promise<WasmSource> {
  // Two literals, so that bundlers see both files.
  return readFile(
    isa === 'relaxed'
      ? new URL('../wasm/sparsimd.relaxed.wasm', import.meta.url)
      : new URL('../wasm/sparsimd.simd128.wasm', import.meta.url),
  );
}

export const threads: ThreadHost = {
  wasm: (isa) =>
    readFile(
      isa === 'relaxed'
        ? new URL('../wasm/sparsimd.relaxed-threads.wasm', import.meta.url)
        : new URL('../wasm/sparsimd.simd128-threads.wasm', import.meta.url),
    ),
  async hardware() {
    return (await import('node:os')).availableParallelism();
  },
  start: (data, on) => startWorker(new URL('../worker.node.js', import.meta.url), data, on),
};

export async function startWorker(script: URL, data: WorkerStart, on: WorkerEvents): Promise<WorkerHandle> {
  const { Worker } = await import('node:worker_threads');
  // Options of the process (loaders, inspectors) are not for a script that needs none.
  const worker = new Worker(script, { workerData: data, execArgv: [] });
  worker.once('message', () => {
    // Only now: until then the process has to wait for it.
    worker.unref();
    on.ready();
  });
  worker.once('error', (error) => on.ended(String(error)));
  worker.once('exit', (code) => on.ended(`it ended with code ${code}`));
  return worker;
}

/** Reads a model by path or URL. @throws AssetError where that fails; what `signal` was aborted with */
export async function readSource(source: string | URL, signal?: AbortSignal): Promise<Response | Uint8Array> {
  const scheme = String(source)
    .match(/^(https?|data|blob|file):/i)?.[1]
    .toLowerCase();
  if (scheme && scheme !== 'file') return fetchSource(source, signal);
  return readFile(scheme ? new URL(source) : source, signal).catch((cause) => failed('read', source, cause, signal));
}

async function readFile(path: string | URL, signal?: AbortSignal): Promise<Uint8Array> {
  // An import of node:fs loads its streams too, and one of node:fs/promises loads readline in Node 24: 2 ms each.
  const fs = process.getBuiltinModule?.('node:fs') ?? (await import('node:fs'));
  return new Promise((resolve, reject) => {
    fs.readFile(path, { signal }, (error, bytes) => (error ? reject(error) : resolve(bytes)));
  });
}
