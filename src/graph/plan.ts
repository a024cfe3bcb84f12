/**
 * From a graph and the types of its inputs to a list of steps with fixed addresses: lower each node to kernels, assign
 * layouts, place buffers by lifetime. A plan holds for one set of input shapes; the model caches plans.
 */
import type { Engine } from '../engine.ts';
import { planMemory } from '../memory/planner.ts';
import type { Known } from '../ops/types.ts';
import type { Tensor, TensorType } from '../tensor.ts';
import { type Graph, type Node, needsOf } from './ir.ts';
import { clampOf, lowerNode, prefer, TRANSPARENT } from './lower/index.ts';
import { convert, fixed } from './lower/layout.ts';
import type { Clamp, LowerContext, Lowered, Slot, StepFacts } from './lower/types.ts';
import { geometry, type Layout, type Place } from './place.ts';
import type { Prepare } from './prepare.ts';
import type { Weights } from './weights.ts';

/** One thing to run, bound to its addresses. */
export interface Step extends StepFacts {
  readonly node: string;
  readonly op: string;
  readonly dims: readonly number[];
  run(): void;
}

export interface Plan {
  readonly steps: readonly Step[];
  readonly inputs: ReadonlyMap<string, Place>;
  /** Graph outputs: a place, or the tensor itself where it does not depend on the inputs' data. */
  readonly outputs: ReadonlyMap<string, Place | Tensor>;
  /** Bytes of activations and scratch at their peak. */
  readonly workspaceBytes: number;
}

/** A plan whose addresses are offsets still: binding it to a workspace is cheap and may be repeated. */
export interface Draft {
  readonly workspaceBytes: number;
  bind(base: number): Plan;
}

interface Lowering extends Lowered {
  node: Node;
}

const key = (slot: Slot): string => (slot.layout ? `${slot.name}@${slot.layout}` : slot.name);

/**
 * @param known values of graph inputs this plan is specialised for
 * @throws NeedsValue when the value of a graph input must be known; UnsupportedOpError, ModelFormatError
 */
export function draft(
  graph: Graph,
  inputs: Map<string, TensorType>,
  known: Map<string, Tensor>,
  weights: Weights,
  engine: Engine,
  prepare: Prepare,
): Draft {
  const { graph: straight, values } = prepare.specialize(graph, inputs, known, prepare.ops);
  const lowerings = new GraphLowering(straight, values, weights, prepare).run();
  return place(straight, values, lowerings, engine);
}

/** Walks the graph once, lowering node by node and inserting conversions where layouts meet. */
class GraphLowering {
  private readonly steps: Lowering[] = [];
  /** Slots that exist so far. */
  private readonly have = new Set<string>();
  private readonly layouts = new Map<string, Layout>();
  private readonly wants = new Map<string, Layout>();
  private readonly readers = new Map<string, Node[]>();
  private readonly skipped = new Set<Node>();
  private readonly outputs: Set<string>;
  private readonly ctx: LowerContext;

  private readonly graph: Graph;
  private readonly values: ReadonlyMap<string, Known>;

  constructor(graph: Graph, values: ReadonlyMap<string, Known>, weights: Weights, prepare: Prepare) {
    this.graph = graph;
    this.values = values;
    this.outputs = new Set(graph.outputs.map((o) => o.name));
    this.ctx = {
      known: (name) => this.values.get(name)!,
      constantOf: (name) => graph.constants.get(name),
      layoutOf: (name) => this.layouts.get(name) ?? 0,
      wanted: (name) => this.wants.get(name) ?? 0,
      constant: (data) => weights.constant(data),
      packed: (id, make) => weights.packed(id, make),
      view: (type, at, length) => weights.engine.arena.view(type, at, length),
      memoryBytes: () => weights.engine.arena.size,
      ops: prepare.ops,
      host: prepare.host,
      weights,
    };
  }

  run(): Lowering[] {
    const { graph, values } = this;
    const dynamic = graph.nodes.filter((n) => n.outputs.some((o) => o && !values.get(o)?.value));
    for (const node of dynamic) {
      for (const name of needsOf(node)) this.readers.set(name, [...(this.readers.get(name) ?? []), node]);
    }
    this.spreadWants(dynamic);
    for (const input of graph.inputs) this.have.add(input.name);
    for (const node of dynamic) if (!this.skipped.has(node)) this.lower(node);
    for (const name of this.outputs) if (!values.get(name)?.value) this.read(name, 0);
    return this.steps;
  }

  /** Backwards: the layout that the readers of each value would like, passed through operators that keep layouts. */
  private spreadWants(nodes: readonly Node[]): void {
    for (const node of [...nodes].reverse()) {
      const own = prefer(node, this.ctx);
      const want = own || (TRANSPARENT.has(node.op) ? (this.wants.get(node.outputs[0]) ?? 0) : 0);
      if (!want) continue;
      for (const name of own ? node.inputs.slice(0, 1) : node.inputs) {
        const known = this.values.get(name);
        if (known && !known.value && !this.wants.has(name) && known.dims.length >= 3) this.wants.set(name, want);
      }
    }
  }

  private lower(node: Node): void {
    const fused = this.fusedClamp(node);
    let done = fused && lowerNode(node, fused.node.outputs[0], fused.clamp, this.ctx);
    if (done) this.skipped.add(fused!.node);
    else done = lowerNode(node, node.outputs[0], undefined, this.ctx)!;
    for (const slot of done.reads) this.read(slot.name, slot.layout);
    for (const slot of done.writes) {
      this.have.add(key(slot));
      this.layouts.set(slot.name, slot.layout);
    }
    this.steps.push({ ...done, node });
  }

  /** A Relu or Clip that alone reads this node's result. */
  private fusedClamp(node: Node): { node: Node; clamp: Clamp } | undefined {
    const out = node.outputs[0];
    const readers = this.readers.get(out);
    if (node.outputs.length !== 1 || readers?.length !== 1 || this.outputs.has(out)) return undefined;
    const clamp = clampOf(readers[0], this.ctx);
    return clamp && { node: readers[0], clamp };
  }

  /** Sees to it that a value exists in a layout. One known ahead is put there, for kernels that want it in memory. */
  private read(name: string, layout: Layout): void {
    if (this.have.has(key({ name, layout }))) return;
    const { value } = this.values.get(name)!;
    const from = this.layouts.get(name) ?? 0;
    if (layout && (from || value)) this.read(name, 0);
    const how = value && !layout ? fixed(name, value, this.ctx) : convert(name, layout ? 0 : from, layout);
    const op = layout ? 'Pack' : value ? 'Constant' : 'Unpack';
    const node: Node = { op, name: `${name}@${layout}`, inputs: [name], outputs: [name], attrs: {} };
    this.steps.push({ ...how, node });
    this.have.add(key({ name, layout }));
  }
}

/** Lifetimes, buffers, addresses. */
function place(graph: Graph, values: ReadonlyMap<string, Known>, steps: readonly Lowering[], engine: Engine): Draft {
  const lives: { bytes: number; first: number; last: number }[] = [];
  const buffers = new Map<string, number>();
  const bytesOf = (slot: Slot): number => geometry(values.get(slot.name)!, slot.layout).bytes;
  const open = (slot: Slot, step: number): void => {
    buffers.set(key(slot), lives.length);
    const last = Math.max(step, lastRead.get(key(slot)) ?? step);
    lives.push({ bytes: bytesOf(slot), first: step, last });
  };
  // When each slot is read last, so that a step may overwrite what nobody needs any more.
  const lastRead = new Map<string, number>();
  steps.forEach((s, i) => {
    for (const slot of s.reads) lastRead.set(key(slot), i);
  });
  for (const { name } of graph.outputs) lastRead.set(name, steps.length);
  for (const { name } of graph.inputs) open({ name, layout: 0 }, -1);
  const scratch: number[] = [];
  steps.forEach((s, i) => {
    const [first] = s.reads;
    const [out] = s.writes;
    const shared = s.inPlace && lastRead.get(key(first)) === i ? buffers.get(key(first)) : undefined;
    // Another value may live in the same buffer through an earlier step in place: its reads count too.
    const free = shared !== undefined && lives[shared].last === i && bytesOf(first) >= bytesOf(out);
    for (const slot of s.writes) {
      if (slot === out && free) {
        buffers.set(key(slot), shared!);
        lives[shared!].last = Math.max(i, lastRead.get(key(slot)) ?? i);
      } else open(slot, i);
    }
    scratch.push(lives.length);
    lives.push({ bytes: s.scratch ?? 0, first: i, last: i });
  });
  const { offsets, bytes } = planMemory(lives);

  return {
    workspaceBytes: bytes,
    bind(base: number): Plan {
      const at = (slot: Slot): Place => {
        const type = values.get(slot.name)!;
        return { ...geometry(type, slot.layout), type, at: base + offsets[buffers.get(key(slot))!] };
      };
      const outputs = new Map<string, Place | Tensor>();
      for (const { name } of graph.outputs) outputs.set(name, values.get(name)!.value ?? at({ name, layout: 0 }));
      return {
        workspaceBytes: bytes,
        inputs: new Map(graph.inputs.map(({ name }) => [name, at({ name, layout: 0 })])),
        outputs,
        steps: steps.map((s, i) => {
          const { node, reads, writes, scratch: _, inPlace: __, emit, ...facts } = s;
          const work = emit.call(s, reads.map(at), writes.map(at), base + offsets[scratch[i]]);
          const run = typeof work === 'function' ? work : engine.bind(work);
          return { ...facts, node: node.name, op: node.op, dims: values.get(writes[0].name)!.dims, run };
        }),
      };
    },
  };
}
