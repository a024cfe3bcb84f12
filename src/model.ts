import { readSource } from '#assets';
import { isBytes, toBytes } from './bytes.ts';
import { Engine, type EngineOptions } from './engine.ts';
import { ArgumentRangeError, ArgumentTypeError, checkOptions, DisposedError, ModelFormatError } from './errors.ts';
import type { Graph, ValueInfo } from './graph/ir.ts';
import type { Place } from './graph/place.ts';
import type { Plan, Step } from './graph/plan.ts';
import type { Plans } from './graph/plans.ts';
import type { Prepare } from './graph/prepare.ts';
import type { Sparsity } from './graph/weights.ts';
import { type AnyTensor, ARRAYS, type DType, sizeOf, Tensor, type TensorData } from './tensor.ts';

type Found = string | URL | ArrayBuffer | ArrayBufferView | Blob | Response | Graph;
/** What a model is read from: a path or URL, the bytes of an .onnx file, a File, a Response, or a graph already made. */
export type ModelSource = Found | Promise<Found>;

export interface Progress {
  readonly phase: 'fetch' | 'read' | 'prepare';
  /** Bytes while fetching, else 0 or 1. */
  readonly loaded: number;
  /** 0 when not known. */
  readonly total: number;
}

export interface ModelOptions extends EngineOptions {
  /** An engine to share. The model then does not dispose it. */
  engine?: Engine;
  /** `off` runs the same network with dense kernels only, to compare. */
  sparsity?: Sparsity;
  onProgress?: (progress: Progress) => void;
  /** Aborts loading; its reason is what load() rejects with. */
  signal?: AbortSignal;
  /** Gives the bytes of an ONNX external data file, by the relative name that the model has for it. */
  resolveExternal?: (location: string) => Uint8Array | Promise<Uint8Array>;
}

/** What one step of a run cost, and why it runs the way it does. */
export interface StepProfile extends Omit<Step, 'run'> {
  /** Median milliseconds. */
  readonly ms: number;
  /** GFLOP/s on the nonzeros, and as if the layer were dense. */
  readonly gflops?: number;
  readonly denseGflops?: number;
}

export interface Profile {
  /** Median milliseconds of a whole run, inputs and outputs copied. */
  readonly ms: number;
  readonly steps: readonly StepProfile[];
  /** Bytes of packed weights, of activations and scratch, and of the whole WebAssembly memory. */
  readonly weightBytes: number;
  readonly workspaceBytes: number;
  readonly memoryBytes: number;
}

export type Feeds = Readonly<Record<string, Tensor>>;
export type Results = Record<string, AnyTensor>;

/**
 * A network ready to run. `run` and `runSync` do the same work on the calling thread.
 *
 *     const model = await Model.load('mobilenet.onnx');
 *     const { logits } = await model.run({ image: new Tensor('float32', pixels, [1, 3, 224, 224]) });
 */
export class Model {
  static readonly name: string = 'Model';
  readonly engine: Engine;
  /** Names, types and shapes; a dimension is a number, a symbol, or null when the file says nothing. */
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  private readonly plans: Plans;
  private readonly ownsEngine: boolean;
  private disposed = false;

  private constructor(graph: Graph, engine: Engine, ownsEngine: boolean, sparsity: Sparsity, prepared: Prepare) {
    this.engine = engine;
    this.ownsEngine = ownsEngine;
    this.inputs = graph.inputs.map((i) => ({ ...i }));
    this.outputs = graph.outputs.map((o) => ({ ...o }));
    this.plans = new prepared.Plans(graph, engine, sparsity, prepared);
  }

  /**
   * Reads a model and prepares it for the shapes its file declares.
   * @throws ModelFormatError, UnsupportedOpError for the file; AssetError, UnsupportedError for the engine;
   *   OutOfMemoryError when the weights do not fit; ArgumentTypeError for a source of another kind
   */
  static async load(source: ModelSource, options: ModelOptions = {}): Promise<Model> {
    // Nobody may come to wait for it: an option may be wrong, or loading aborted.
    void Promise.resolve(source).catch(() => {});
    checkOptions(options);
    const { signal, onProgress, sparsity = 'auto' } = options;
    if (sparsity !== 'auto' && sparsity !== 'off') throw new ArgumentTypeError('sparsity', "'auto' or 'off'", sparsity);
    if (options.engine !== undefined) checkEngine(options);
    signal?.throwIfAborted();
    const made = options.engine ? undefined : Engine.create(options);
    // A failed engine must not leave the other promise unhandled, and bytes come before the reader is needed.
    const [engine, graph, loaded] = await Promise.all([
      options.engine ?? made!,
      abortable(graphOf(source, options), signal),
      import('./graph/prepare.ts'),
    ]).catch((error) => {
      made?.then(
        (engine) => engine.dispose(),
        () => {},
      );
      throw error;
    });
    let model: Model | undefined;
    try {
      engine.check();
      signal?.throwIfAborted();
      onProgress?.({ phase: 'prepare', loaded: 0, total: 1 });
      const prepared = { ...loaded, ops: await loaded.opsFor(graph) };
      model = new Model(prepared.optimise(graph, prepared.ops), engine, !options.engine, sparsity, prepared);
      model.plans.prepare();
      signal?.throwIfAborted();
      onProgress?.({ phase: 'prepare', loaded: 1, total: 1 });
      return model;
    } catch (error) {
      model?.dispose();
      if (!options.engine) engine.dispose();
      throw error;
    }
  }

  /**
   * Runs the network on tensors by input name.
   * @returns new tensors by output name
   * @throws InputError for a missing or unknown name, a wrong type or shape; DisposedError; OutOfMemoryError; WorkerError
   *   when a worker was lost on the way: the next run works
   */
  async run(feeds: Feeds): Promise<Results> {
    if (this.engine.recovery) await this.engine.recovery;
    return this.runSync(feeds);
  }

  /** As {@link run}, without a promise. */
  runSync(feeds: Feeds): Results {
    this.check();
    const plan = this.plans.for(feeds);
    this.write(plan, feeds);
    this.engine.guard(() => {
      for (const step of plan.steps) step.run();
    });
    return this.collect(plan);
  }

  /**
   * Times every step.
   * @param feeds inputs to run on; left out, random ones of the declared shape, symbols and unknown dimensions being 1
   * @param runs repetitions; medians are reported
   * @throws ArgumentRangeError for runs; otherwise as runSync() does
   */
  profile(feeds: Feeds = this.sampleFeeds(), runs = 10): Profile {
    if (!(Number.isInteger(runs) && runs > 0)) throw new ArgumentRangeError('runs', 'an integer above 0', runs);
    this.runSync(feeds);
    const plan = this.plans.for(feeds);
    const times = plan.steps.map(() => new Float64Array(runs));
    const whole = new Float64Array(runs);
    for (let r = 0; r < runs; r++) {
      const start = performance.now();
      this.runSync(feeds);
      whole[r] = performance.now() - start;
    }
    this.engine.guard(() => {
      for (let r = 0; r < runs; r++) {
        // Later values may lie where the inputs were.
        this.write(plan, feeds);
        plan.steps.forEach((step, i) => {
          const start = performance.now();
          step.run();
          times[i][r] = performance.now() - start;
        });
      }
    });
    const steps = plan.steps.map(({ run: _, ...facts }, i) => {
      const ms = median(times[i]);
      const rate = (flops?: number) => (flops && ms > 0 ? flops / ms / 1e6 : undefined);
      return { ...facts, ms, gflops: rate(facts.flops), denseGflops: rate(facts.denseFlops) };
    });
    return {
      ms: median(whole),
      steps,
      weightBytes: this.plans.weights.bytes,
      workspaceBytes: plan.workspaceBytes,
      memoryBytes: this.engine.arena.size,
    };
  }

  /** The steps a run on such inputs takes, without running it. */
  plan(feeds: Feeds = this.sampleFeeds()): readonly Omit<Step, 'run'>[] {
    this.check();
    return this.plans.for(feeds).steps.map(({ run: _, ...facts }) => facts);
  }

  /** Bytes of packed weights in memory. */
  get weightBytes(): number {
    return this.plans.weights.bytes;
  }

  /** Random inputs of the declared shapes; symbols and unknown dimensions are 1. */
  sampleFeeds(): Feeds {
    const feeds: Record<string, Tensor> = {};
    for (const { name, type, dims } of this.inputs) {
      const shape = (dims ?? []).map((d) => (typeof d === 'number' ? d : 1));
      const data = new ARRAYS[type](sizeOf(shape));
      if (type === 'float32' || type === 'float64')
        for (let i = 0; i < data.length; i++) data[i] = Math.sin(i * 12.9898) / 2;
      feeds[name] = new Tensor(type, data as never, shape);
    }
    return feeds;
  }

  /** Frees the model's memory, and the engine unless it was handed in. Calling it twice does no harm. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.plans.dispose();
    if (this.ownsEngine) this.engine.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  private check(): void {
    if (this.disposed) throw new DisposedError('the model');
    this.engine.check();
  }

  private write(plan: Plan, feeds: Feeds): void {
    for (const [name, { at, bytes }] of plan.inputs) {
      const { data } = feeds[name];
      const to = this.engine.arena.view('uint8', at, bytes);
      to.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    }
  }

  private collect(plan: Plan): Results {
    const results: Results = {};
    for (const [name, value] of plan.outputs) {
      results[name] = 'at' in value ? this.readBack(value) : copyOf(value.type, value.data, value.dims);
    }
    return results;
  }

  private readBack({ type: { type, dims }, at }: Place): AnyTensor {
    return copyOf(type, this.engine.arena.view(type, at, sizeOf(dims)), dims);
  }
}

const copyOf = (type: DType, data: TensorData, dims: readonly number[]) =>
  new Tensor(type, data.slice() as never, dims) as AnyTensor;

const isGraph = (source: unknown): source is Graph =>
  typeof source === 'object' && source !== null && 'nodes' in source;

/**
 * Passes rewrite nodes in place; the caller's graph stays as it is. Tensors are shared. Branches may use each other's names: in the
 * copy every value has its own, as the ONNX reader has it.
 */
function copyGraph(g: Graph, around: ReadonlyMap<string, string> = new Map(), prefix = ''): Graph {
  const names = new Map(around);
  const own = [...g.constants.keys(), ...g.nodes.flatMap((n) => n.outputs)];
  if (prefix) for (const name of own) if (name) names.set(name, prefix + name);
  const nameOf = (name: string) => names.get(name) ?? name;
  return {
    ...g,
    outputs: g.outputs.map((o) => ({ ...o, name: nameOf(o.name) })),
    nodes: g.nodes.map((n) => {
      const attrs = Object.entries(n.attrs).map(([k, v]) => {
        const branch = typeof v === 'object' && 'nodes' in v;
        return [k, branch ? copyGraph(v, names, `${prefix}${n.name}/${k}/`) : v];
      });
      return { ...n, inputs: n.inputs.map(nameOf), outputs: n.outputs.map(nameOf), attrs: Object.fromEntries(attrs) };
    }),
    constants: new Map([...g.constants].map(([name, t]) => [nameOf(name), t])),
  };
}

/** @throws ArgumentTypeError unless it is an engine; ArgumentRangeError for options that it was to be made with */
function checkEngine(options: ModelOptions): void {
  if (typeof options.engine?.check !== 'function') throw new ArgumentTypeError('engine', 'an Engine', options.engine);
  for (const key of ['isa', 'deterministic', 'threads', 'wasm', 'maxBytes'] as const) {
    if (options[key] !== undefined)
      throw new ArgumentRangeError(key, 'to be an option of the engine that is handed in', options[key]);
  }
}

/** What a promise gives, unless the signal is aborted first. */
function abortable<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

async function graphOf(source: ModelSource, options: ModelOptions): Promise<Graph> {
  const found = await source;
  return isGraph(found) ? copyGraph(found) : readModel(found, options);
}

async function readModel(source: Exclude<Found, Graph>, options: ModelOptions): Promise<Graph> {
  const { onProgress, signal, resolveExternal } = options;
  const [{ bytes, name }, { readOnnx }] = await Promise.all([readBytes(source, options), import('./onnx/index.ts')]);
  signal?.throwIfAborted();
  onProgress?.({ phase: 'read', loaded: 0, total: 1 });
  const graph = await readOnnx(bytes, { resolveExternal, name });
  onProgress?.({ phase: 'read', loaded: 1, total: 1 });
  return graph;
}

/** The bytes, and what messages call them. */
async function readBytes(
  source: Exclude<Found, Graph>,
  options: ModelOptions,
  name = 'model',
): Promise<{ bytes: Uint8Array; name: string }> {
  const { onProgress, signal } = options;
  if (isBytes(source)) return { bytes: toBytes(source), name };
  if (typeof source === 'string' || source instanceof URL) {
    const from = String(source).slice(0, 200);
    return readBytes(await readSource(source, signal), options, from);
  }
  if (typeof Blob === 'function' && source instanceof Blob)
    return { bytes: new Uint8Array(await source.arrayBuffer()), name: (source as File).name ?? name };
  if (typeof Response !== 'function' || !(source instanceof Response)) {
    throw new ArgumentTypeError('source', 'a path, URL, bytes, File, Response or Graph', source);
  }
  name = source.url || name;
  if (!source.ok) throw new ModelFormatError(name, `HTTP ${source.status} ${source.statusText}`);
  const total = Number(source.headers.get('content-length') ?? 0);
  const reader = source.body?.getReader();
  if (!reader) return { bytes: new Uint8Array(await source.arrayBuffer()), name };
  const stop = () => void reader.cancel(signal?.reason).catch(() => {});
  signal?.addEventListener('abort', stop, { once: true });
  const parts: Uint8Array[] = [];
  let loaded = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    signal?.throwIfAborted();
    parts.push(value);
    loaded += value.length;
    onProgress?.({ phase: 'fetch', loaded, total });
  }
  signal?.removeEventListener('abort', stop);
  const bytes = new Uint8Array(loaded);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return { bytes, name };
}

const median = (times: Float64Array): number => times.slice().sort()[times.length >> 1];
