/** Resize: every dimension in turn, each output a weighted sum of a few inputs along it. */
import type { Node } from '../graph/ir.ts';
import type { Tensor } from '../tensor.ts';
import { arg, axisOf, bad, float, int, ints, refuse, str } from './attrs.ts';
import { doubles, FLOATS, numbers, store } from './half.ts';
import { lines } from './strided.ts';
import type { OpTable } from './types.ts';

/** One dimension's resizing. `scale` is as given, or what the sizes imply; `exact` says that it is `to / from`. */
interface Axis {
  readonly axis: number;
  readonly from: number;
  readonly to: number;
  readonly scale: number;
  readonly exact: boolean;
  /** The region of interest, in fractions of the input. */
  readonly roi: readonly [number, number];
}

const MODES = ['nearest', 'linear', 'cubic'];
const TRANSFORMS = [
  'half_pixel',
  'half_pixel_symmetric',
  'pytorch_half_pixel',
  'align_corners',
  'asymmetric',
  'tf_half_pixel_for_nn',
  'tf_crop_and_resize',
];
const ROUNDINGS: Record<string, (x: number, scale: number) => number> = {
  round_prefer_floor: (x) => Math.ceil(x - 0.5),
  round_prefer_ceil: (x) => Math.floor(x + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
  // Upsample, and Resize of opset 10, as its backend test has it (onnx 1.5, test_resize_downsample_nearest).
  simple: (x, scale) => (scale < 1 ? Math.ceil(x) : Math.floor(x)),
};

const present = (t: { readonly dims: readonly number[] } | undefined) => t !== undefined && t.dims[0] !== 0;

/** The dimensions to resize, from the inputs (x, roi, scales, sizes) that are known by now. */
function plan(node: Node, dims: readonly number[], roi?: Tensor, scales?: Tensor, sizes?: Tensor): Axis[] {
  const axes = (ints(node, 'axes') ?? dims.map((_, i) => i)).map((a) => axisOf(a, dims.length, node));
  const given = (t: Tensor | undefined, n: number) => {
    if (t && present(t) && t.size !== n) throw bad(node, `${n} scales, sizes or roi values expected, got ${t.size}`);
    return t && present(t) ? [...numbers(t)] : undefined;
  };
  const region = given(roi, 2 * axes.length);
  const scale = given(scales, axes.length);
  const size = given(sizes, axes.length);
  if (!scale === !size) throw bad(node, 'one of scales and sizes expected');
  const policy = str(node, 'keep_aspect_ratio_policy', 'stretch', ['stretch', 'not_larger', 'not_smaller']);
  let common: number | undefined;
  if (size && policy !== 'stretch') {
    common = Math[policy === 'not_larger' ? 'min' : 'max'](...axes.map((a, i) => size[i] / dims[a]));
  }
  return axes.map((axis, i) => {
    const from = dims[axis];
    // In float32, as the scale is: 10 · 0.7 is 7 there, and 6.9999999 in doubles.
    const to = scale ? Math.floor(Math.fround(from * scale[i])) : common ? Math.round(common * from) : size![i];
    if (!(Number.isInteger(to) && to >= 0) || (scale && !(scale[i] > 0)))
      throw bad(node, `scales > 0 expected, and sizes >= 0`);
    if (to && !from) throw bad(node, 'cannot enlarge an empty dimension');
    return {
      axis,
      from,
      to,
      scale: scale?.[i] ?? common ?? to / from,
      exact: !scale && !common,
      roi: region ? [region[i], region[i + axes.length]] : [0, 1],
    };
  });
}

/** Where output `o` lies on the input. */
function coordinate(transform: string, o: number, { from, to, scale, exact, roi }: Axis): number {
  // o / scale: with sizes in a form that is exact where it can be, with scales rounded as they were.
  const across = (p: number) => (exact ? (p * from) / to : Math.fround(p / scale));
  // The length before it was rounded to a whole number.
  const length = exact ? to : Math.fround(from * scale);
  switch (transform) {
    case 'asymmetric':
      return across(o);
    case 'tf_half_pixel_for_nn':
      return across(o + 0.5);
    case 'align_corners':
      return length === 1 ? 0 : (o * (from - 1)) / (length - 1);
    case 'tf_crop_and_resize':
      return length > 1
        ? roi[0] * (from - 1) + (o * (roi[1] - roi[0]) * (from - 1)) / (length - 1)
        : 0.5 * (roi[0] + roi[1]) * (from - 1);
    case 'half_pixel_symmetric':
      return (from / 2) * (1 - to / length) + across(o + 0.5) - 0.5;
    default:
      return transform === 'pytorch_half_pixel' && to <= 1 ? 0 : across(o + 0.5) - 0.5;
  }
}

/** The interpolation kernel's weight at a distance. */
function kernelAt(cubic: boolean, a: number, distance: number): number {
  const x = Math.abs(distance);
  if (!cubic) return Math.max(0, 1 - x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((x - 5) * x + 8) * x * a - 4 * a : 0;
}

/** Inputs and weights of every output of a dimension: `width` of each, output after output. Index -1: extrapolate. */
interface Taps {
  readonly width: number;
  readonly index: Int32Array;
  readonly weight: Float64Array;
}

/**
 * The taps of one dimension. Positions beyond the border read the border, or count nothing with exclude_outside;
 * an output outside the region tf_crop_and_resize may read has index -1 throughout.
 */
export function taps(node: Node, axis: Axis): Taps {
  const { from, to, scale } = axis;
  const mode = str(node, 'mode', 'nearest', MODES);
  const transform = str(node, 'coordinate_transformation_mode', 'half_pixel', TRANSFORMS);
  const round = ROUNDINGS[str(node, 'nearest_mode', 'round_prefer_floor', Object.keys(ROUNDINGS))];
  const cubic = mode === 'cubic';
  const a = float(node, 'cubic_coeff_a', -0.75);
  const exclude = int(node, 'exclude_outside', 0);
  // Antialiasing stretches the kernel over as many inputs as fall together.
  const squeeze = int(node, 'antialias', 0) ? Math.min(1, scale) : 1;
  const reach = Math.ceil((cubic ? 2 : 1) / squeeze);
  const width = mode === 'nearest' ? 1 : 2 * reach;
  const index = new Int32Array(to * width);
  const weight = new Float64Array(to * width);
  const clamp = (i: number) => Math.min(from - 1, Math.max(0, i));
  for (let o = 0; o < to; o++) {
    const x = coordinate(transform, o, axis);
    const at = o * width;
    if (transform === 'tf_crop_and_resize' && !(x >= 0 && x <= from - 1)) {
      index.fill(-1, at, at + width);
    } else if (mode === 'nearest') {
      index[at] = clamp(round(x, scale));
      weight[at] = 1;
    } else {
      const first = Math.floor(x) - reach + 1;
      let sum = 0;
      for (let t = 0; t < width; t++) {
        const i = first + t;
        index[at + t] = clamp(i);
        const w = exclude && i !== clamp(i) ? 0 : kernelAt(cubic, a, (i - x) * squeeze);
        sum += weight[at + t] = w;
      }
      for (let t = 0; t < width; t++) weight[at + t] /= sum;
    }
  }
  return { width, index, weight };
}

/** Resizes one dimension of an array of doubles. */
function pass(x: Float64Array, dims: readonly number[], axis: Axis, { width, index, weight }: Taps, outside: number) {
  const { outer, n, inner } = lines(dims, axis.axis);
  const y = new Float64Array(outer * axis.to * inner);
  for (let o = 0, at = 0; o < outer; o++) {
    for (let i = 0; i < axis.to; i++, at += inner) {
      for (let t = i * width; t < (i + 1) * width; t++) {
        const w = weight[t];
        const from = (o * n + index[t]) * inner;
        if (index[t] < 0) y.fill(outside, at, at + inner);
        // A weight of 0 must not read: it would spread infinities.
        else if (w) for (let r = 0; r < inner; r++) y[at + r] += w * x[from + r];
      }
    }
  }
  return y;
}

export const resize: OpTable = {
  Resize: {
    infer(node, inputs, need) {
      const { type, dims } = arg(node, inputs, 0);
      const mode = str(node, 'mode', 'nearest', MODES);
      if (mode !== 'nearest' && !FLOATS.includes(type)) throw refuse(node, `type ${type} with mode ${mode}`);
      const value = (i: number) => (present(inputs[i]) ? need(i) : undefined);
      const out = [...dims];
      for (const a of plan(node, dims, undefined, value(2), value(3))) out[a.axis] = a.to;
      return [{ type, dims: out }];
    },
    eval(node, [x, roi, scales, sizes], [y]) {
      const crop = node.attrs.coordinate_transformation_mode === 'tf_crop_and_resize';
      const outside = float(node, 'extrapolation_value', 0);
      let values = doubles(x!);
      const dims = [...x!.dims];
      for (const axis of plan(node, x!.dims, crop ? roi : undefined, scales, sizes)) {
        if (axis.from === axis.to && axis.scale === 1 && !crop) continue;
        values = pass(values, dims, axis, taps(node, axis), outside);
        dims[axis.axis] = axis.to;
      }
      store(y, values);
    },
  },
};
