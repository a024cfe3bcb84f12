/**
 * Lowering: one rule a kind of operator, tried in order; what no rule takes runs on the host. To make an operator faster,
 * add a rule; nothing else changes.
 */
import type { Node } from '../ir.ts';
import type { Layout } from '../place.ts';
import { clampOf } from './clamp.ts';
import { convolution, pointwiseLanes, transposedConvolution } from './conv.ts';
import { linear } from './linear.ts';
import { alias, concat, transpose } from './move.ts';
import { binary, prelu, softmax, unary } from './pointwise.ts';
import { globalPool, pool, reduce } from './pool.ts';
import type { Clamp, LowerContext, Lowered, Rule } from './types.ts';

const table = (rule: Rule, ...ops: string[]): [string, Rule][] => ops.map((op) => [op, rule]);

const RULES = new Map<string, Rule>([
  ...table(convolution, 'Conv'),
  ...table(transposedConvolution, 'ConvTranspose'),
  ...table(linear, 'Gemm', 'MatMul'),
  ...table(pool, 'MaxPool', 'AveragePool'),
  ...table(globalPool, 'GlobalAveragePool', 'GlobalMaxPool'),
  ...table(reduce, 'ReduceMean', 'ReduceSum', 'ReduceMax', 'ReduceMin'),
  ...table(
    unary,
    'Relu',
    'Clip',
    'HardSwish',
    'HardSigmoid',
    'Sigmoid',
    'Swish',
    'LeakyRelu',
    'Elu',
    'Tanh',
    'Exp',
    'Log',
  ),
  ...table(unary, 'Sqrt', 'Neg', 'Abs', 'Reciprocal', 'Erf', 'Gelu'),
  ...table(binary, 'Add', 'Sub', 'Mul', 'Div', 'Max', 'Min'),
  ...table(prelu, 'PRelu'),
  ...table(softmax, 'Softmax', 'LogSoftmax'),
  ...table(alias, 'Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Identity', 'Dropout'),
  ...table(concat, 'Concat'),
  ...table(transpose, 'Transpose'),
]);

/** Operators that work in any layout and keep it. */
export const TRANSPARENT: ReadonlySet<string> = new Set([
  ...['Relu', 'Clip', 'HardSwish', 'HardSigmoid', 'Sigmoid', 'Swish', 'LeakyRelu', 'Elu', 'Tanh', 'Exp', 'Log', 'Sqrt'],
  ...['Neg', 'Abs', 'Reciprocal', 'Erf', 'Gelu', 'Add', 'Sub', 'Mul', 'Div', 'Max', 'Min'],
]);

/**
 * Lowers a node. With a clamp, undefined when no kernel can fuse it; without one, always a step.
 * @throws UnsupportedOpError when not even the host knows the operator
 */
export function lowerNode(node: Node, out: string, clamp: Clamp | undefined, ctx: LowerContext): Lowered | undefined {
  return RULES.get(node.op)?.(node, out, clamp, ctx) ?? (clamp ? undefined : ctx.host(node, ctx));
}

/** The lanes of the panels in which a node would like its first input; 0: it wants it plain, or does not mind. */
export const prefer = (node: Node, ctx: LowerContext): Layout => (node.op === 'Conv' ? pointwiseLanes(node, ctx) : 0);

export { clampOf };
