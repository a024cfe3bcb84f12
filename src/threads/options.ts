/** What was asked for, and what the host can give. Small: it is part of the core, the pool is not. */
import { ArgumentRangeError, ArgumentTypeError } from '../errors.ts';
import type { ThreadHost } from './host.ts';

/** More would not fit the time it takes to share work out. */
export const MAX_THREADS = 64;
/** 'auto' takes no more: the kernels are bound by shared caches and memory sooner. */
const AUTO_THREADS = 8;

/**
 * The number of threads to try, with the reason.
 * @throws ArgumentTypeError, ArgumentRangeError for anything but 'auto' and the integers 1 to 64
 */
export async function wantedThreads(
  threads: unknown,
  host: ThreadHost | string,
): Promise<{ threads: number; why: string }> {
  if (threads === undefined) return { threads: 1, why: 'not asked for more' };
  if (threads !== 'auto' && typeof threads !== 'number') {
    throw new ArgumentTypeError('threads', "'auto' or an integer", threads);
  }
  if (threads !== 'auto' && !(Number.isInteger(threads) && threads >= 1 && threads <= MAX_THREADS)) {
    throw new ArgumentRangeError('threads', `'auto' or an integer from 1 to ${MAX_THREADS}`, threads);
  }
  if (threads === 1) return { threads, why: 'asked for' };
  const missing = typeof host === 'string' ? host : cannotShare();
  if (missing) return { threads: 1, why: missing };
  if (threads !== 'auto') return { threads, why: 'asked for' };
  const hardware = globalThis.navigator?.hardwareConcurrency ?? (await (host as ThreadHost).hardware?.()) ?? 1;
  return { threads: Math.min(hardware, AUTO_THREADS), why: `the machine has ${hardware} hardware threads` };
}

/** Why memory cannot be shared with workers here, if it cannot. */
function cannotShare(): string | undefined {
  const { crossOriginIsolated, SharedArrayBuffer: shared } = globalThis as typeof globalThis & {
    SharedArrayBuffer?: unknown;
  };
  // Node has no such flag.
  if (shared === undefined || crossOriginIsolated === false) {
    return (
      'the page is not cross-origin isolated: it needs the headers Cross-Origin-Opener-Policy: same-origin and ' +
      'Cross-Origin-Embedder-Policy: require-corp'
    );
  }
  return undefined;
}
