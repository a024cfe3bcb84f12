import { isBytes, toBytes } from '../bytes.ts';
import { AssetError, UnsupportedError } from '../errors.ts';
import { ABI_VERSION } from './abi.ts';
import type { Isa } from './isa.ts';

/** Where the wasm module may come from. */
export type WasmSource = WebAssembly.Module | BufferSource | Response | URL | string;

export type Kernels = Record<string, (...args: number[]) => number>;

export interface KernelInstance {
  readonly kernels: Kernels;
  readonly memory: WebAssembly.Memory;
}

const show = (bytes: Uint8Array): string => {
  const text = String.fromCharCode(...bytes.subarray(0, 24)).replace(/[^\x20-\x7e]/g, '.');
  return `${bytes.length} bytes starting "${text}"${/^\s*<|doctype|html/i.test(text) ? ' (an HTML page: is the path right?)' : ''}`;
};

/**
 * Node compiles and instantiates at once, which takes a millisecond. A promise of either keeps no event loop busy, and Node 20 with
 * nothing else to wait for waits for all background jobs; a compiling one may wait for this thread to collect garbage, for ever
 * (NodePlatform::DrainTasks and CollectionBarrier::AwaitCollectionBackground; one start in fifteen, with both CPUs busy).
 */
const atOnce = typeof process === 'object' && typeof process.versions?.node === 'string';

/**
 * Compiles bytes after a look at them, so that a 404 page reads as one.
 * @throws AssetError when they are not WebAssembly; UnsupportedError where the runtime forbids compiling (edge workers, CSP)
 */
export async function compile(bytes: BufferSource, from: string): Promise<WebAssembly.Module> {
  const view = toBytes(bytes, 'wasm');
  if (view.length < 8 || view[0] !== 0 || view[1] !== 0x61 || view[2] !== 0x73 || view[3] !== 0x6d) {
    throw new AssetError(`${from}: expected a WebAssembly module, got ${show(view)}`);
  }
  try {
    return atOnce ? new WebAssembly.Module(view) : await WebAssembly.compile(view);
  } catch (cause) {
    const text = String(cause);
    if (/disallowed|Content Security Policy|unsafe-eval|blocked by|code generation/i.test(text)) {
      throw new UnsupportedError(
        `${from}: compiling WebAssembly is not allowed here. A page's Content-Security-Policy needs 'wasm-unsafe-eval'; ` +
          'an edge worker must import the module statically and hand it in as { wasm: module }',
        { cause },
      );
    }
    throw new AssetError(`${from}: WebAssembly does not compile: ${text}`, { cause });
  }
}

/**
 * Turns any source into a module.
 * @throws AssetError when it cannot be fetched or is not WebAssembly
 */
export async function toModule(source: WasmSource | Promise<WasmSource>, from = 'wasm'): Promise<WebAssembly.Module> {
  const s = await source;
  if (s instanceof WebAssembly.Module) return s;
  if (typeof s === 'string' || s instanceof URL) {
    let response: Response;
    try {
      response = await fetch(s);
    } catch (cause) {
      throw new AssetError(`cannot fetch ${s}: ${cause}`, { cause });
    }
    return toModule(response, String(s));
  }
  // Bytes before Response: in Node, the first look at the global Response loads undici, 25 ms.
  if (isBytes(s)) return compile(s as BufferSource, from);
  if (typeof Response === 'function' && s instanceof Response) {
    const url = s.url || from;
    if (!s.ok) throw new AssetError(`cannot fetch ${url}: HTTP ${s.status} ${s.statusText}`);
    return compile(await s.arrayBuffer(), url);
  }
  throw new AssetError(`${from}: expected a WebAssembly.Module, bytes, a Response or a URL, got ${typeof s}`);
}

/**
 * Instantiates a kernel module.
 * @param isa what the module must be for
 * @param shared the memory that a module for threads imports
 * @throws AssetError when it is another module, or of another ABI version than this code
 */
export async function instantiate(
  module: WebAssembly.Module,
  isa: Isa,
  shared?: WebAssembly.Memory,
): Promise<KernelInstance> {
  if (!shared && WebAssembly.Module.imports(module).length) {
    throw new AssetError('the WebAssembly module is one for threads: for one thread it is sparsimd.<isa>.wasm');
  }
  const imports: WebAssembly.Imports = shared ? { env: { memory: shared } } : {};
  const instance = atOnce
    ? new WebAssembly.Instance(module, imports)
    : ((await WebAssembly.instantiate(module, imports)) as unknown as WebAssembly.Instance);
  const {
    memory,
    abi_version: abi,
    relaxed_simd: relaxed,
    ...kernels
  } = instance.exports as never as Kernels & { memory: WebAssembly.Memory };
  if (typeof abi !== 'function' || !(memory instanceof WebAssembly.Memory)) {
    throw new AssetError('the WebAssembly module is not one of sparsimd (no abi_version)');
  }
  if (abi() !== ABI_VERSION) {
    throw new AssetError(
      `the WebAssembly module has ABI version ${abi()}, this code needs ${ABI_VERSION}: update both`,
    );
  }
  if ((relaxed() === 1) !== (isa === 'relaxed')) {
    const got = relaxed() ? 'relaxed' : 'simd128';
    throw new AssetError(`the WebAssembly module is for ${got}, this engine for ${isa}: hand in sparsimd.${isa}.wasm`);
  }
  return { kernels: kernels as Kernels, memory };
}
