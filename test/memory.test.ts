import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DisposedError, OutOfMemoryError } from '../src/errors.ts';
import { Arena, type GrowableMemory } from '../src/memory/arena.ts';
import { planMemory } from '../src/memory/planner.ts';

const PAGE = 65536;

/** A memory of any size without the bytes. */
function mock(limit = 65536): GrowableMemory & { pages: number } {
  const memory = {
    pages: 1,
    get buffer() {
      return { byteLength: memory.pages * PAGE } as ArrayBuffer;
    },
    grow(pages: number) {
      if (memory.pages + pages > limit) throw new RangeError('out of memory');
      const before = memory.pages;
      memory.pages += pages;
      return before;
    },
  };
  return memory;
}

test('blocks are aligned, never overlap, and freed ones are used again', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ bytes: fc.nat(200_000), free: fc.boolean() }), { maxLength: 60 }), (steps) => {
      const arena = new Arena(mock());
      const live: { at: number; end: number }[] = [];
      for (const { bytes, free } of steps) {
        const at = arena.alloc(bytes);
        expect(at % 64).toBe(0);
        expect(at).toBeGreaterThan(0);
        expect(at + bytes).toBeLessThanOrEqual(arena.size);
        for (const b of live) expect(at >= b.end || at + Math.max(bytes, 1) <= b.at).toBe(true);
        if (free) arena.release(at);
        else live.push({ at, end: at + Math.max(bytes, 1) });
      }
      for (const { at } of live) arena.release(at);
      expect(arena.used).toBe(0);
      const size = arena.size;
      arena.release(arena.alloc(size - 2048)); // all neighbours merged again
      expect(arena.size).toBe(size);
    }),
  );
});

test('past 2 and 4 GiB: offsets stay exact, the limit is an error, and the arena goes on', () => {
  const arena = new Arena(mock());
  const a = arena.alloc(1.5 * 2 ** 30);
  const b = arena.alloc(1.9 * 2 ** 30);
  expect(b).toBeGreaterThanOrEqual(a + 1.5 * 2 ** 30);
  const used = arena.used;
  for (const bytes of [2 ** 30, 2 ** 31 - 1, 2 ** 32, 2 ** 53, Number.POSITIVE_INFINITY]) {
    expect(() => arena.alloc(bytes)).toThrow(OutOfMemoryError);
  }
  expect(arena.used).toBe(used);
  arena.release(b);
  expect(arena.alloc(2 ** 30)).toBe(b);
});

test('a refused growth names what was needed and the limit', () => {
  const arena = new Arena(mock(4));
  arena.alloc(2 * PAGE);
  const error = (() => {
    try {
      arena.alloc(5 * PAGE);
    } catch (e) {
      return e;
    }
  })();
  expect(error).toBeInstanceOf(OutOfMemoryError);
  expect((error as OutOfMemoryError).needed).toBeGreaterThan(5 * PAGE);
  arena.alloc(PAGE);
});

test('maxBytes is the limit', () => {
  const arena = new Arena(mock(), 1024, 10 * PAGE);
  expect(() => arena.alloc(10 * PAGE)).toThrow(OutOfMemoryError);
  arena.alloc(8 * PAGE);
});

test('views reach the memory, and nothing works after dispose', () => {
  const arena = new Arena(new WebAssembly.Memory({ initial: 1 }));
  const at = arena.alloc(64);
  arena.view('float32', at, 16).fill(3);
  expect(arena.view('float32', at + 60, 1)[0]).toBe(3);
  arena.dispose();
  expect(() => arena.view('float32', at, 1)).toThrow(DisposedError);
  expect(() => arena.alloc(1)).toThrow(DisposedError);
});

test('planned buffers that live together never overlap', () => {
  const lifetime = fc
    .record({ bytes: fc.nat(5000), first: fc.nat(20), length: fc.nat(8) })
    .map(({ bytes, first, length }) => ({ bytes, first, last: first + length }));
  fc.assert(
    fc.property(fc.array(lifetime, { maxLength: 40 }), (lives) => {
      const { offsets, bytes } = planMemory(lives);
      lives.forEach((a, i) => {
        expect(offsets[i] % 64).toBe(0);
        expect(offsets[i] + a.bytes).toBeLessThanOrEqual(bytes);
        lives.forEach((b, j) => {
          if (i < j && a.first <= b.last && b.first <= a.last && a.bytes && b.bytes) {
            expect(offsets[i] + a.bytes <= offsets[j] || offsets[j] + b.bytes <= offsets[i]).toBe(true);
          }
        });
      });
    }),
  );
});

test('a chain of buffers needs no more than its two largest neighbours', () => {
  const lives = Array.from({ length: 10 }, (_, i) => ({ bytes: 6400, first: i, last: i + 1 }));
  expect(planMemory(lives).bytes).toBe(12800);
});

test('a limit that is no multiple of a page: OutOfMemoryError, and no block beyond the memory', () => {
  for (const limit of [1, 65535, 65537, 88_000, 100_000, 300_001, 1_100_000]) {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const arena = new Arena(memory, 1024, limit);
    const sizes = [100, 9_000, 30_000, 64, 70_000, 500_000];
    for (let i = 0; i < 60; i++) {
      try {
        const at = arena.alloc(sizes[i % sizes.length]);
        expect(at + sizes[i % sizes.length]).toBeLessThanOrEqual(memory.buffer.byteLength);
      } catch (error) {
        expect(error).toMatchObject({ code: 'OUT_OF_MEMORY' });
      }
    }
    expect(memory.buffer.byteLength).toBeLessThanOrEqual(Math.max(65536, limit));
  }
});
