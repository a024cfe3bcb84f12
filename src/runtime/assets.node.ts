// Node and Bun: the wasm lies beside the bundle and is read from disk.

import type { WasmSource } from '../kernel/instance.ts';
import type { Isa } from '../kernel/isa.ts';

export async function wasmAsset(isa: Isa): Promise<WasmSource> {
  const { readFile } = await import('node:fs/promises');
  // Two literals, so that bundlers see both files.
  return readFile(
    isa === 'relaxed'
      ? new URL('./wasm/sparsimd.relaxed.wasm', import.meta.url)
      : new URL('./wasm/sparsimd.simd128.wasm', import.meta.url),
  );
}

/** Reads a model by path or URL. */
export async function readSource(source: string | URL, signal?: AbortSignal): Promise<Response | Uint8Array> {
  const url = typeof source === 'string' && /^(https?|data|blob):/.test(source) ? new URL(source) : source;
  if (url instanceof URL && url.protocol !== 'file:') return fetch(url, { signal: signal ?? null });
  const { readFile } = await import('node:fs/promises');
  return readFile(url, { signal });
}
