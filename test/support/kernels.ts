// Raw access to the built wasm modules for kernel tests: a bump allocator with canaries, typed views, both instruction sets.
import { readFileSync } from 'node:fs';

export type Isa = 'simd128' | 'relaxed';

const CANARY = 0xc5;
const GUARD = 64;

const bytes = (isa: Isa) => readFileSync(new URL(`../../dist/wasm/sparsimd.${isa}.wasm`, import.meta.url));

/** The instruction sets this engine runs: relaxed is missing on Node 20. */
export const ISAS: Isa[] = (['simd128', 'relaxed'] as const).filter((isa) => WebAssembly.validate(bytes(isa)));

export class Bench {
  readonly isa: Isa;
  readonly memory: WebAssembly.Memory;
  readonly exports: Record<string, (...args: number[]) => number>;
  private top = 1024;
  private guards: { at: number; bytes: number; name: string }[] = [];

  constructor(isa: Isa, modules: Map<Isa, WebAssembly.Module> = MODULES) {
    let m = modules.get(isa);
    if (!m) modules.set(isa, (m = new WebAssembly.Module(bytes(isa))));
    const instance = new WebAssembly.Instance(m);
    this.isa = isa;
    this.exports = instance.exports as never;
    this.memory = instance.exports.memory as WebAssembly.Memory;
  }

  /** 64-byte aligned block flanked by canaries that {@link check} verifies. Filled with canary bytes. */
  alloc(size: number, name = 'block'): number {
    const at = Math.ceil((this.top + GUARD) / 64) * 64;
    const end = at + size + GUARD;
    const have = this.memory.buffer.byteLength;
    if (end > have) this.memory.grow(Math.ceil((end - have) / 65536));
    new Uint8Array(this.memory.buffer, at - GUARD, size + 2 * GUARD).fill(CANARY);
    this.guards.push({ at, bytes: size, name });
    this.top = end;
    return at;
  }

  put(data: Float32Array | Uint32Array | Int32Array | Uint8Array, name?: string): number {
    const at = this.alloc(data.byteLength, name);
    new Uint8Array(this.memory.buffer, at, data.byteLength).set(
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    );
    return at;
  }

  f32(at: number, length: number): Float32Array {
    return new Float32Array(this.memory.buffer, at, length);
  }

  /** Throws when a byte around any block was written. */
  check(): void {
    for (const g of this.guards) {
      const before = new Uint8Array(this.memory.buffer, g.at - GUARD, GUARD);
      const after = new Uint8Array(this.memory.buffer, g.at + g.bytes, GUARD);
      const bad = before.findIndex((b) => b !== CANARY);
      if (bad >= 0) throw new Error(`canary before ${g.name} overwritten, ${GUARD - bad} bytes below`);
      const past = after.findIndex((b) => b !== CANARY);
      if (past >= 0) throw new Error(`canary after ${g.name} overwritten, at +${past}`);
    }
  }

  /** Forgets every block. */
  reset(): void {
    this.top = 1024;
    this.guards = [];
  }
}

const MODULES = new Map<Isa, WebAssembly.Module>();

/** A seeded xorshift generator of floats in [-1, 1). */
export function rng(seed = 1): () => number {
  let s = (seed * 2654435761) >>> 0 || 1;
  return () => {
    s ^= s << 13;
    s >>>= 0;
    s ^= s >>> 17;
    s ^= s << 5;
    s >>>= 0;
    return s / 2147483648 - 1;
  };
}

/** n random floats in [-1, 1). */
export function randf(n: number, seed = 1): Float32Array {
  const r = rng(seed);
  return Float32Array.from({ length: n }, () => r());
}
