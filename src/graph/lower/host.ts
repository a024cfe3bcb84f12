/** The last resort of lowering: the operator's scalar definition, run on views of the engine's memory. Any type. */
import { type DType, Tensor } from '../../tensor.ts';
import { opOf } from '../infer.ts';
import { type Node, needsOf } from '../ir.ts';
import type { Place } from '../place.ts';
import type { LowerContext, Lowered, Slot } from './types.ts';

/** A way to see memory; the arena's, at the time of the call. */
export type View = <T extends DType>(type: T, at: number, length: number) => Tensor<T>['data'];

export function host(node: Node, ctx: LowerContext): Lowered {
  const op = opOf(node, ctx.ops);
  const plain = (name: string): Slot => ({ name, layout: 0 });
  const reads = [...new Set(needsOf(node))].filter((n) => !ctx.known(n).value).map(plain);
  const writes = node.outputs.filter(Boolean).map(plain);
  const { view } = ctx;
  return {
    kernel: 'host',
    reads,
    writes,
    emit(readPlaces, writePlaces) {
      const tensorAt = (p: Place) => new Tensor(p.type.type, view(p.type.type, p.at, sizeOfPlace(p)), p.type.dims);
      return () => {
        const inputs = node.inputs.map((name) => {
          if (!name) return undefined;
          const i = reads.findIndex((r) => r.name === name);
          return i < 0 ? ctx.known(name).value : tensorAt(readPlaces[i]);
        });
        let next = 0;
        const outputs = node.outputs.map((name) => {
          if (name) return tensorAt(writePlaces[next++]);
          return Tensor.zeros('float32', [0]);
        });
        op.eval(node, inputs, outputs);
      };
    },
  };
}

const sizeOfPlace = (p: Place): number => p.type.dims.reduce((a, b) => a * b, 1);
