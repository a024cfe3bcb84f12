/** Small tools that passes share: who reads a value, how a node is replaced, what is dead. */
import type { Tensor } from '../tensor.ts';
import { type Graph, type Node, needsOf } from './ir.ts';

export class Rewriter {
  readonly graph: Graph;
  private readers = new Map<string, Node[]>();
  private writers = new Map<string, Node>();
  private outputs: Set<string>;

  constructor(graph: Graph) {
    this.graph = graph;
    this.outputs = new Set(graph.outputs.map((o) => o.name));
    this.index();
  }

  private index(): void {
    this.readers.clear();
    this.writers.clear();
    for (const node of this.graph.nodes) {
      for (const name of needsOf(node)) {
        const list = this.readers.get(name);
        if (!list) this.readers.set(name, [node]);
        else if (!list.includes(node)) list.push(node);
      }
      for (const name of node.outputs) this.writers.set(name, node);
    }
  }

  /** The constant an input names, if it is one. */
  constant(name: string | undefined): Tensor | undefined {
    return name ? this.graph.constants.get(name) : undefined;
  }

  /** The node that computes a value. */
  writer(name: string): Node | undefined {
    return this.writers.get(name);
  }

  /** The single node that reads a value, when there is just one and the value is not a graph output. */
  onlyReader(name: string): Node | undefined {
    const list = this.readers.get(name);
    return list?.length === 1 && !this.outputs.has(name) ? list[0] : undefined;
  }

  /** A constant under a fresh name. */
  addConstant(base: string, value: Tensor): string {
    let name = base;
    for (let i = 1; this.graph.constants.has(name) || this.writers.has(name); i++) name = `${base}.${i}`;
    this.graph.constants.set(name, value);
    return name;
  }

  /** Makes `into` produce what `gone` (its only reader, or its twin) produced, and drops `gone`. */
  absorb(into: Node, gone: Node): void {
    into.outputs[0] = gone.outputs[0];
    this.remove([gone]);
  }

  remove(nodes: readonly Node[]): void {
    this.graph.nodes = this.graph.nodes.filter((n) => !nodes.includes(n));
    this.index();
  }

  /** Lets every reader of `from` read `to` instead, unless that is a graph output or a branch reads it: they keep names. */
  redirect(from: string, to: string): boolean {
    const readers = this.readers.get(from) ?? [];
    if (this.outputs.has(from) || readers.some((node) => !node.inputs.includes(from) || node.op === 'If')) return false;
    for (const node of readers) node.inputs = node.inputs.map((n) => (n === from ? to : n));
    this.index();
    return true;
  }
}

/** Drops nodes whose results nobody reads, and constants likewise. */
export function removeDead(graph: Graph): void {
  const live = new Set(graph.outputs.map((o) => o.name));
  const kept: Node[] = [];
  for (let i = graph.nodes.length - 1; i >= 0; i--) {
    const node = graph.nodes[i];
    if (!node.outputs.some((o) => live.has(o))) continue;
    for (const name of needsOf(node)) live.add(name);
    kept.push(node);
  }
  graph.nodes = kept.reverse();
  for (const name of graph.constants.keys()) if (!live.has(name)) graph.constants.delete(name);
}
