/** A worker's whole life, after its host's entry has received what it needs. */
import type { Kernels } from '../kernel/instance.ts';
import { Control, Patience, runChunk, WORD } from './control.ts';

/** What a worker is started with. */
export interface WorkerStart {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly control: SharedArrayBuffer;
  /** Kernel names; the index is the id that jobs use. */
  readonly names: readonly string[];
  /** Which of so many threads this is; 0 is the leader. */
  readonly thread: number;
  readonly threads: number;
}

/** How long a worker without work looks for some before it sleeps: between two steps of a network it stays awake. */
const patience = new Patience(0.08);

/**
 * Runs chunks until it is told to end. Blocks its thread.
 * @param ready called when the worker can take chunks
 */
export function serve(start: WorkerStart, ready: () => void): void {
  const { module, memory, control: buffer, names, thread, threads } = start;
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const kernels = names.map((name) => exports[name] as Kernels[string]);
  const control = new Control(buffer);
  const { words, job } = control;
  ready();
  for (;;) {
    const chunk = control.take(thread, threads);
    if (chunk >= 0) {
      try {
        runChunk(job, chunk, kernels);
      } catch (error) {
        control.fail(error);
      }
      if (control.finish()) Atomics.notify(words, WORD.pending);
      continue;
    }
    if (!waitForWork(words)) return;
  }
}

/** False: the worker must end. */
function waitForWork(words: Int32Array): boolean {
  const start = performance.now();
  let now = start;
  do {
    for (let i = 0; i < 64; i++) {
      const open = Atomics.load(words, WORD.open);
      if (!open) continue;
      patience.found();
      return open > 0;
    }
    now = performance.now();
  } while (now < start + patience.ms);
  Atomics.add(words, WORD.asleep, 1);
  Atomics.wait(words, WORD.open, 0);
  Atomics.sub(words, WORD.asleep, 1);
  patience.slept(performance.now() - now);
  return Atomics.load(words, WORD.open) >= 0;
}
