/** Types, shapes and, where they follow from constants or shapes, values of everything in a graph. */
import { describe, InputError, ModelFormatError, UnsupportedError, UnsupportedOpError } from '../errors.ts';
import type { Known, OpDef, OpTable } from '../ops/types.ts';
import { Tensor, type TensorType } from '../tensor.ts';
import { branchesOf, type Graph, type Node, needsOf } from './ir.ts';

/** A shape depends on this value, which is not known before the run: plan again with it. */
export class NeedsValue extends Error {
  /** The value's name in the graph. */
  readonly value: string;
  constructor(value: string) {
    super(`the value of "${value}" is needed to plan`);
    this.name = 'NeedsValue';
    this.value = value;
  }
}

/** Values are computed ahead up to this many elements: enough for shapes, axes and small tables. */
const EAGER = 1 << 14;

/** Elements one value may have. A few bytes of a hostile model must not ask for more. */
const MAX_ELEMENTS = 2 ** 32;

/** @throws UnsupportedOpError */
export function opOf(node: Node, ops: OpTable): OpDef {
  if (Object.hasOwn(ops, node.op)) return ops[node.op];
  throw new UnsupportedOpError(node.op, node.name, 'not implemented');
}

/**
 * The output types of one node, checked.
 * @throws NeedsValue (from `need`), ModelFormatError, UnsupportedOpError
 */
export function inferNode(
  op: OpDef,
  node: Node,
  inputs: readonly (Known | undefined)[],
  need: (i: number) => Tensor,
): TensorType[] {
  const where = `node "${node.name}" (${node.op})`;
  const types = op.infer(node, inputs, (i) => {
    if (!inputs[i]) throw new ModelFormatError(where, `input ${i} is missing`);
    return need(i);
  });
  if (node.outputs.length > types.length) {
    throw new ModelFormatError(where, `has ${node.outputs.length} outputs, expected at most ${types.length}`);
  }
  for (const { dims } of types) {
    const bad = dims.some((d) => !(Number.isInteger(d) && d >= 0));
    const size = dims.reduce((a, b) => a * b, 1);
    if (bad || !(size <= MAX_ELEMENTS)) throw new ModelFormatError(where, `would give a value of dimensions [${dims}]`);
  }
  return types;
}

/** Computes a node whose types were inferred. @throws UnsupportedError when an output cannot be allocated */
export function evalNode(
  op: OpDef,
  node: Node,
  inputs: readonly (Tensor | undefined)[],
  types: readonly TensorType[],
): Tensor[] {
  const outputs = types.map(({ type, dims }) => {
    try {
      return Tensor.zeros(type, dims);
    } catch (cause) {
      const where = `node "${node.name}" (${node.op})`;
      throw new UnsupportedError(`${where}: a value of dimensions [${dims}] does not fit this engine`, { cause });
    }
  });
  op.eval(node, inputs, outputs);
  return outputs;
}

/** The nodes an `If` stands for once its condition is known: those of the branch, then one per output that names it. */
export function branchOf(node: Node, condition: Tensor | undefined): Graph {
  const where = `node "${node.name}" (If)`;
  if (condition?.type !== 'bool' || condition.size !== 1) {
    throw new ModelFormatError(where, `condition expected one bool, got ${condition?.type} [${condition?.dims}]`);
  }
  const name = condition.data[0] ? 'then_branch' : 'else_branch';
  const branch = node.attrs[name];
  if (typeof branch !== 'object' || !('nodes' in branch)) throw new ModelFormatError(where, `has no ${name}`);
  if (branch.inputs.length || branch.outputs.length !== node.outputs.length) {
    throw new ModelFormatError(where, `${name} expected 0 inputs and ${node.outputs.length} outputs`);
  }
  const ends = node.outputs.flatMap((output, i): Node[] =>
    output
      ? [{ op: 'Identity', name: `${node.name}/${i}`, inputs: [branch.outputs[i].name], outputs: [output], attrs: {} }]
      : [],
  );
  return { ...branch, nodes: [...branch.nodes, ...ends] };
}

/**
 * Checks the types of the inputs against the graph's declarations.
 * @throws InputError
 */
export function checkInputs(graph: Graph, types: ReadonlyMap<string, TensorType>): void {
  for (const name of types.keys()) {
    if (!graph.inputs.some((v) => v.name === name)) {
      throw new InputError(name, `is not an input; those are ${graph.inputs.map((v) => describe(v.name)).join(', ')}`);
    }
  }
  for (const { name, type, dims } of graph.inputs) {
    const got = types.get(name);
    if (!got) throw new InputError(name, 'is missing');
    const fits =
      !dims || (dims.length === got.dims.length && dims.every((d, i) => typeof d !== 'number' || d === got.dims[i]));
    if (got.type !== type || !fits) {
      const shape = dims ? `[${dims.map((d) => d ?? '?').join(', ')}]` : 'of any shape';
      throw new InputError(name, `expected ${type} ${shape}, got ${got.type} [${got.dims.join(', ')}]`);
    }
  }
}

/** What {@link specialize} gives: a graph without branches, and everything known about its values. */
export interface Specialized {
  graph: Graph;
  values: Map<string, Known>;
}

/**
 * Infers the whole graph for given input types, and puts the branch that is taken in the place of every `If`.
 * @param known values of inputs that are already known
 * @throws NeedsValue, InputError, ModelFormatError, UnsupportedOpError
 */
export function specialize(
  graph: Graph,
  inputTypes: ReadonlyMap<string, TensorType>,
  known: ReadonlyMap<string, Tensor>,
  ops: OpTable,
): Specialized {
  checkInputs(graph, inputTypes);
  const values = new Map<string, Known>();
  const constants = new Map(graph.constants);
  const nodes: Node[] = [];
  const add = (name: string, { type, dims }: TensorType, value?: Tensor) => {
    const t = known.get(name) ?? value;
    values.set(name, t ? { type, dims, value: t } : { type, dims });
  };
  const of = (name: string, node: Node): Known | undefined => {
    if (!name) return undefined;
    const found = values.get(name);
    if (!found) throw new ModelFormatError(`node "${node.name}" (${node.op})`, `input "${name}" is not defined`);
    return found;
  };
  for (const { name } of graph.inputs) add(name, inputTypes.get(name)!);
  for (const [name, t] of constants) add(name, t, t);

  const walk = (list: readonly Node[]) => {
    for (const node of list) {
      const inputs = node.inputs.map((name) => of(name, node));
      if (node.op === 'If') {
        const condition = inputs[0];
        if (condition && !condition.value) throw new NeedsValue(node.inputs[0]);
        const branch = branchOf(node, condition?.value);
        for (const [name, t] of branch.constants) {
          constants.set(name, t);
          add(name, t, t);
        }
        walk(branch.nodes);
        continue;
      }
      const op = opOf(node, ops);
      const types = inferNode(op, node, inputs, (i) => {
        const { value } = inputs[i]!;
        if (!value) throw new NeedsValue(node.inputs[i]);
        return value;
      });
      const small = (t: TensorType | undefined) => !t || t.dims.reduce((a, b) => a * b, 1) <= EAGER;
      const ready = op.shapeOnly || inputs.every((x) => !x || (x.value && small(x)));
      const outputs =
        ready && types.every(small)
          ? evalNode(
              op,
              node,
              inputs.map((x) => x?.value ?? (x as Tensor)),
              types,
            )
          : [];
      nodes.push(node);
      node.outputs.forEach((name, i) => {
        if (name) add(name, types[i], outputs[i]);
      });
    }
  };
  walk(graph.nodes);
  for (const { name } of graph.outputs) {
    if (!values.has(name)) throw new ModelFormatError(`output "${name}"`, 'is not defined');
  }
  return { graph: { ...graph, nodes, constants }, values };
}

/** The graph inputs that a value depends on. */
export function ancestorsOf(graph: Graph, value: string): Set<string> {
  const makers = new Map<string, Node>();
  const collect = (nodes: readonly Node[]) => {
    for (const node of nodes) {
      for (const o of node.outputs) makers.set(o, node);
      for (const branch of branchesOf(node)) collect(branch.nodes);
    }
  };
  collect(graph.nodes);
  const found = new Set<string>();
  const seen = new Set([value]);
  for (const name of seen) {
    if (graph.inputs.some((v) => v.name === name)) found.add(name);
    const node = makers.get(name);
    if (node) for (const needed of needsOf(node)) seen.add(needed);
  }
  return found;
}
