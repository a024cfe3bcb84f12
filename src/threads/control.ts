/**
 * What leader and workers share beside the kernels' memory: a few counters, and the job at hand. A job is a list of chunks that
 * may run in any order and at once; a chunk is a list of kernel calls. Every thread begins at its own place of the list, so that
 * it finds in its cache what it wrote in the job before, and then takes what others have left, so that nothing waits for a worker
 * that is late, asleep or dead but what it has taken.
 */
import type { KernelCall } from '../kernel/call.ts';
import type { Kernels } from '../kernel/instance.ts';
import { turn } from '../kernel/turn.ts';

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
  /** Bits of chunks that are taken, and of those there are not, a word for each 32; then chunks of the job. */
  taken: 64,
  count: 80,
  /** Characters of the failure's message, and from `message` on the characters, one a word. */
  length: 96,
  message: 97,
} as const;

/** Chunks a job may have. */
export const MAX_CHUNKS = 32 * (WORD.count - WORD.taken);

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

  /** @param buffer another thread's; left out, a new one without a job */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(4 * WORDS + 8 * JOB_NUMBERS);
    this.words = new Int32Array(this.buffer, 0, WORDS);
    this.job = new Float64Array(this.buffer, 4 * WORDS, JOB_NUMBERS);
    if (!buffer) this.words.fill(-1, WORD.taken, WORD.count);
  }

  /** Offers the chunks of a job. Nothing can be taken before the stores of `taken`, which come last. */
  offer(numbers: Float64Array, chunks: number): void {
    const { words } = this;
    this.job.set(numbers);
    Atomics.store(words, WORD.count, chunks);
    Atomics.store(words, WORD.pending, chunks);
    Atomics.store(words, WORD.open, chunks);
    for (let first = 0; first < chunks; first += 32) {
      const left = chunks - first;
      Atomics.store(words, WORD.taken + (first >> 5), left < 32 ? -1 << left : 0);
    }
  }

  /** Takes a chunk, the next in the thread's turn that nobody has taken. Its index, or -1 when there is none. */
  take(thread: number, threads: number): number {
    const { words } = this;
    const count = Atomics.load(words, WORD.count);
    for (let i = 0; i < count; i++) {
      const chunk = turn(i, thread, threads, count);
      const [word, bit] = [WORD.taken + (chunk >> 5), 1 << (chunk & 31)];
      if (Atomics.load(words, word) & bit || Atomics.or(words, word, bit) & bit) continue;
      Atomics.sub(words, WORD.open, 1);
      return chunk;
    }
    return -1;
  }

  /** Takes all chunks that nobody has, so that nobody will; their number. */
  takeAll(): number {
    const { words } = this;
    let left = 0;
    for (let word = WORD.taken; word < WORD.count; word++) {
      for (let free = ~Atomics.exchange(words, word, -1); free; free &= free - 1) left++;
    }
    Atomics.sub(words, WORD.open, left);
    return left;
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
