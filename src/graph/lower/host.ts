/** The last resort of lowering: the operator's scalar definition, run on views of the engine's memory. Any type. */
import { sizeOf, Tensor } from '../../tensor.ts';
import { inferNode, opOf } from '../infer.ts';
import { type Node, needsOf } from '../ir.ts';
import type { Place } from '../place.ts';
import type { LowerContext, Lowered, Slot } from './types.ts';

export function host(node: Node, ctx: LowerContext): Lowered {
  const op = opOf(node, ctx.ops);
  const known = node.inputs.map((name) => (name ? ctx.known(name) : undefined));
  // An output nobody asked for is computed all the same, outside the memory.
  const types = inferNode(op, node, known, (i) => known[i]!.value!);
  const plain = (name: string): Slot => ({ name, layout: 0 });
  const reads = [...new Set(needsOf(node))].filter((n) => !ctx.known(n).value).map(plain);
  const writes = node.outputs.filter(Boolean).map(plain);
  return {
    kernel: 'host',
    reads,
    writes,
    emit(readPlaces, writePlaces) {
      const { view } = ctx;
      const tensorAt = ({ at, type: { type, dims } }: Place) => new Tensor(type, view(type, at, sizeOf(dims)), dims);
      return () => {
        const inputs = node.inputs.map((name, i) => {
          if (!name || known[i]!.value) return known[i]?.value;
          return tensorAt(readPlaces[reads.findIndex((r) => r.name === name)]);
        });
        let next = 0;
        const outputs = types.map(({ type, dims }, i) =>
          node.outputs[i] ? tensorAt(writePlaces[next++]) : Tensor.zeros(type, dims),
        );
        // Definitions count on zeroed outputs; the workspace holds what earlier steps left.
        for (const { data } of outputs) new Uint8Array(data.buffer, data.byteOffset, data.byteLength).fill(0);
        op.eval(node, inputs, outputs);
      };
    },
  };
}
