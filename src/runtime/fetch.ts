/** Reads a model by URL; a relative one is relative to the page. */
export async function fetchSource(source: string | URL, signal?: AbortSignal): Promise<Response | Uint8Array> {
  return fetch(source, { signal: signal ?? null });
}
