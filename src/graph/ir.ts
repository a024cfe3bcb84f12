/**
 * The graph IR: what an importer produces, what passes rewrite, what lowering reads. Operators are named and shaped as in
 * the newest ONNX opset this package knows (importers bring older forms up to it), so there is one form of each.
 */
import type { DType, Tensor } from '../tensor.ts';

/** An attribute value. 64-bit integers arrive as numbers (INT64_MIN/MAX saturate to ±2^53-1). */
export type Attr = number | string | readonly number[] | readonly string[] | Tensor | Graph;

export interface Node {
  /** Operator, e.g. `Conv`. */
  op: string;
  /** Unique within its graph; made up by the importer where the file has none. */
  name: string;
  /** Value names; `''` stands for an optional input left out. */
  inputs: string[];
  /** Value names; `''` stands for an optional output not asked for. */
  outputs: string[];
  attrs: Record<string, Attr>;
}

/** A named graph input or output. A dimension is a number, a symbol (`'batch'`), or null when nothing is said. */
export interface ValueInfo {
  name: string;
  type: DType;
  /** null: the rank is not known. */
  dims: readonly (number | string | null)[] | null;
}

export interface Graph {
  name: string;
  /** Without those that merely name a constant (old ONNX lists initializers as inputs). */
  inputs: ValueInfo[];
  outputs: ValueInfo[];
  /** In topological order. */
  nodes: Node[];
  /** Weights and other known values, by name. */
  constants: Map<string, Tensor>;
}

/** The graphs in a node's attributes. */
export const branchesOf = ({ attrs }: Node): Graph[] =>
  Object.values(attrs).filter((attr): attr is Graph => typeof attr === 'object' && 'nodes' in attr);

/** The values a node needs: its inputs, and what the graphs in its attributes take from around them. */
export function needsOf(node: Node): string[] {
  const out = node.inputs.filter((name) => name);
  for (const branch of branchesOf(node)) {
    const inner = new Set([...branch.constants.keys(), ...branch.inputs.map((v) => v.name)]);
    for (const n of branch.nodes) for (const o of n.outputs) inner.add(o);
    const all = [...branch.nodes.flatMap(needsOf), ...branch.outputs.map((v) => v.name)];
    out.push(...all.filter((name) => !inner.has(name)));
  }
  return out;
}
