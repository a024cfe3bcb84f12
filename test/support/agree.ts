// Models against the interpreter: both instruction sets, sparse and dense, one set of inputs after the other and again.
import { expect } from 'vitest';
import { interpret } from '../../src/graph/interpret.ts';
import type { Graph } from '../../src/graph/ir.ts';
import { Engine, Model, type Tensor } from '../../src/index.ts';
import { ISAS, type Isa } from './kernels.ts';
import { difference } from './models.ts';

type Feeds = Record<string, Tensor>;

/** Memory that holds what earlier work left: nothing may count on zeros. */
async function soiled(isa: Isa): Promise<Engine> {
  const engine = await Engine.create({ isa });
  const { arena } = engine;
  const at = arena.alloc(1 << 20);
  arena.view('float32', at, 1 << 18).fill(7.25);
  arena.release(at);
  return engine;
}

/** @returns the last of the models */
export async function agree(g: Graph, feeds: Feeds | readonly Feeds[], tolerance = 2e-5): Promise<Model> {
  const list = Array.isArray(feeds) ? (feeds as Feeds[]) : [feeds as Feeds];
  const expected = list.map((f) => interpret(g, f));
  let last: Model | undefined;
  for (const isa of ISAS) {
    for (const sparsity of ['auto', 'off'] as const) {
      last?.engine.dispose();
      const model = await Model.load(g, { engine: await soiled(isa), sparsity });
      for (let repeat = 0; repeat < 2; repeat++) {
        list.forEach((f, i) => {
          const results = model.runSync(f);
          for (const name of Object.keys(expected[i])) {
            const what = `${name}, inputs ${i}, ${isa}, ${sparsity}`;
            expect(difference(results[name], expected[i][name]), what).toBeLessThan(tolerance);
          }
        });
      }
      last = model;
    }
  }
  return last!;
}
