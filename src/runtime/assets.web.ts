// Browsers and webviews: the wasm lies beside the chunks and is fetched when first needed, never at import.

import type { WasmSource } from '../kernel/instance.ts';
import type { Isa } from '../kernel/isa.ts';
import type { ThreadHost } from '../threads/host.ts';

export async function wasmAsset(isa: Isa): Promise<WasmSource> {
  // Two literals, so that bundlers see both files.
  return isa === 'relaxed'
    ? new URL('../wasm/sparsimd.relaxed.wasm', import.meta.url)
    : new URL('../wasm/sparsimd.simd128.wasm', import.meta.url);
}

export const threads: ThreadHost = {
  async wasm(isa) {
    return isa === 'relaxed'
      ? new URL('../wasm/sparsimd.relaxed-threads.wasm', import.meta.url)
      : new URL('../wasm/sparsimd.simd128-threads.wasm', import.meta.url);
  },
  start(data, on) {
    const worker = new Worker(new URL('../worker.js', import.meta.url), { type: 'module', name: 'sparsimd' });
    worker.onmessage = on.ready;
    worker.onerror = (event) => {
      // Deno ends the process for an error that nobody handled.
      event.preventDefault();
      on.ended(event.message || 'its script could not be loaded');
    };
    worker.postMessage(data);
    return worker;
  },
};

export { fetchSource as readSource } from './fetch.ts';
