/** Cast and CastLike. */
import { ARRAYS, type DType, type Tensor } from '../tensor.ts';
import { arg, refuse, str } from './attrs.ts';
import { as, copy, fill, isBig, values } from './broadcast.ts';
import type { OpDef, OpTable } from './types.ts';

/**
 * Floats to integers: towards zero, then wrapped; NaN and infinities (undefined in ONNX) give 0. To bool: anything but
 * zero is true.
 */
function convert(from: Tensor, out: Tensor): void {
  const x = values(from);
  if (from.type === out.type) copy(out, from);
  else if (out.type === 'bool') fill(out, (i) => (x[i] ? 1 : 0));
  else if (isBig(out)) fill(out, (i) => (isBig(from) ? x[i] : as(out, x[i])));
  else fill(out, (i) => Number(x[i]));
}

const cast = (to: (node: Parameters<OpDef['infer']>[0], like: { type: DType } | undefined) => DType): OpDef => ({
  infer(node, inputs) {
    const { dims } = arg(node, inputs, 0);
    const type = to(node, inputs[1]);
    if (!Object.hasOwn(ARRAYS, type)) throw refuse(node, `element type ${type} is not supported`);
    return [{ type, dims }];
  },
  eval: (_node, [x], [out]) => convert(x!, out),
});

export const casts: OpTable = {
  Cast: cast((node) => str(node, 'to') as DType),
  CastLike: cast((node, like) => arg(node, [like], 0).type),
};
