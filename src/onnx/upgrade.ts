/**
 * Older operator forms brought up to the newest. Most rules look at what the node has (an attribute that later became an
 * input) rather than at the opset, because newer opsets do not define that attribute any more.
 */
import { UnsupportedOpError } from '../errors.ts';
import type { Attr, Node } from '../graph/ir.ts';
import { bad, float, has, int, ints, refuse, str } from '../ops/attrs.ts';
import { isTensor, Tensor } from '../tensor.ts';
import { typeOf } from './tensors.ts';

/** ONNX opsets (domain ai.onnx) understood. Nodes of any other are refused rather than guessed at. */
export const OPSETS = [6, 28] as const;

/** What a rule may do to the graph under construction. */
export interface Build {
  push(node: Node): void;
  /** A fresh value holding the tensor. */
  constant(value: Tensor, hint: string): string;
  /** Adds a node with one fresh output and returns that. */
  op(hint: string, op: string, inputs: string[], attrs?: Record<string, Attr>): string;
  /** The rank of a value where the file says it. */
  rank(value: string): number | undefined;
}

/** Changes the node in place; the caller pushes it, unless `DONE` is returned. */
type Rule = (node: Node, opset: number, build: Build) => unknown;
const DONE = Symbol();

const i64 = (values: readonly number[], dims: readonly number[] = [values.length]) =>
  new Tensor('int64', values.map(BigInt), dims);
const f32 = (values: readonly number[], dims: readonly number[] = [values.length]) =>
  new Tensor('float32', values, dims);

/** Attribute `name`, where present, becomes input `at`. */
function toInput(node: Node, build: Build, name: string, at: number, make: (node: Node, name: string) => Tensor): void {
  if (!has(node, name)) return;
  while (node.inputs.length < at) node.inputs.push('');
  node.inputs[at] = build.constant(make(node, name), `${node.name}/${name}`);
  delete node.attrs[name];
}
const intList = (node: Node, name: string) => i64(ints(node, name)!);
const floatScalar = (node: Node, name: string) => f32([float(node, name)], []);

const axesTo =
  (at: number): Rule =>
  (node, _opset, build) =>
    toInput(node, build, 'axes', at, intList);

/**
 * Opset 6 `axis` with `broadcast=1`: the second operand's dimensions line up with the first's from `axis` on. It is
 * reshaped to have a 1 for every dimension after those, which is what broadcasting wants today. Ranks need not be known.
 */
function lineUp(node: Node, axis: number, build: Build): void {
  const [a, b] = node.inputs;
  const hint = `${node.name}/broadcast`;
  const shape = build.op(hint, 'Shape', [b]);
  const rank = build.op(hint, 'Shape', [build.op(hint, 'Shape', [a])]);
  // A negative axis counts from the end of the first operand.
  const from = axis < 0 ? build.op(hint, 'Add', [rank, build.constant(i64([axis]), hint)]) : undefined;
  const start = from ?? build.constant(i64([axis]), hint);
  const end = build.op(hint, 'Add', [start, build.op(hint, 'Shape', [shape])]);
  const ones = build.op(hint, 'ConstantOfShape', [build.op(hint, 'Sub', [rank, end])], { value: i64([1]) });
  node.inputs[1] = build.op(hint, 'Reshape', [b, build.op(hint, 'Concat', [shape, ones], { axis: 0 })]);
}

const broadcast: Rule = (node, opset, build) => {
  if (opset >= 7) return;
  if (int(node, 'broadcast', 0) && has(node, 'axis')) lineUp(node, int(node, 'axis'), build);
  delete node.attrs.broadcast;
  delete node.attrs.axis;
};

/** Before opset 13 the input was coerced to two dimensions at `axis` (default 1), and rows were normalised. */
const softmax: Rule = (node, opset, build) => {
  if (opset >= 13) return;
  const axis = int(node, 'axis', 1);
  const [x] = node.inputs;
  node.attrs.axis = -1;
  if (axis === -1 || axis + 1 === build.rank(x)) return;
  const hint = `${node.name}/coerce`;
  const shape = build.op(hint, 'Shape', [x]);
  const flat = build.op(hint, 'Flatten', [x], { axis });
  const y = build.op(hint, node.op, [flat], { axis: -1 });
  build.push({ ...node, op: 'Reshape', inputs: [y, shape], attrs: { allowzero: 1 } });
  return DONE;
};

/** Upsample, and Resize of opset 10, sampled at `x / scale`. */
const asymmetric = (node: Node, scales: string) => {
  node.op = 'Resize';
  node.inputs = [node.inputs[0], '', scales];
  node.attrs = {
    mode: str(node, 'mode', 'nearest', ['nearest', 'linear', 'bilinear']).replace('bi', ''),
    coordinate_transformation_mode: 'asymmetric',
    nearest_mode: 'simple',
  };
};

/** The attributes that name an element type hold its name rather than ONNX's number. */
const typeName =
  (attribute: string): Rule =>
  (node) => {
    // 0 stands for leaving it out.
    if (node.attrs[attribute] === 0) delete node.attrs[attribute];
    if (has(node, attribute)) {
      node.attrs[attribute] = typeOf(int(node, attribute), node.op, node.name);
    }
  };

const RULES: Record<string, Rule> = {
  Cast: typeName('to'),
  EyeLike: typeName('dtype'),
  QuantizeLinear: typeName('output_dtype'),
  DequantizeLinear: typeName('output_dtype'),
  Clip(node, _opset, build) {
    toInput(node, build, 'min', 1, floatScalar);
    toInput(node, build, 'max', 2, floatScalar);
  },
  Squeeze: axesTo(1),
  Unsqueeze: axesTo(1),
  Reshape: (node, _opset, build) => toInput(node, build, 'shape', 1, intList),
  Slice(node, _opset, build) {
    toInput(node, build, 'starts', 1, intList);
    toInput(node, build, 'ends', 2, intList);
    toInput(node, build, 'axes', 3, intList);
  },
  Pad(node, opset, build) {
    if (opset >= 11) return;
    toInput(node, build, 'pads', 1, intList);
    toInput(node, build, 'value', 2, floatScalar);
  },
  Split: (node, _opset, build) => toInput(node, build, 'split', 1, intList),
  TopK: (node, _opset, build) => toInput(node, build, 'k', 1, (n, name) => i64([int(n, name)])),
  Dropout(node, opset) {
    if (opset < 12) node.attrs = {};
    if (opset < 7 && node.outputs.length > 1) {
      // Of the data's type then, and meaningless without training.
      node.outputs.length = 1;
    }
  },
  Upsample(node, _opset, build) {
    if (has(node, 'width_scale')) {
      node.attrs.scales = [1, 1, float(node, 'height_scale'), float(node, 'width_scale')];
    }
    toInput(node, build, 'scales', 1, (n, name) => f32(n.attrs[name] as number[]));
    asymmetric(node, node.inputs[1]);
  },
  Resize(node, opset) {
    if (opset < 11) asymmetric(node, node.inputs[1]);
  },
  BatchNormalization(node, opset) {
    if (opset < 9 && int(node, 'spatial', 1) !== 1) throw refuse(node, 'attribute spatial=0');
    if (opset < 14) node.outputs.length = Math.min(1, node.outputs.length);
    for (const old of ['spatial', 'is_test', 'momentum', 'consumed_inputs']) delete node.attrs[old];
  },
  GroupNormalization(node, opset, build) {
    if (opset >= 21) return;
    // Scale and bias were one a group, and are one a channel now.
    const groups = int(node, 'num_groups');
    const hint = `${node.name}/channels`;
    const channels = build.op(hint, 'Shape', [node.inputs[0]], { start: 1, end: 2 });
    const count = build.constant(i64([groups]), hint);
    const table = build.op(hint, 'Concat', [count, build.op(hint, 'Div', [channels, count])], { axis: 0 });
    for (const i of [1, 2]) {
      const column = build.op(hint, 'Unsqueeze', [node.inputs[i], build.constant(i64([1]), hint)]);
      node.inputs[i] = build.op(hint, 'Reshape', [build.op(hint, 'Expand', [column, table]), channels]);
    }
  },
  PRelu(node, opset, build) {
    if (opset < 7) lineUp(node, 1, build);
  },
  Gemm(node) {
    delete node.attrs.broadcast;
  },
  Scatter(node) {
    node.op = 'ScatterElements';
  },
  Softmax: softmax,
  LogSoftmax: softmax,
  Hardmax: softmax,
};
for (const op of 'Add Sub Mul Div Pow And Or Xor Equal Greater Less'.split(' ')) RULES[op] = broadcast;
for (const op of 'L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare'.split(' ')) RULES[`Reduce${op}`] = axesTo(1);

/** Pushes the node in today's form, with what it needs around it. @throws UnsupportedOpError, ModelFormatError */
export function upgrade(node: Node, opset: number, build: Build): void {
  if (opset < OPSETS[0] || opset > OPSETS[1]) {
    throw new UnsupportedOpError(node.op, node.name, `opset ${opset} is not supported, only ${OPSETS.join(' to ')}`);
  }
  delete node.attrs.consumed_inputs;
  if (Object.hasOwn(RULES, node.op) && RULES[node.op](node, opset, build) === DONE) return;
  build.push(node);
}

/** The value of a Constant node. @throws UnsupportedOpError, ModelFormatError */
export function constantOf(node: Node): Tensor {
  const { attrs } = node;
  const value = attrs.value ?? attrs.sparse_value;
  if (isTensor(value)) return value;
  if (has(node, 'value_float')) return floatScalar(node, 'value_float');
  if (has(node, 'value_floats')) return f32(attrs.value_floats as number[]);
  if (has(node, 'value_int')) return i64([int(node, 'value_int')], []);
  if (has(node, 'value_ints')) return intList(node, 'value_ints');
  if (has(node, 'value_string') || has(node, 'value_strings')) throw refuse(node, 'strings');
  throw bad(node, 'has no value');
}
