/** A model's weights in the engine's memory: packed once per layer and format, shared by all plans, freed together. */
import type { Engine } from '../engine.ts';
import type { FewChoice } from '../kernel/few.ts';
import type { Choice } from '../kernel/select.ts';
import type { WeightChooser } from './lower/types.ts';
import type { Prepare } from './prepare.ts';

export type Sparsity = 'auto' | 'off';

const NOTHING = new Uint8Array(0);

export class Weights implements WeightChooser {
  readonly engine: Engine;
  readonly sparsity: Sparsity;
  private readonly prepare: Prepare;
  /** Bytes in memory. */
  bytes = 0;
  private blocks = new Map<ArrayBufferView, number>();
  private packs = new Map<string, { at: number; packed: { data: Uint8Array } }>();
  private choices = new Map<string, Choice>();
  private fews = new Map<string, FewChoice>();

  constructor(engine: Engine, sparsity: Sparsity, prepare: Prepare) {
    this.engine = engine;
    this.sparsity = sparsity;
    this.prepare = prepare;
  }

  /** The address of a constant, which is uploaded when it is not in memory yet. */
  constant(data: ArrayBufferView): number {
    let at = this.blocks.get(data);
    if (at === undefined) {
      at = this.upload(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      this.blocks.set(data, at);
    }
    return at;
  }

  /** Packed weights and their address; the JavaScript copy of the bytes is let go once they are in memory. */
  packed<T extends { data: Uint8Array }>(key: string, make: () => T): { at: number; packed: T } {
    let entry = this.packs.get(key);
    if (!entry) {
      const packed = make();
      entry = { at: this.upload(packed.data), packed: { ...packed, data: NOTHING } };
      this.packs.set(key, entry);
    }
    return entry as { at: number; packed: T };
  }

  room(family: string, key: string, most: number): boolean {
    return this.packs.has(key) || [...this.packs.keys()].filter((k) => k.startsWith(family)).length < most;
  }

  /** The first choice for a layer stands for all later plans, so that its weights are packed once. */
  choose(key: string, weights: Float32Array, rows: number, cols: number, columns: number): Choice {
    const formats = this.sparsity === 'off' ? 'dense' : 'all';
    return this.remember(key, () => this.prepare.chooseFormat(this.engine, formats, weights, rows, cols, columns));
  }

  chooseSparse(
    key: string,
    weights: Float32Array,
    rows: number,
    cols: number,
    columns: number,
    runs: number,
  ): Choice | undefined {
    if (this.sparsity === 'off') return undefined;
    return this.remember(`${key}|sparse`, () =>
      this.prepare.chooseFormat(this.engine, 'sparse', weights, rows, cols, columns, runs),
    );
  }

  private remember(key: string, make: () => Choice): Choice {
    let choice = this.choices.get(key);
    if (!choice) this.choices.set(key, (choice = make()));
    return choice;
  }

  /** One choice a layer and number of tokens. */
  chooseFew(key: string, weights: Float32Array, rows: number, cols: number, tokens: number): FewChoice {
    const name = `${key}|${tokens}`;
    let choice = this.fews.get(name);
    if (!choice) {
      const { isa } = this.engine.info;
      choice = this.prepare.chooseFew(isa, this.sparsity === 'off', weights, rows, cols, tokens);
      this.fews.set(name, choice);
    }
    return choice;
  }

  dispose(): void {
    for (const at of this.blocks.values()) this.engine.arena.release(at);
    for (const { at } of this.packs.values()) this.engine.arena.release(at);
    this.blocks.clear();
    this.packs.clear();
    this.bytes = 0;
  }

  private upload(data: Uint8Array): number {
    const at = this.engine.arena.alloc(data.length);
    this.engine.arena.view('uint8', at, data.length).set(data);
    this.bytes += data.length;
    return at;
  }
}
