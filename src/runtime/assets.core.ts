// For other hosts: nothing is loaded by itself, the module is handed in as { wasm }.
import { UnsupportedError } from '../errors.ts';
import type { WasmSource } from '../kernel/instance.ts';
import type { Isa } from '../kernel/isa.ts';

export async function wasmAsset(isa: Isa): Promise<WasmSource> {
  throw new UnsupportedError(`sparsimd/core loads no WebAssembly by itself: hand in { wasm } (sparsimd.${isa}.wasm)`);
}

/** Why there are no threads. */
export const threads = 'sparsimd/core has no file to start a worker from';

export { fetchSource as readSource } from './fetch.ts';
