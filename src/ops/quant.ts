/** Between floats and quantized integers: per tensor, per axis, or per block along an axis. */
import type { Node } from '../graph/ir.ts';
import type { DType, Tensor } from '../tensor.ts';
import { arg, axisOf, bad, has, int, only, refuse, str } from './attrs.ts';
import { requantize, spread } from './centred.ts';
import { doubles, FLOATS, halfToNumber, numbers, numberToHalf, store } from './half.ts';
import { lines } from './strided.ts';
import type { Known, OpTable } from './types.ts';

const QUANTIZED: readonly DType[] = ['int8', 'uint8', 'int16', 'uint16', 'int32'];

/** Rounds a quotient as a division in the type would have. */
const rounding = (type: DType): ((x: number) => number) =>
  type === 'float16' ? (x) => halfToNumber(numberToHalf(x)) : type === 'float32' ? Math.fround : (x) => x;

/** Attribute output_dtype: a type's name, or undefined. */
const outputType = (node: Node) => (has(node, 'output_dtype') ? (str(node, 'output_dtype') as DType) : undefined);

/** Checks the shape of scale (or zero point) `s` against x: one value, one per index of `axis`, or one per block. */
function check(node: Node, dims: readonly number[], s: Known): void {
  const block = int(node, 'block_size', 0);
  if (!block && (s.dims.length === 0 || (s.dims.length === 1 && s.dims[0] === 1))) return;
  const axis = axisOf(int(node, 'axis', 1), dims.length, node);
  const fits = block
    ? s.dims.length === dims.length && dims.every((d, i) => s.dims[i] === (i === axis ? Math.ceil(d / block) : d))
    : s.dims.length === 1 && s.dims[0] === dims[axis];
  if (block < 0 || !fits) throw bad(node, `scale or zero point [${s.dims}] does not fit [${dims}] on axis ${axis}`);
}

/** A scale or zero point for every element. */
function each(node: Node, s: Tensor, dims: readonly number[]): Float64Array {
  const block = int(node, 'block_size', 0);
  if (s.size === 1 && !block) return spread(node, s, dims, 0);
  const axis = axisOf(int(node, 'axis', 1), dims.length, node);
  if (!block) return spread(node, s, dims, axis);
  const { outer, n, inner } = lines(dims, axis);
  const values = numbers(s);
  const out = new Float64Array(outer * n * inner);
  for (let o = 0, at = 0; o < outer; o++) {
    for (let i = 0; i < n; i++) {
      const from = (o * Math.ceil(n / block) + Math.floor(i / block)) * inner;
      for (let r = 0; r < inner; r++) out[at++] = values[from + r];
    }
  }
  return out;
}

export const quant: OpTable = {
  /** saturate(round(x / scale) + zero point), the quotient rounded to the scale's type first, as ONNX says. */
  QuantizeLinear: {
    infer(node, inputs) {
      const x = arg(node, inputs, 0);
      const scale = arg(node, inputs, 1);
      only(node, x.type, [...FLOATS, 'int32']);
      const type = inputs[2]?.type ?? outputType(node) ?? 'uint8';
      if (inputs[2] && (outputType(node) ?? type) !== type)
        throw bad(node, `output_dtype differs from zero point's ${type}`);
      only(node, type, QUANTIZED);
      if (int(node, 'precision', 0) > 1) throw refuse(node, 'attribute precision');
      for (const s of [scale, inputs[2]]) if (s) check(node, x.dims, s);
      return [{ type, dims: x.dims }];
    },
    eval(node, [x, scale, zero], [y]) {
      const values = numbers(x!);
      const s = each(node, scale!, y.dims);
      const z = zero && each(node, zero, y.dims);
      const round = rounding(int(node, 'precision', 0) ? 'float32' : scale!.type);
      const put = requantize(y);
      for (let i = 0; i < values.length; i++) put(i, round(values[i] / s[i]), z ? z[i] : 0);
    },
  },
  /** (x - zero point) · scale */
  DequantizeLinear: {
    infer(node, inputs) {
      const x = arg(node, inputs, 0);
      const scale = arg(node, inputs, 1);
      only(node, x.type, QUANTIZED);
      const type = outputType(node) ?? scale.type;
      only(node, type, FLOATS);
      for (const s of [scale, inputs[2]]) if (s) check(node, x.dims, s);
      return [{ type, dims: x.dims }];
    },
    eval(node, [x, scale, zero], [y]) {
      const values = doubles(x!);
      const s = each(node, scale!, y.dims);
      const z = zero && each(node, zero, y.dims);
      for (let i = 0; i < values.length; i++) values[i] = (values[i] - (z ? z[i] : 0)) * s[i];
      store(y, values);
    },
  },
  /** Scale and zero point from the range of x, which always includes 0. In float32 throughout, as ONNX defines it. */
  DynamicQuantizeLinear: {
    infer(node, inputs) {
      const { type, dims } = arg(node, inputs, 0);
      only(node, type, ['float32']);
      return [
        { type: 'uint8', dims },
        { type: 'float32', dims: [] },
        { type: 'uint8', dims: [] },
      ];
    },
    eval(_node, [x], [y, scale, zero]) {
      const values = numbers(x!);
      let lo = 0;
      let hi = 0;
      for (let i = 0; i < values.length; i++) {
        lo = Math.min(lo, values[i]);
        hi = Math.max(hi, values[i]);
      }
      const f = Math.fround;
      const step = f(f(hi - lo) / 255) || 1;
      requantize(zero)(0, f(-lo / step), 0);
      scale.data[0] = step;
      const put = requantize(y);
      for (let i = 0; i < values.length; i++) put(i, f(values[i] / step), zero.data[0] as number);
    },
  },
};
