/** From the number of threads asked for to a pool, or to the reason why there is none. */
import { ArgumentRangeError, ArgumentTypeError } from '../errors.ts';
import type { KernelInstance, WasmSource } from '../kernel/instance.ts';
import type { Isa } from '../kernel/isa.ts';
import type { ThreadHost } from './host.ts';
import { Pool } from './pool.ts';

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
  if (threads !== 'auto' && typeof threads !== 'number') {
    throw new ArgumentTypeError('threads', "'auto' or an integer", threads);
  }
  if (threads !== 'auto' && !(Number.isInteger(threads) && threads >= 1 && threads <= MAX_THREADS)) {
    throw new ArgumentRangeError('threads', `'auto' or an integer from 1 to ${MAX_THREADS}`, threads);
  }
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

const PAGE = 65536;
/** Reserved for the memory, unless more is asked for: phones fail on more, whatever is used of it. */
const DEFAULT_BYTES = 2 ** 30;

/** What an engine is made of when threads were asked for; with one thread, only why. */
export interface Team {
  readonly threads: number;
  readonly threadsWhy: string;
  /** The leader's, over the shared memory. */
  readonly instance?: KernelInstance;
  readonly maxBytes?: number;
  readonly pool?: Pool;
}

/**
 * Memory, the leader's instance, and workers that are ready.
 * @param load gives a module by name, from the asset or what the user handed in
 * @throws ArgumentTypeError, ArgumentRangeError for `threads`; AssetError when the module cannot be loaded or is another one
 */
export async function startTeam(
  asked: unknown,
  host: ThreadHost | string,
  isa: Isa,
  load: (name: string, asset: () => Promise<WasmSource>) => Promise<WebAssembly.Module>,
  instantiate: (module: WebAssembly.Module, isa: Isa, memory: WebAssembly.Memory) => Promise<KernelInstance>,
  maxBytes?: number,
): Promise<Team> {
  const { threads, why } = await wantedThreads(asked, host);
  const alone = (threadsWhy: string): Team => ({ threads: 1, threadsWhy });
  if (threads === 1 || typeof host === 'string') return alone(why);
  const module = await load(`${isa}-threads`, () => host.wasm(isa));
  if (!WebAssembly.Module.imports(module).some((i) => i.kind === 'memory')) {
    return alone(`the wasm handed in has a memory of its own: hand in sparsimd.${isa}-threads.wasm`);
  }
  const maximum = Math.max(1, Math.min(Math.floor((maxBytes ?? DEFAULT_BYTES) / PAGE), 65535));
  let memory: WebAssembly.Memory;
  try {
    memory = new WebAssembly.Memory({ initial: 1, maximum, shared: true });
  } catch (error) {
    return alone(`no shared memory of up to ${maximum * PAGE} bytes: ${error}`);
  }
  const instance = await instantiate(module, isa, memory);
  try {
    const pool = await Pool.create({ host, module, memory, kernels: instance.kernels, threads });
    return { threads, threadsWhy: why, instance, maxBytes: Math.min(maxBytes ?? 2 ** 32, maximum * PAGE), pool };
  } catch (error) {
    return alone(String((error as Error).message));
  }
}
