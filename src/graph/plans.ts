/** The plans of one network, made for the shapes it meets; they share its weights and one workspace. */
import type { Engine } from '../engine.ts';
import { ArgumentTypeError, describe, InputError, ModelFormatError, UnsupportedError } from '../errors.ts';
import { isTensor, Tensor, type TensorType } from '../tensor.ts';
import type { Graph } from './ir.ts';
import { type Draft, draft, type Plan } from './plan.ts';
import type { Prepare } from './prepare.ts';
import { type Sparsity, Weights } from './weights.ts';

/** Plans kept; a plan is small, its workspace is shared. */
const MAX_PLANS = 16;
/** Values of shape inputs longer than this many bytes are not kept as keys: such a plan is made anew each time. */
const MAX_KEY_BYTES = 4096;

export class Plans {
  readonly weights: Weights;
  private readonly graph: Graph;
  private readonly engine: Engine;
  private readonly prepared: Prepare;
  private readonly drafts = new Map<string, Draft & { plan?: Plan; base?: number }>();
  /** Graph inputs whose values decide shapes: plans are made for their values. */
  private readonly shapeInputs = new Set<string>();
  private workspace = { at: 0, bytes: 0 };

  constructor(graph: Graph, engine: Engine, sparsity: Sparsity, prepared: Prepare) {
    this.graph = graph;
    this.engine = engine;
    this.prepared = prepared;
    this.weights = new Weights(engine, sparsity, prepared);
  }

  /**
   * Plans ahead for the declared shapes, a leading symbol (the batch) being 1, so that weights are packed, mistakes show at
   * load and the first run is fast. With other open dimensions, plans wait for the first run.
   */
  prepare(): void {
    for (const node of this.graph.nodes) if (node.op !== 'If') this.prepared.opOf(node, this.prepared.ops);
    const types = new Map<string, TensorType>();
    for (const { name, type, dims } of this.graph.inputs) {
      if (!dims?.every((d, i) => i === 0 || typeof d === 'number')) return;
      types.set(name, { type, dims: dims.map((d) => (typeof d === 'number' ? d : 1)) });
    }
    try {
      this.bind(this.build(types, new Map(), keyOf(types, new Map())));
    } catch (error) {
      // A batch of 1 was our guess, and a value may be needed that only a run brings: the run will say.
      const guessed = this.graph.inputs.some((i) => typeof i.dims?.[0] !== 'number');
      if (!(error instanceof this.prepared.NeedsValue || (guessed && error instanceof ModelFormatError))) throw error;
    }
  }

  /**
   * The plan for inputs of such shapes, bound to memory.
   * @throws InputError for a missing or unknown name, a wrong type or shape; OutOfMemoryError
   */
  for(given: Readonly<Record<string, Tensor>>): Plan {
    const feeds = this.check(given);
    for (;;) {
      const types = new Map(
        this.graph.inputs.map(({ name }) => [name, { type: feeds[name].type, dims: feeds[name].dims }]),
      );
      const known = new Map([...this.shapeInputs].map((name) => [name, feeds[name]]));
      const key = keyOf(types, known);
      try {
        const entry = (key && this.drafts.get(key)) || this.build(types, known, key);
        if (key) {
          this.drafts.delete(key);
          this.drafts.set(key, entry); // last used last
        }
        return this.bind(entry);
      } catch (error) {
        if (!(error instanceof this.prepared.NeedsValue)) throw error;
        const before = this.shapeInputs.size;
        for (const name of this.prepared.ancestorsOf(this.graph, error.value)) this.shapeInputs.add(name);
        if (this.shapeInputs.size === before) {
          throw new UnsupportedError(
            `value "${error.value}": a shape depends on it and it is too large to compute ahead`,
          );
        }
        this.drafts.clear();
      }
    }
  }

  dispose(): void {
    this.drafts.clear();
    this.weights.dispose();
    this.engine.arena.release(this.workspace.at);
  }

  private check(feeds: Readonly<Record<string, Tensor>>): Record<string, Tensor> {
    if (typeof feeds !== 'object' || feeds === null)
      throw new ArgumentTypeError('feeds', 'tensors by input name', feeds);
    const checked = new Map<string, Tensor>();
    for (const [name, tensor] of Object.entries(feeds)) {
      if (!isTensor(tensor) || !ArrayBuffer.isView(tensor.data))
        throw new InputError(name, `expected a Tensor, got ${describe(tensor)}`);
      try {
        // Again: it may be of another bundle or come from a worker, and buffers are sent away, or shrink.
        checked.set(name, new Tensor(tensor.type, tensor.data, tensor.dims));
      } catch (error) {
        throw new InputError(name, (error as Error).message);
      }
    }
    this.prepared.checkInputs(this.graph, checked);
    return Object.fromEntries(checked);
  }

  private build(types: Map<string, TensorType>, known: Map<string, Tensor>, key: string | undefined): Draft {
    // Plans outlive the caller's tensors, whose data may change.
    const kept = new Map(
      [...known].map(([name, { type, data, dims }]) => [name, new Tensor(type, data.slice(), dims)]),
    );
    const made = draft(this.graph, types, kept, this.weights, this.engine, this.prepared);
    if (key) {
      this.drafts.set(key, made);
      if (this.drafts.size > MAX_PLANS) this.drafts.delete(this.drafts.keys().next().value!);
    }
    return made;
  }

  /** Gives a plan its addresses. All plans share one workspace; when it has to grow, plans bound to the old one are bound again. */
  private bind(entry: Draft & { plan?: Plan; base?: number }): Plan {
    const { arena } = this.engine;
    if (entry.workspaceBytes > this.workspace.bytes) {
      arena.release(this.workspace.at);
      this.workspace = { at: 0, bytes: 0 };
      this.workspace = { at: arena.alloc(entry.workspaceBytes), bytes: entry.workspaceBytes };
    }
    if (!entry.plan || entry.base !== this.workspace.at) {
      entry.plan = entry.bind(this.workspace.at);
      entry.base = this.workspace.at;
    }
    return entry.plan;
  }
}

/** Identifies a plan: shapes, and the values that decide shapes. Undefined: too long to keep. */
function keyOf(types: Map<string, TensorType>, known: Map<string, Tensor>): string | undefined {
  let key = '';
  for (const [name, { dims }] of types) key += `${name}:${dims.join('x')};`;
  for (const [name, { data }] of known) {
    if (data.byteLength > MAX_KEY_BYTES) return undefined;
    key += `${name}=${data.join(',')};`;
  }
  return key;
}
