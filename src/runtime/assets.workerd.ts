// Edge workers forbid compiling bytes: the modules are imported statically and arrive compiled.

import type { WasmSource } from '../kernel/instance.ts';
import type { Isa } from '../kernel/isa.ts';
// @ts-expect-error: resolved by the worker's bundler, kept external by ours
import relaxed from './wasm/sparsimd.relaxed.wasm';
// @ts-expect-error: as above
import simd128 from './wasm/sparsimd.simd128.wasm';

export async function wasmAsset(isa: Isa): Promise<WasmSource> {
  return isa === 'relaxed' ? relaxed : simd128;
}

/** Why there are no threads. */
export const threads = 'edge workers have no threads';

export { fetchSource as readSource } from './fetch.ts';
