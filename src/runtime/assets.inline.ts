// For `file:` pages and webviews that cannot fetch beside themselves: the wasm travels inside the script, as base64.

// @ts-expect-error: a virtual module of scripts/build.mjs
import { relaxed, simd128 } from 'inlined-wasm';
import type { WasmSource } from '../kernel/instance.ts';
import type { Isa } from '../kernel/isa.ts';

export async function wasmAsset(isa: Isa): Promise<WasmSource> {
  return Uint8Array.from(atob(isa === 'relaxed' ? relaxed : simd128), (c) => c.charCodeAt(0));
}

/** Why there are no threads. */
export const threads = 'sparsimd/inline has no file to start a worker from';

export { fetchSource as readSource } from './fetch.ts';
