import { threads as threadHost, wasmAsset } from '#assets';
import {
  ArgumentRangeError,
  ArgumentTypeError,
  AssetError,
  checkOptions,
  DisposedError,
  SparsimdError,
  UnsupportedError,
} from './errors.ts';
import { ABI_VERSION } from './kernel/abi.ts';
import type { KernelCall } from './kernel/call.ts';
import { instantiate, type KernelInstance, type Kernels, toModule, type WasmSource } from './kernel/instance.ts';
import { chooseIsa, type Isa } from './kernel/isa.ts';
import { Arena } from './memory/arena.ts';
import type { AdaptedOperator, AdaptedOptions } from './sparse/adapted.ts';
import { checkApart, kept } from './sparse/arguments.ts';
import type { Int8Layer, Int8Operator, Int8Options } from './sparse/chain.ts';
import type { Operand } from './sparse/composite.ts';
import type { SparseMatrix } from './sparse/matrix.ts';
import type { PrepareOptions, SpmmOperator, SpmmOptions } from './sparse/operators.ts';
import type { SddmmOperator, SddmmOptions } from './sparse/sddmm.ts';
import type { Pool } from './threads/pool.ts';
import type { Team } from './threads/start.ts';

export interface EngineOptions {
  /** Pins the instruction set. Left out: relaxed where the JavaScript engine has it, else simd128. */
  isa?: Isa;
  /** Bit-identical results on every machine: simd128, and no choice that depends on a measurement. */
  deterministic?: boolean;
  /** The kernel module, where the default asset cannot be used. It must be of the chosen `isa`. */
  wasm?: WasmSource | Promise<WasmSource>;
  /** The most bytes of WebAssembly memory; default and maximum just under 4 GiB, with threads 1 GiB by default. */
  maxBytes?: number;
  /**
   * Threads that share the work, the calling one among them: 1 (default), up to 64, or 'auto', as many as the hardware has up
   * to 8. More than it has gain nothing. Results are those of one thread, bit for bit. Where the host has no shared memory or
   * no workers, one thread does it all, and `info.threadsWhy` says why.
   */
  threads?: number | 'auto';
}

export interface EngineInfo {
  readonly isa: Isa;
  /** Why this instruction set. */
  readonly why: string;
  readonly threads: number;
  /** Why so many threads. */
  readonly threadsWhy: string;
  readonly deterministic: boolean;
  readonly abi: number;
}

const compiled = new Map<string, Promise<WebAssembly.Module>>();

/** A module that lies beside this script, as far as nobody has moved the script. */
async function ownModule(file: string, load: () => Promise<WasmSource>): Promise<WebAssembly.Module> {
  try {
    return await toModule(load(), file);
  } catch (cause) {
    if (cause instanceof UnsupportedError) throw cause;
    const why = cause instanceof AssetError ? cause.message : `cannot read ${file}: ${cause}`;
    const help = /\/\.vite/.test(why)
      ? "Vite moved this script: put optimizeDeps: { exclude: ['sparsimd'] } into its configuration"
      : `a bundler that leaves it behind (esbuild, Rollup) needs sparsimd/inline, or { wasm: a URL of ${file} }`;
    throw new AssetError(`${why} (${help})`, { cause });
  }
}

/** A default module, compiled once per process. A failure is not remembered, so that a later try can succeed. */
function defaultModule(name: string, load: () => Promise<WasmSource>): Promise<WebAssembly.Module> {
  let module = compiled.get(name);
  if (!module) {
    module = ownModule(`sparsimd.${name}.wasm`, load);
    compiled.set(name, module);
    module.catch(() => compiled.delete(name));
  }
  return module;
}

/** Choosing and packing, a chunk of its own that models share: fetched with the first product. */
const operators = () => import('./sparse/operators.ts');

/**
 * One instance of the kernels with one memory. Models may share an engine; disposing it frees everything at once.
 * No worker is started unless `threads` asks for one.
 */
export class Engine {
  static readonly name: string = 'Engine';
  readonly info: EngineInfo;
  readonly arena: Arena;
  readonly kernels: Kernels;
  private state: 'live' | 'disposed' | 'poisoned' = 'live';
  private readonly pool: Pool | undefined;

  private constructor(instance: KernelInstance, info: EngineInfo, maxBytes?: number, pool?: Pool) {
    this.info = info;
    this.kernels = instance.kernels;
    this.arena = new Arena(instance.memory, 1024, maxBytes);
    this.pool = pool;
  }

  /**
   * @throws UnsupportedError without SIMD or where compiling is forbidden; AssetError when the module is missing or wrong;
   *   ArgumentTypeError, ArgumentRangeError for options
   */
  static async create(options: EngineOptions = {}): Promise<Engine> {
    checkOptions(options);
    const { isa: wanted, deterministic = false, wasm, maxBytes, threads = 1 } = options;
    if (wanted !== undefined && wanted !== 'simd128' && wanted !== 'relaxed') {
      throw new ArgumentTypeError('isa', "'simd128' or 'relaxed'", wanted);
    }
    if (maxBytes !== undefined && !(typeof maxBytes === 'number' && maxBytes > 0))
      throw new ArgumentTypeError('maxBytes', 'a positive number', maxBytes);
    const { isa, why } = chooseIsa(wanted, deterministic);
    // A Response can be read only once.
    const given = wasm === undefined ? undefined : await toModule(wasm);
    const load = async (name: string, asset: () => Promise<WasmSource>) => given ?? defaultModule(name, asset);
    let team: Team = { threads: 1, threadsWhy: 'not asked for more' };
    if (threads !== 1) {
      const { startTeam } = await import('./threads/start.ts');
      team = await startTeam(threads, threadHost, isa, load, instantiate, maxBytes);
    }
    const instance = team.instance ?? (await instantiate(await load(isa, () => wasmAsset(isa)), isa));
    const info = Object.freeze({
      isa,
      why,
      threads: team.threads,
      threadsWhy: team.threadsWhy,
      deterministic,
      abi: ABI_VERSION,
    });
    return new Engine(instance, info, team.maxBytes ?? maxBytes, team.pool);
  }

  /**
   * Throws unless the engine can run.
   * @throws DisposedError after dispose(); SparsimdError (POISONED) after a trap
   */
  check(): void {
    if (this.state === 'disposed') throw new DisposedError('the engine');
    if (this.state === 'poisoned') {
      throw new SparsimdError(
        'POISONED',
        "a kernel trapped earlier, so this engine's memory cannot be trusted: make a new one",
      );
    }
  }

  /**
   * Resolves kernel calls to functions, once; running them is then a bare loop. With threads it shares them out as
   * `kernel/split.ts` says: packed weights must be in place by now.
   */
  bind(calls: readonly KernelCall[]): () => void {
    return this.pool ? this.pool.bind(calls, (part) => this.resolve(part), this.arena) : this.resolve(calls);
  }

  private resolve(calls: readonly KernelCall[]): () => void {
    const bound = calls.map(({ kernel, args }) => {
      const f = this.kernels[kernel];
      if (!f) throw new SparsimdError('INTERNAL', `no kernel ${kernel} in the ${this.info.isa} module`);
      return { f, args };
    });
    return () => {
      for (const { f, args } of bound) f(...args);
    };
  }

  /** Runs something that calls kernels; a trap poisons this engine and no other. */
  guard<T>(run: () => T): T {
    this.check();
    try {
      return run();
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) this.state = 'poisoned';
      throw error;
    }
  }

  /**
   * Y = clamp(W X + bias), once; prepare() where W is used again.
   * @param w [rows][cols]
   * @param x [cols][columns], or [columns][cols] with `layout: 'tokens'`
   * @param options columns: left out, as many as x has; out: takes the result and must not share memory with x
   * @returns [rows][columns], or [columns][rows]
   * @throws ArgumentTypeError, ArgumentRangeError before any kernel runs; OutOfMemoryError, after which the engine is usable
   */
  async spmm(
    w: Operand,
    x: Float32Array,
    options: SpmmOptions & { columns?: number; out?: Float32Array } = {},
  ): Promise<Float32Array> {
    return this.product(w, x, options);
  }

  /** y = clamp(W x + bias) for one column x[cols] -> y[rows]. Throws as spmm() does. */
  async spmv(
    w: Operand,
    x: Float32Array,
    options: Omit<SpmmOptions, 'layout'> & { out?: Float32Array } = {},
  ): Promise<Float32Array> {
    checkOptions(options);
    return this.product(w, x, { ...options, columns: 1 });
  }

  /**
   * Sampled dense-dense product, once: scale (A B^T) at the places that `pattern` stores; prepareSddmm() where it is used again.
   * @param pattern [rows][cols]; its values do not matter
   * @param a [rows][d]
   * @param b [cols][d]
   * @returns [rows][cols] in the format of the pattern where that is csr or bsr, else csr
   * @throws ArgumentTypeError, ArgumentRangeError before any kernel runs; OutOfMemoryError, after which the engine is usable
   */
  async sddmm(
    pattern: SparseMatrix,
    a: Float32Array,
    b: Float32Array,
    options: { scale?: number } = {},
  ): Promise<SparseMatrix> {
    [a, b] = [kept(this.arena, a), kept(this.arena, b)];
    return (await this.operators()).sddmm(this, pattern, a, b, options);
  }

  /**
   * Packs W for so many columns, to be run many times, without promises or further memory. With `adapters`, each run says which
   * of them each column has. Throws as spmm() does.
   */
  async prepare(w: Operand, options: AdaptedOptions): Promise<AdaptedOperator>;
  async prepare(w: Operand, options: PrepareOptions): Promise<SpmmOperator>;
  async prepare(
    w: Operand,
    options: PrepareOptions & Partial<AdaptedOptions>,
  ): Promise<SpmmOperator | AdaptedOperator> {
    [w, options] = this.keptAll(w, options);
    const { SpmmOperator, AdaptedOperator } = await this.operators();
    return options?.adapters === undefined
      ? new SpmmOperator(this, w, options)
      : new AdaptedOperator(this, w, options as AdaptedOptions);
  }

  /**
   * Packs a pattern [rows][cols] for sampled products of A [rows][d] and B [cols][d], to be run many times, without promises or
   * further memory: attention with one sparse mask, for one. Throws as sddmm() does.
   */
  async prepareSddmm(pattern: SparseMatrix, options: SddmmOptions): Promise<SddmmOperator> {
    return new (await this.operators()).SddmmOperator(this, pattern, options);
  }

  /**
   * Packs a chain of int8 layers for so many columns, to be run many times: between two layers there are integers, requantised in
   * the store of the one before, through a table where there is an activation.
   * @throws ArgumentTypeError, ArgumentRangeError that name the layer; OutOfMemoryError, after which the engine is usable
   */
  async prepareInt8(layers: readonly Int8Layer[], options: Int8Options): Promise<Int8Operator> {
    const own = Array.isArray(layers) ? layers.map((layer) => this.keptBias(layer)) : layers;
    return new (await this.operators()).Int8Operator(this, own, options);
  }

  private async product(
    w: Operand,
    x: Float32Array,
    options: SpmmOptions & { columns?: number; out?: Float32Array },
  ): Promise<Float32Array> {
    const out = options?.out;
    if (x instanceof Float32Array && out instanceof Float32Array) checkApart(x, out);
    if (out instanceof Float32Array && this.arena.owns(out))
      throw new ArgumentRangeError('out', "an array outside the engine's memory, which may grow", out);
    [w, options] = this.keptAll(w, options);
    x = kept(this.arena, x);
    return (await this.operators()).spmm(this, w, x, options);
  }

  /** Views of the memory are copied before anything waits: by the time that a product runs the memory may have grown. */
  private keptAll<T extends { bias?: Float32Array }>(w: Operand, options: T): [Operand, T] {
    if (typeof w === 'object' && w !== null && 'data' in w) w = { ...w, data: kept(this.arena, w.data) };
    return [w, this.keptBias(options)];
  }

  private keptBias<T extends { bias?: Float32Array }>(options: T): T {
    return options?.bias ? { ...options, bias: kept(this.arena, options.bias) } : options;
  }

  /** As a model's run() does, products wait for a worker that is being replaced. */
  private async operators(): ReturnType<typeof operators> {
    await this.recovery;
    return operators();
  }

  /** While a worker that was lost is being replaced: when that is done. `Model.run` waits for it. */
  get recovery(): Promise<void> | undefined {
    return this.pool?.recovery;
  }

  /** Frees the memory and ends the workers. Models on this engine stop working. Calling it twice does no harm. */
  dispose(): void {
    this.state = 'disposed';
    this.pool?.dispose();
    this.arena.dispose();
    // The instance's memory is freed with the instance: drop the only references.
    (this as { kernels: Kernels }).kernels = {};
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
