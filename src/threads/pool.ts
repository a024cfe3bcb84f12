/** The leader's side: workers over one memory, and functions that share kernel calls out among them. */
import { WorkerError } from '../errors.ts';
import type { KernelCall } from '../kernel/call.ts';
import type { Kernels } from '../kernel/instance.ts';
import { type Phase, splitCalls } from '../kernel/split.ts';
import type { Arena } from '../memory/arena.ts';
import { Control, chunkNumbers, encodeJob, JOB_NUMBERS, MAX_CHUNKS, Patience, WORD } from './control.ts';
import type { ThreadHost, WorkerHandle } from './host.ts';

export interface PoolOptions {
  readonly host: ThreadHost;
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly kernels: Kernels;
  readonly threads: number;
  /** A worker that is not ready by then does not come. */
  readonly startMs?: number;
}

const START_MS = 10_000;
/** How long the leader looks for the others' end before it sleeps. */
const SPIN_MS = 0.1;
/** It wakes up that often to see whether a chunk is lost. */
const SLICE_MS = 20;
/**
 * A taken chunk that takes longer than this, and LOST_FACTOR times what the leader needed for one of the same job, is lost with
 * its worker. Measured, not predicted: on a machine busy with other things the leader is slow as well, and a worker that is
 * only late must not be taken for lost. (400 ms alone: 2048x4096x2048 with both threads on one core failed at every run; and a
 * worker pinned to a core with ten other processes once had to wait for longer, with chunks of 4 ms.)
 */
const LOST_MS = 700;
const LOST_FACTOR = 20;
/** Replacements for workers that end; after so many, the rest must do. */
const MAX_REPLACED = 100;

/** Whether this thread may sleep: a page's main thread may not. */
function maySleep(words: Int32Array): boolean {
  try {
    Atomics.wait(words, WORD.failed, -1, 0);
    return true;
  } catch {
    return false;
  }
}

interface Job {
  /** One a chunk, as the leader runs it. */
  readonly run: readonly (() => void)[];
  readonly numbers: Float64Array;
  /** What a chunk took the leader, on the average of its latest, ms. */
  chunkMs: number;
}

export class Pool {
  private readonly options: PoolOptions;
  private readonly ids: ReadonlyMap<string, number>;
  private readonly names: readonly string[];
  private readonly sleeps: boolean;
  private control = new Control();
  /** The place of each in the list of chunks. */
  private workers = new Map<WorkerHandle, number>();
  /** Resolves when lost workers have ended and their replacements have come. */
  recovery: Promise<void> | undefined;
  private readonly patience = new Patience(SPIN_MS);
  private replaced = 0;
  private scratchAt = 0;
  private scratchBytes = 0;
  private disposed = false;

  private constructor(options: PoolOptions) {
    this.options = options;
    this.names = Object.keys(options.kernels);
    this.ids = new Map(this.names.map((name, id) => [name, id]));
    this.sleeps = maySleep(this.control.words);
  }

  /**
   * Starts the workers.
   * @throws WorkerError when one cannot be started
   */
  static async create(options: PoolOptions): Promise<Pool> {
    const pool = new Pool(options);
    try {
      await Promise.all(Array.from({ length: options.threads - 1 }, (_, i) => pool.startWorker(i + 1)));
      return pool;
    } catch (error) {
      pool.dispose();
      throw error;
    }
  }

  /** Calls to a function that runs them on all threads. */
  bind(calls: readonly KernelCall[], lead: (calls: readonly KernelCall[]) => () => void, arena: Arena): () => void {
    const context = {
      threads: this.options.threads,
      view: (at: number, bytes: number) => arena.view('uint8', at, bytes),
      scratch: (bytes: number) => this.scratch(bytes, arena),
    };
    const steps = splitCalls(calls, context)
      .flatMap(fit)
      .map((phase) => (phase.length === 1 ? lead(phase[0]) : this.job(phase, lead)));
    if (steps.length === 1) return steps[0];
    return () => {
      for (const step of steps) step();
    };
  }

  /** One block for all functions, since they run one at a time; when it grows, the old one stays for those bound to it. */
  private scratch(bytes: number, arena: Arena): number {
    if (bytes > this.scratchBytes) {
      this.scratchAt = arena.alloc(Math.max(bytes, 2 * this.scratchBytes));
      this.scratchBytes = Math.max(bytes, 2 * this.scratchBytes);
    }
    return this.scratchAt;
  }

  private job(phase: Phase, lead: (calls: readonly KernelCall[]) => () => void): () => void {
    const job: Job = { run: phase.map(lead), numbers: encodeJob(phase, this.ids), chunkMs: 0 };
    return () => this.run(job);
  }

  private run(job: Job): void {
    const { run, numbers } = job;
    const { control } = this;
    const { words } = control;
    if (this.recovery)
      throw new WorkerError('a worker was lost and is being replaced: await engine.recovery, as Model.run() does');
    control.offer(numbers, run.length);
    if (Atomics.load(words, WORD.asleep)) Atomics.notify(words, WORD.open);
    const start = performance.now();
    let own = 0;
    const limit = () => {
      if (own) job.chunkMs = (performance.now() - start) / own;
      return Math.max(LOST_MS, LOST_FACTOR * job.chunkMs);
    };
    try {
      for (;;) {
        const chunk = control.take(0, this.options.threads);
        if (chunk < 0) break;
        run[chunk]();
        control.finish();
        own++;
      }
    } catch (error) {
      // Nobody takes what is left; what others have taken must end before the memory is anybody's again.
      Atomics.sub(words, WORD.pending, control.takeAll() + 1);
      try {
        this.join(limit());
      } catch {
        // Workers are being replaced; the first error is the one to tell.
      }
      control.failure();
      throw error;
    }
    this.join(limit());
    const failure = control.failure();
    if (failure?.trap) throw new WebAssembly.RuntimeError(`${failure.message} (in a worker)`);
    if (failure) throw new WorkerError(failure.message);
  }

  /** Waits for the chunks that others have taken. */
  private join(limit: number): void {
    const { words } = this.control;
    if (Atomics.load(words, WORD.pending) <= 0) return;
    const start = performance.now();
    let now = start;
    do {
      for (let i = 0; i < 64; i++) {
        if (Atomics.load(words, WORD.pending) > 0) continue;
        this.patience.found();
        return;
      }
      now = performance.now();
    } while (now < start + this.patience.ms);
    const from = now;
    // Time is counted in slices, of which none counts for much, so that a machine that was asleep does not lose its workers.
    for (let waited = 0; waited < limit; waited += Math.min(performance.now() - now, 5 * SLICE_MS)) {
      now = performance.now();
      if (this.sleeps) {
        const pending = Atomics.load(words, WORD.pending);
        if (pending > 0) Atomics.wait(words, WORD.pending, pending, SLICE_MS);
      } else {
        while (performance.now() < now + 1) if (Atomics.load(words, WORD.pending) <= 0) return;
      }
      if (Atomics.load(words, WORD.pending) <= 0) {
        this.patience.slept(performance.now() - from);
        return;
      }
    }
    this.replaceAll(limit);
    throw new WorkerError(
      `a worker did not finish within ${Math.round(limit)} ms and is replaced: the results of this run are lost`,
    );
  }

  /** Who holds the lost chunk is unknown: all workers go, and with them the control block that they might still write. */
  private replaceAll(limit: number): void {
    const old = [...this.workers.keys()];
    const { words } = this.control;
    this.workers.clear();
    Atomics.store(words, WORD.open, -1);
    Atomics.notify(words, WORD.open);
    this.control = new Control();
    const recover = async () => {
      const ends = old.map((w) => w.terminate());
      await Promise.allSettled(ends);
      // Web workers end some time after terminate(), untold (Deno's finish their chunk first): one that was only late must not
      // write into the next run. It counts its chunk as done; one that is dead does not, and this long it cannot be late.
      const told = ends.every((end) => end instanceof Promise);
      for (let waited = 0; !told && waited < limit && Atomics.load(words, WORD.pending) > 0; waited += 10) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      if (this.disposed) return;
      const missing = Array.from({ length: this.options.threads - 1 }, (_, i) => i + 1);
      for (const place of this.workers.values()) missing.splice(missing.indexOf(place), 1);
      await Promise.allSettled(missing.map((place) => this.startWorker(place)));
    };
    this.recovery = recover().finally(() => {
      this.recovery = undefined;
    });
  }

  private async startWorker(thread: number): Promise<void> {
    const { host, module, memory, threads, startMs = START_MS } = this.options;
    const { buffer } = this.control;
    let handle: WorkerHandle | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        const late = () => reject(new WorkerError(`a worker was not ready within ${startMs} ms`));
        timer = setTimeout(late, startMs);
        let over = false;
        const events = {
          ready: resolve,
          ended: (reason: string) => {
            over = true;
            reject(new WorkerError(`a worker could not be started: ${reason}`));
            this.lost(handle);
          },
        };
        Promise.resolve(
          host.start({ module, memory, control: buffer, names: this.names, thread, threads }, events),
        ).then((h) => {
          handle = h;
          if (this.disposed) {
            h.terminate();
            reject(new WorkerError('disposed'));
          } else if (!over) this.workers.set(h, thread);
        }, reject);
      });
    } catch (error) {
      if (handle) {
        this.workers.delete(handle);
        handle.terminate();
      }
      throw error;
    } finally {
      clearTimeout(timer);
    }
    if (buffer === this.control.buffer) return;
    // It was on its way while the others were lost.
    this.workers.delete(handle!);
    handle!.terminate();
    if (!this.disposed) await this.startWorker(thread);
  }

  /** A worker ended by itself. If it held a chunk, the leader will notice; another takes its place. */
  private lost(handle: WorkerHandle | undefined): void {
    const place = handle && this.workers.get(handle);
    if (!place || this.disposed || !this.workers.delete(handle) || this.replaced++ >= MAX_REPLACED) return;
    this.startWorker(place).catch(() => {});
  }

  /** Ends the workers. Calling it twice does no harm. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    const { words } = this.control;
    Atomics.store(words, WORD.open, -1);
    Atomics.notify(words, WORD.open);
    for (const worker of this.workers.keys()) worker.terminate();
    this.workers.clear();
  }
}

/** Phases whose jobs fit the control block. */
function fit(phase: Phase): Phase[] {
  const phases: KernelCall[][][] = [[]];
  let numbers = 1;
  for (const chunk of phase) {
    const more = chunkNumbers(chunk);
    if (numbers + more > JOB_NUMBERS || phases[phases.length - 1].length === MAX_CHUNKS) {
      if (phases[phases.length - 1].length) phases.push([]);
      numbers = 1;
      if (1 + more > JOB_NUMBERS) {
        phases[phases.length - 1].push([...chunk]);
        phases.push([]);
        continue;
      }
    }
    phases[phases.length - 1].push([...chunk]);
    numbers += more;
  }
  return phases.filter((p) => p.length);
}
