/** Cast and CastLike. */

import type { Node } from '../graph/ir.ts';
import type { DType, Tensor } from '../tensor.ts';
import { arg } from './attrs.ts';
import { as, copy, fill, isBig, values } from './broadcast.ts';
import { typeAttr } from './shape.ts';
import type { OpDef, OpTable } from './types.ts';

/**
 * Floats to integers: towards zero, then wrapped; NaN and infinities (undefined in ONNX) give 0. To bool: anything but
 * zero is true.
 */
function convert(from: Tensor, out: Tensor): void {
  const x = values(from);
  if (from.type === out.type) copy(out, from);
  else if (out.type === 'bool') fill(out, (i) => (Number(x[i]) === 0 ? 0 : 1));
  else if (isBig(out)) fill(out, (i) => (isBig(from) ? x[i] : as(out, x[i])));
  else fill(out, (i) => Number(x[i]));
}

const cast = (to: (node: Node, inputs: readonly ({ type: DType } | undefined)[]) => DType): OpDef => ({
  infer: (node, inputs) => [{ type: to(node, inputs), dims: arg(node, inputs, 0).dims }],
  eval: (_node, [x], [out]) => convert(x!, out),
});

export const casts: OpTable = {
  Cast: cast((node) => typeAttr(node, 'to')),
  CastLike: cast((node, inputs) => arg(node, inputs, 1).type),
};
