/** The built module for this engine, a bump allocator over its memory, and the command line of a bench. */
import { readFileSync } from 'node:fs';
import type { KernelCall } from '../../src/kernel/call.ts';

export type Isa = 'simd128' | 'relaxed';

const wasm = (isa: Isa) => readFileSync(`${option('wasm', 'dist/wasm')}/sparsimd.${isa}.wasm`);

export const ISAS: Isa[] = (['simd128', 'relaxed'] as const).filter((isa) => WebAssembly.validate(wasm(isa)));

export class Machine {
  readonly exports: Record<string, (...args: number[]) => number>;
  readonly memory: WebAssembly.Memory;
  private top = 1024;

  constructor(isa: Isa) {
    const instance = new WebAssembly.Instance(new WebAssembly.Module(wasm(isa)));
    this.exports = instance.exports as never;
    this.memory = instance.exports.memory as WebAssembly.Memory;
  }

  alloc(bytes: number): number {
    const at = this.top;
    this.top = Math.ceil((at + bytes) / 64) * 64;
    const missing = this.top + 64 - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / 65536));
    return at;
  }

  put(data: Uint8Array | Float32Array): number {
    const at = this.alloc(data.byteLength);
    new Uint8Array(this.memory.buffer).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    return at;
  }

  reset(): void {
    this.top = 1024;
  }

  /** A function that makes the calls. */
  bind(calls: readonly KernelCall[]): () => void {
    const bound = calls.map(({ kernel, args }) => ({ f: this.exports[kernel], args }));
    return () => {
      for (const { f, args } of bound) f(...args);
    };
  }
}

/** `--name value` from the command line. */
export function option(name: string, otherwise: string): string {
  const i = process.argv.indexOf(`--${name}`);
  return i < 0 ? otherwise : process.argv[i + 1];
}

/** A seeded generator of floats in [-1, 1). */
export function rng(seed: number): () => number {
  let s = (seed * 2654435761) >>> 0 || 1;
  return () => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s >>> 0) / 2147483648 - 1;
  };
}
