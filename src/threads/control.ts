/**
 * What leader and workers share beside the kernels' memory: a few counters, and the job at hand. A job is a list of chunks that
 * may run in any order and at once; a chunk is a list of kernel calls. Whoever is free takes the next chunk, so a worker that
 * is late, asleep or dead delays nothing that it has not taken.
 */
import type { KernelCall } from '../kernel/call.ts';
import type { Kernels } from '../kernel/instance.ts';

/** Words of the control block, each on a cache line of its own. */
export const WORD = {
  /** Chunks nobody has taken; below 0: workers end. Workers sleep on it. */
  open: 0,
  /** Chunks not finished. The leader sleeps on it. */
  pending: 16,
  /** Workers asleep, or about to be. */
  asleep: 32,
  /** A chunk failed: 1 by a trap, 2 otherwise. */
  failed: 48,
  /** Characters of the failure's message, and from `message` on the characters, one a word. */
  length: 64,
  message: 65,
} as const;

const WORDS = 512;
const MAX_MESSAGE = WORDS - WORD.message;
/** Numbers a job may have. */
export const JOB_NUMBERS = 8192;

/** The control block, seen from one thread. */
export class Control {
  readonly buffer: SharedArrayBuffer;
  readonly words: Int32Array<SharedArrayBuffer>;
  /** [where each chunk begins, and one end] then for each call: kernel id, number of arguments, arguments. */
  readonly job: Float64Array<SharedArrayBuffer>;

  constructor(buffer = new SharedArrayBuffer(4 * WORDS + 8 * JOB_NUMBERS)) {
    this.buffer = buffer;
    this.words = new Int32Array(buffer, 0, WORDS);
    this.job = new Float64Array(buffer, 4 * WORDS, JOB_NUMBERS);
  }

  /** Takes a chunk: its index, or -1 when there is none. */
  take(): number {
    for (let open = Atomics.load(this.words, WORD.open); open > 0; ) {
      const was = Atomics.compareExchange(this.words, WORD.open, open, open - 1);
      if (was === open) return open - 1;
      open = was;
    }
    return -1;
  }

  /** Says that a chunk is done; whether it was the last. */
  finish(): boolean {
    return Atomics.sub(this.words, WORD.pending, 1) === 1;
  }

  /** Keeps the first failure of a job. */
  fail(error: unknown): void {
    const trap = error instanceof WebAssembly.RuntimeError ? 1 : 2;
    if (Atomics.compareExchange(this.words, WORD.failed, 0, trap) !== 0) return;
    const text = String((error as Error)?.message ?? error).slice(0, MAX_MESSAGE);
    for (let i = 0; i < text.length; i++) this.words[WORD.message + i] = text.charCodeAt(i);
    Atomics.store(this.words, WORD.length, text.length);
  }

  /** The failure of the job that just ended, forgotten here. */
  failure(): { trap: boolean; message: string } | undefined {
    const kind = Atomics.exchange(this.words, WORD.failed, 0);
    if (!kind) return undefined;
    const length = Atomics.load(this.words, WORD.length);
    const text = String.fromCharCode(...this.words.slice(WORD.message, WORD.message + length));
    return { trap: kind === 1, message: text };
  }
}

/** A job as numbers. `ids`: kernel ids by name. */
export function encodeJob(chunks: readonly (readonly KernelCall[])[], ids: ReadonlyMap<string, number>): Float64Array {
  const numbers: number[] = new Array(chunks.length + 1);
  chunks.forEach((calls, i) => {
    numbers[i] = numbers.length;
    for (const { kernel, args } of calls) numbers.push(ids.get(kernel)!, args.length, ...args);
  });
  numbers[chunks.length] = numbers.length;
  return Float64Array.from(numbers);
}

/** Numbers that {@link encodeJob} makes of a chunk. */
export const chunkNumbers = (calls: readonly KernelCall[]): number =>
  calls.reduce((sum, { args }) => sum + 2 + args.length, 1);

/** Runs chunk `index` of the job in `job`. */
export function runChunk(job: Float64Array, index: number, kernels: readonly Kernels[string][]): void {
  const end = job[index + 1];
  for (let at = job[index]; at < end; ) {
    const kernel = kernels[job[at]];
    const count = job[at + 1];
    at += 2;
    const args: number[] = [];
    for (let i = 0; i < count; i++) args.push(job[at++]);
    kernel(...args);
  }
}

/** After so many sleeps that were shorter than the longest look, one more long look: whoever was in the way may be gone. */
const RETRY = 64;
const LEAST_MS = 0.002;

/**
 * How long to look for something before sleeping. Half as long after every time in vain, since where threads share a core
 * looking keeps the others from working: both threads on one core, MobileNetV1 took 1.15 times as long as with one thread,
 * and takes 1.02 times; jobs of 100 us 1.32 and 1.06.
 */
export class Patience {
  private readonly most: number;
  private now: number;
  private short = 0;

  constructor(ms: number) {
    this.most = ms;
    this.now = ms;
  }

  get ms(): number {
    return this.now;
  }

  /** Looking was enough. */
  found(): void {
    this.now = Math.min(2 * this.now, this.most);
  }

  /** It was in vain; then sleeping took so long. */
  slept(ms: number): void {
    this.now = Math.max(this.now / 2, LEAST_MS);
    if (ms >= this.most || ++this.short < RETRY) return;
    this.short = 0;
    this.now = this.most;
  }
}
