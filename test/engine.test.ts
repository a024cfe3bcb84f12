import { readFileSync } from 'node:fs';
import { describe, expect, test, vi } from 'vitest';
import { Engine } from '../src/engine.ts';
import {
  ArgumentTypeError,
  AssetError,
  DisposedError,
  OutOfMemoryError,
  SparsimdError,
  UnsupportedError,
} from '../src/errors.ts';
import { chooseIsa, detect } from '../src/kernel/isa.ts';
import { ISAS } from './support/kernels.ts';

const wasm = (isa: string) => readFileSync(new URL(`../dist/wasm/sparsimd.${isa}.wasm`, import.meta.url));

describe('choosing the instruction set', () => {
  const both = { simd128: true, relaxed: true };
  const plain = { simd128: true, relaxed: false };
  test('what the engine has decides, an option pins it', () => {
    expect(chooseIsa(undefined, false, both).isa).toBe('relaxed');
    expect(chooseIsa(undefined, false, plain).isa).toBe('simd128');
    expect(chooseIsa('simd128', false, both).isa).toBe('simd128');
    expect(chooseIsa(undefined, true, both)).toMatchObject({
      isa: 'simd128',
      why: expect.stringContaining('deterministic'),
    });
  });
  test('what cannot be had is refused', () => {
    expect(() => chooseIsa(undefined, false, { simd128: false, relaxed: false })).toThrow(UnsupportedError);
    expect(() => chooseIsa('relaxed', false, plain)).toThrow(UnsupportedError);
    expect(() => chooseIsa('relaxed', true, both)).toThrow(/deterministic/);
  });
  test('detection agrees with what compiles', () => {
    expect(detect()).toEqual({ simd128: true, relaxed: ISAS.includes('relaxed') });
  });
});

describe('where the module comes from', () => {
  const bytes = wasm('simd128');
  test.each([
    ['a module', () => new WebAssembly.Module(bytes)],
    ['bytes', () => bytes],
    ['an ArrayBuffer', () => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)],
    ['a Response', () => new Response(bytes)],
    ['a promise', () => Promise.resolve(bytes)],
    ['a data: URL', () => `data:application/wasm;base64,${bytes.toString('base64')}`],
    ['nothing', () => undefined],
  ])('%s', async (_, source) => {
    using engine = await Engine.create({ isa: 'simd128', wasm: source() as never });
    expect(engine.info).toMatchObject({ isa: 'simd128', threads: 1 });
  });
  test.each([
    ['an HTML page', () => new TextEncoder().encode('<!DOCTYPE html><html>404</html>'), /HTML page/],
    ['an HTML response', () => new Response('<html></html>', { status: 200 }), /HTML page/],
    ['a 404', () => new Response('gone', { status: 404, statusText: 'Not Found' }), /404/],
    ['nothing at all', () => new Uint8Array(0), /0 bytes/],
    ['a truncated module', () => bytes.subarray(0, 100), /compile/],
    ['another module', () => new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]), /not one of sparsimd/],
    ['a number', () => 7, /got number/],
    ['a server that is not there', () => 'http://127.0.0.1:9/sparsimd.wasm', /cannot fetch/],
  ])('%s is an AssetError', async (_, source, message) => {
    const made = Engine.create({ isa: 'simd128', wasm: source() as never });
    await expect(made).rejects.toThrow(AssetError);
    await expect(Engine.create({ isa: 'simd128', wasm: source() as never })).rejects.toThrow(message as RegExp);
  });
  test('Node compiles and instantiates at once: see atOnce in src/kernel/instance.ts', async () => {
    const later = ['compile', 'instantiate'].map((f) => vi.spyOn(WebAssembly, f as 'compile'));
    const engines = [await Engine.create(), await Engine.create({ wasm: bytes, isa: 'simd128' })];
    for (const f of later) expect(f).not.toHaveBeenCalled();
    for (const engine of engines) engine.dispose();
    vi.restoreAllMocks();
  });
  test('a module for another instruction set is refused', async () => {
    const relaxed = wasm('relaxed');
    if (ISAS.includes('relaxed')) {
      await expect(Engine.create({ wasm: bytes })).rejects.toThrow(/is for simd128, this engine for relaxed: hand in/);
      await expect(Engine.create({ wasm: relaxed, deterministic: true })).rejects.toThrow(/is for relaxed/);
    } else await expect(Engine.create({ wasm: relaxed })).rejects.toThrow(/does not compile/);
  });
  test('wrong options are typed errors', async () => {
    const gone = new ArrayBuffer(8);
    structuredClone(gone, { transfer: [gone] });
    await expect(Engine.create({ wasm: gone })).rejects.toThrow(ArgumentTypeError);
    await expect(Engine.create({ isa: 'avx' as never })).rejects.toThrow(ArgumentTypeError);
    await expect(Engine.create({ maxBytes: -1 })).rejects.toThrow(ArgumentTypeError);
  });
});

test.each(ISAS)('%s: single-threaded modules import nothing', (isa) => {
  expect(WebAssembly.Module.imports(new WebAssembly.Module(wasm(isa)))).toEqual([]);
});

test('a trap poisons its engine and no other', async () => {
  const [a, b] = [await Engine.create(), await Engine.create()];
  expect(() =>
    a.guard(() => {
      throw new WebAssembly.RuntimeError('unreachable');
    }),
  ).toThrow(WebAssembly.RuntimeError);
  expect(() => a.guard(() => 1)).toThrow(SparsimdError);
  expect(b.guard(() => 1)).toBe(1);
});

test('dispose frees, twice is fine, later use is an error', async () => {
  const engine = await Engine.create();
  engine.arena.alloc(1000);
  engine.dispose();
  engine.dispose();
  expect(engine.arena.size).toBe(0);
  expect(() => engine.check()).toThrow(DisposedError);
});

test('memory that may not grow is an OutOfMemoryError and the engine goes on', async () => {
  using engine = await Engine.create({ maxBytes: 4 * 65536 });
  expect(() => engine.arena.alloc(2 ** 20)).toThrow(OutOfMemoryError);
  expect(engine.arena.alloc(1000)).toBeGreaterThan(0);
});

test('a kernel that is not there is refused when bound', async () => {
  using engine = await Engine.create();
  expect(() => engine.bind([{ kernel: 'f32_nothing', args: [] }])).toThrow(/f32_nothing/);
});
