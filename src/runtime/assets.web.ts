// Browsers, webviews and Deno: the wasm lies beside the bundle and is fetched when first needed, never at import.

import type { WasmSource } from '../kernel/instance.ts';
import type { Isa } from '../kernel/isa.ts';

export async function wasmAsset(isa: Isa): Promise<WasmSource> {
  // Two literals, so that bundlers see both files.
  return isa === 'relaxed'
    ? new URL('./wasm/sparsimd.relaxed.wasm', import.meta.url)
    : new URL('./wasm/sparsimd.simd128.wasm', import.meta.url);
}

export { fetchSource as readSource } from './fetch.ts';
