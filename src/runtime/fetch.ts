import { AssetError } from '../errors.ts';

/**
 * Reads a model by URL; a relative one is relative to the page.
 * @throws AssetError where nothing answers; what `signal` was aborted with
 */
export async function fetchSource(source: string | URL, signal?: AbortSignal): Promise<Response | Uint8Array> {
  return fetch(source, { signal: signal ?? null }).catch((cause) => failed('fetch', source, cause, signal));
}

/** Names what could not be had. */
export function failed(what: 'fetch' | 'read', source: string | URL, cause: unknown, signal?: AbortSignal): never {
  if (signal?.aborted) throw cause;
  throw new AssetError(`cannot ${what} ${source}: ${cause}`, { cause });
}
