/** Runs a graph with the operators' own evaluation, on the JavaScript heap: slow and plain, the oracle for everything else. */
import { ModelFormatError } from '../errors.ts';
import { OPS } from '../ops/index.ts';
import type { OpTable } from '../ops/types.ts';
import type { Tensor } from '../tensor.ts';
import { branchOf, checkInputs, evalNode, inferNode, opOf } from './infer.ts';
import type { Graph, Node } from './ir.ts';

/**
 * @param inputs a tensor for every graph input
 * @returns a tensor for every graph output; one that names an input or a constant is that tensor itself
 * @throws InputError, ModelFormatError, UnsupportedOpError
 */
export function interpret(
  graph: Graph,
  inputs: Readonly<Record<string, Tensor>>,
  ops: OpTable = OPS,
): Record<string, Tensor> {
  const given = Object.entries(inputs);
  checkInputs(graph, new Map(given));
  const values = new Map<string, Tensor>([...graph.constants, ...given]);
  const get = (name: string, where: string): Tensor => {
    const value = values.get(name);
    if (!value) throw new ModelFormatError(where, `value "${name}" is not defined`);
    return value;
  };
  const walk = (nodes: readonly Node[]) => {
    for (const node of nodes) {
      const args = node.inputs.map((name) => (name ? get(name, `node "${node.name}" (${node.op})`) : undefined));
      if (node.op === 'If') {
        const branch = branchOf(node, args[0]);
        for (const [name, t] of branch.constants) values.set(name, t);
        walk(branch.nodes);
        continue;
      }
      const op = opOf(node, ops);
      const known = args.map((t) => t && { type: t.type, dims: t.dims, value: t });
      const types = inferNode(op, node, known, (i) => args[i]!);
      const outputs = evalNode(op, node, args, types);
      node.outputs.forEach((name, i) => {
        if (name) values.set(name, outputs[i]);
      });
    }
  };
  walk(graph.nodes);
  return Object.fromEntries(graph.outputs.map(({ name }) => [name, get(name, `output "${name}"`)]));
}
