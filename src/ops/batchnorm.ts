/** BatchNormalization at inference, and what it shares with other normalisations. */
import type { Node } from '../graph/ir.ts';
import type { TensorType } from '../tensor.ts';
import { arg, bad, float, int, only, refuse } from './attrs.ts';
import { doubles, FLOATS, store } from './half.ts';
import { product } from './strided.ts';
import type { Known, OpDef, OpTable } from './types.ts';

export function infer(node: Node, inputs: readonly (Known | undefined)[]): TensorType[] {
  const x = arg(node, inputs, 0);
  only(node, x.type, FLOATS);
  return [{ type: x.type, dims: x.dims }];
}

/** `infer` for x [N, C, …] and parameters of C elements at inputs 1 to `last`. */
export const channelwise =
  (last: number): OpDef['infer'] =>
  (node, inputs) => {
    const { dims } = arg(node, inputs, 0);
    if (dims.length < 2 && node.op !== 'BatchNormalization') throw bad(node, `input expected N x C x …, got [${dims}]`);
    const channels = dims.length > 1 ? dims[1] : 1;
    for (let i = 1; i <= last; i++) {
      const p = arg(node, inputs, i);
      if (p.dims.length !== 1 || p.dims[0] !== channels) {
        throw bad(node, `input ${i} expected shape [${channels}], got [${p.dims}]`);
      }
    }
    if (
      node.op === 'GroupNormalization' &&
      !(int(node, 'num_groups') >= 1 && channels % int(node, 'num_groups') === 0)
    ) {
      throw bad(node, `${channels} channels do not divide into ${int(node, 'num_groups')} groups`);
    }
    if (int(node, 'training_mode', 0)) throw refuse(node, 'attribute training_mode=1');
    return infer(node, inputs);
  };

/** x · scale[c] + bias[c] in place, for x [N, C, …]. */
export function affine(
  x: Float64Array,
  dims: readonly number[],
  scale: ArrayLike<number>,
  bias: ArrayLike<number>,
): void {
  const channels = scale.length;
  const plane = product(dims.slice(2));
  for (let i = 0, c = 0; i < x.length; c = (c + 1) % channels) {
    for (const end = i + plane; i < end; i++) x[i] = x[i] * scale[c] + bias[c];
  }
}

export const batchnorm: OpTable = {
  BatchNormalization: {
    infer: channelwise(4),
    eval(node, [x, ...parameters], [y]) {
      const [scale, bias, mean, variance] = parameters.map((p) => doubles(p!));
      const epsilon = float(node, 'epsilon', 1e-5);
      const values = doubles(x!);
      const factor = scale.map((s, c) => s / Math.sqrt(variance[c] + epsilon));
      affine(
        values,
        x!.dims,
        factor,
        bias.map((b, c) => b - mean[c] * factor[c]),
      );
      store(y, values);
    },
  },
};
