/** Cuts calls and compares what the chunks leave with what the whole calls leave. */
import { expect } from 'vitest';
import type { KernelCall } from '../../src/kernel/call.ts';
import { splitCalls } from '../../src/kernel/split.ts';
import { Bench, type ISAS } from './kernels.ts';

/** Kernels that were cut. */
export const covered = new Set<string>();

/** Runs calls whole, then in chunks in reverse order, and compares all memory. */
export function check(isa: (typeof ISAS)[number], build: (b: Bench) => KernelCall[], threads = 3, phasesCut = 1): void {
  const b = new Bench(isa);
  const calls = build(b);
  // Scratch beyond everything, where no comparison looks.
  const end = b.alloc(64, 'end');
  const scratchBytes = 1 << 20;
  b.alloc(scratchBytes, 'scratch');
  let scratch = end + 192;
  const phases = splitCalls(calls, {
    threads,
    view: (at, bytes) => new Uint8Array(b.memory.buffer, at, bytes),
    scratch: (bytes) => {
      const at = scratch;
      scratch = Math.ceil((scratch + bytes) / 64) * 64;
      expect(scratch).toBeLessThan(end + scratchBytes);
      return at;
    },
  });
  expect(phases.filter((p) => p.length > 1).length, 'phases cut').toBeGreaterThanOrEqual(phasesCut);
  for (const phase of phases) for (const chunk of phase) for (const c of chunk) covered.add(c.kernel);
  const before = new Uint8Array(b.memory.buffer, 0, end).slice();
  for (const { kernel, args } of calls) b.exports[kernel](...args);
  b.check();
  const whole = new Uint8Array(b.memory.buffer, 0, end).slice();
  new Uint8Array(b.memory.buffer, 0, end).set(before);
  for (const phase of phases) {
    for (const chunk of [...phase].reverse()) for (const { kernel, args } of chunk) b.exports[kernel](...args);
  }
  b.check();
  const parts = Buffer.from(b.memory.buffer, 0, end);
  for (const { at, bytes } of ignored.get(b) ?? []) {
    parts.fill(0, at, at + bytes);
    whole.fill(0, at, at + bytes);
  }
  if (parts.equals(whole)) return;
  const i = parts.findIndex((byte, at) => byte !== whole[at]);
  throw new Error(`${calls[0].kernel}: byte ${i} of ${end}: ${parts[i]} in parts, ${whole[i]} whole`);
}

/** Blocks that hold anything afterwards. */
const ignored = new Map<Bench, { at: number; bytes: number }[]>();
export function scratchBlock(b: Bench, bytes: number): number {
  const at = b.alloc(bytes, 'scratch');
  ignored.set(b, [...(ignored.get(b) ?? []), { at, bytes }]);
  return at;
}
