/** Classification losses over scores [N, C, …] and labels [N, …]. */
import type { Node } from '../graph/ir.ts';
import type { Tensor, TensorType } from '../tensor.ts';
import { arg, bad, has, int, only, str, wants } from './attrs.ts';
import { doubles, FLOATS, numbers, store } from './half.ts';
import { logSoftmaxLine, overLines } from './softmax.ts';
import { lines } from './strided.ts';
import type { Known, OpTable } from './types.ts';

const reduction = (node: Node) => str(node, 'reduction', 'mean', ['mean', 'sum', 'none']);

function infer(node: Node, inputs: readonly (Known | undefined)[]): TensorType[] {
  const { type, dims } = arg(node, inputs, 0);
  const labels = arg(node, inputs, 1);
  only(node, type, FLOATS);
  only(node, labels.type, ['int32', 'int64']);
  const rest = dims.filter((_, i) => i !== 1);
  if (dims.length < 2 || `${labels.dims}` !== `${rest}`) {
    throw bad(node, `labels expected shape [${rest}] for scores [${dims}], got [${labels.dims}]`);
  }
  const weights = inputs[2];
  if (weights && `${weights.dims}` !== `${dims[1]}`) {
    throw bad(node, `weights expected shape [${dims[1]}], got [${weights.dims}]`);
  }
  return [{ type, dims: reduction(node) === 'none' ? rest : [] }];
}

/** -log p of the labels, weighted; labels equal to ignore_index count nothing. */
function loss(
  node: Node,
  logs: Float64Array,
  dims: readonly number[],
  labels: Tensor,
  weights: Tensor | undefined,
  out: Tensor,
): void {
  const { outer, n: classes, inner } = lines(dims, 1);
  const label = numbers(labels);
  const weight = weights && numbers(weights);
  const ignored = has(node, 'ignore_index') ? int(node, 'ignore_index') : undefined;
  const losses = new Float64Array(label.length);
  let sum = 0;
  let total = 0;
  for (let o = 0, i = 0; o < outer; o++) {
    for (let r = 0; r < inner; r++, i++) {
      const c = label[i];
      if (c === ignored) continue;
      if (!(c >= 0 && c < classes)) throw bad(node, `label ${c} is not one of ${classes} classes`);
      const w = weight ? weight[c] : 1;
      losses[i] = -w * logs[(o * classes + c) * inner + r];
      sum += losses[i];
      total += w;
    }
  }
  const how = reduction(node);
  store(out, how === 'none' ? losses : [how === 'mean' ? sum / total : sum]);
}

export const losses: OpTable = {
  NegativeLogLikelihoodLoss: {
    infer,
    eval(node, [x, labels, weights], [y]) {
      loss(node, doubles(x!), x!.dims, labels!, weights, y);
    },
  },
  SoftmaxCrossEntropyLoss: {
    infer(node, inputs) {
      const types = infer(node, inputs);
      const { type, dims } = arg(node, inputs, 0);
      return wants(node, 1) ? [...types, { type, dims }] : types;
    },
    eval(node, [x, labels, weights], [y, logProbability]) {
      const logs = doubles(x!);
      overLines(logs, x!.dims, 1, logSoftmaxLine);
      loss(node, logs, x!.dims, labels!, weights, y);
      if (logProbability) store(logProbability, logs);
    },
  },
};
