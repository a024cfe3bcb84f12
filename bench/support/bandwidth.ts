/** How fast this engine reads memory: what a kernel that streams its weights can reach at most. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Isa } from './machine.ts';
import type { Clock } from './timing.ts';

/** GB/s of 16-byte loads over `bytes` bytes, again and again. */
export function readBandwidth(isa: Isa, clock: Clock, bytes: number, ms: number): number {
  const module = new WebAssembly.Module(readFileSync(join('.scratch', 'bench', `roofline.${isa}.wasm`)));
  const { read, memory } = new WebAssembly.Instance(module).exports as {
    read: (from: number, bytes: number) => number;
    memory: WebAssembly.Memory;
  };
  const size = Math.max(64, bytes & ~63);
  memory.grow(Math.ceil(size / 65536));
  // Pages that were never written share one page of zeros.
  new Uint8Array(memory.buffer, 0, size).fill(1);
  const [t] = clock.measure([{ name: 'read', run: () => read(0, size) }], ms);
  return size / t.median;
}
