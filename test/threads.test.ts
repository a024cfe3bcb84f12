import { describe, expect, test } from 'vitest';
import { Engine } from '../src/engine.ts';
import { spmmCalls } from '../src/kernel/spmm.ts';
import { packSpmm } from '../src/pack/spmm.ts';
import { randf } from './support/kernels.ts';
import { spmmVariants } from './support/spmm.ts';

/** [rows][cols] with about `density` of nonzeros, in groups of `g` rows. */
function sparse(rows: number, cols: number, density: number, g: number, seed = 1): Float32Array {
  const w = randf(rows * cols, seed);
  const keep = randf(Math.ceil(rows / g) * cols, seed + 1);
  return w.map((v, i) => (keep[Math.floor(i / cols / g) * cols + (i % cols)] < 2 * density - 1 ? v : 0));
}

/** Y in panels, as the engine computes it. */
function product(
  engine: Engine,
  variant: string,
  rows: number,
  cols: number,
  columns: number,
  plain = false,
): Float32Array {
  const { arena } = engine;
  const v = spmmVariants().find((s) => s.name === variant)!;
  const packed = packSpmm(sparse(rows, cols, 0.3, 4), rows, cols, v, randf(rows, 3));
  const panels = Math.ceil(columns / 16);
  const at = arena.alloc(packed.bytes);
  const x = arena.alloc(panels * cols * 64);
  const yBytes = plain ? rows * columns * 4 + 64 : panels * rows * 64;
  const y = arena.alloc(yBytes);
  arena.view('uint8', at, packed.bytes).set(packed.data);
  arena.view('float32', x, panels * cols * 16).set(randf(panels * cols * 16, 5));
  arena.view('uint8', y, yBytes).fill(0xc5);
  const io = plain
    ? { yPanelStride: 64, yChannelStride: 4 * columns }
    : { yPanelStride: rows * 64, yChannelStride: 64 };
  engine.bind(spmmCalls(packed, at, { x, xPanelStride: cols * 64, y, ...io, columns, min: -3, max: 3 }))();
  const out = arena.view('float32', y, yBytes / 4).slice();
  for (const block of [at, x, y]) arena.release(block);
  return out;
}

const same = (a: Float32Array, b: Float32Array) => Buffer.compare(Buffer.from(a.buffer), Buffer.from(b.buffer)) === 0;

describe('bit-identical to one thread', () => {
  test('SpMM of ragged shapes', async () => {
    const engines = await Promise.all([1, 2, 3].map((threads) => Engine.create({ threads })));
    expect(engines.map((e) => e.info.threads)).toEqual([1, 2, 3]);
    const shapes = [
      [96, 300, 384],
      [101, 97, 197],
      [515, 512, 49],
      [203, 600, 17],
      [64, 64, 1000],
      [7, 1000, 101],
    ];
    for (const { name } of spmmVariants()) {
      for (const [rows, cols, columns] of shapes) {
        for (const plain of [false, true]) {
          const [one, ...others] = engines.map((e) => product(e, name, rows, cols, columns, plain));
          for (const y of others) expect(same(one, y), `${name} ${rows}x${cols}x${columns} ${plain}`).toBe(true);
        }
      }
    }
    for (const e of engines) e.dispose();
  });
});
