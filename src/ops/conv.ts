/** Convolutions over one to three spatial dimensions, plain and transposed. */
import type { Node } from '../graph/ir.ts';
import type { Tensor, TensorType } from '../tensor.ts';
import { arg, bad, int, only, sameType } from './attrs.ts';
import { doubles, FLOATS, store, target } from './half.ts';
import { kernelShape, spatialOf, three, transposedWindow, type Window, window, window3 } from './spatial.ts';
import { axpy, product } from './strided.ts';
import type { Known, OpDef, OpTable } from './types.ts';

/** What a convolution's node and shapes say. `inner`/`outer` are the channels per group on the input/output side. */
export interface Convolution {
  readonly window: Window;
  readonly dims: number[];
  readonly groups: number;
  readonly inner: number;
  readonly outer: number;
}

/**
 * Reads a convolution of shapes x [N, C, …] and w [M, C/group, …], or transposed w [C, M/group, …].
 * @throws ModelFormatError when attributes and shapes disagree
 */
export function convolution(
  node: Node,
  x: readonly number[],
  w: readonly number[],
  bias?: readonly number[],
): Convolution {
  const transposed = node.op === 'ConvTranspose';
  const spatial = spatialOf(node, x);
  if (w.length !== x.length) throw bad(node, `weights [${w}] and input [${x}] expected the same rank`);
  const groups = int(node, 'group', 1);
  const kernel = kernelShape(node, spatial.length, w.slice(2));
  const [inner, outer] = transposed ? [w[0] / groups, w[1]] : [w[1], w[0] / groups];
  if (!(groups >= 1 && Number.isInteger(inner) && Number.isInteger(outer)) || x[1] !== inner * groups) {
    throw bad(node, `weights [${w}] do not fit ${x[1]} input channels in ${groups} groups`);
  }
  if (bias && (bias.length !== 1 || bias[0] !== outer * groups)) {
    throw bad(node, `bias expected shape [${outer * groups}], got [${bias}]`);
  }
  const win = transposed ? transposedWindow(node, spatial, kernel) : window(node, spatial, kernel);
  return { window: win, dims: [x[0], outer * groups, ...win.out], groups, inner, outer };
}

/**
 * Computes every output plane in f64 and hands it over: `emit(plane, m, start)` with m the output channel and `start`
 * where it lies in the output. One plane is reused for all.
 */
export function convolve(
  node: Node,
  xt: Tensor,
  wt: Tensor,
  x: Float64Array,
  w: Float64Array,
  emit: (plane: Float64Array, m: number, start: number) => void,
): void {
  const transposed = node.op === 'ConvTranspose';
  const { window: win, dims, groups, inner, outer } = convolution(node, xt.dims, wt.dims);
  const { kernel, out, padBegin, stride, dilation } = window3(win);
  let input = three(xt.dims.slice(2), 1);
  let output = out;
  // A pointwise convolution sees one long line instead of rows.
  if (product(input) === product(out) && product(kernel) * product(stride) === 1) {
    input = output = [1, 1, product(input)];
  }
  const taps = product(kernel);
  const [small, big] = transposed ? [input, output] : [output, input];
  // Which of the small side's positions tap k of dimension d reaches on the big side.
  const range = (d: number, k: number) => {
    const offset = k * dilation[d] - padBegin[d];
    return {
      lo: Math.max(0, Math.ceil(-offset / stride[d])),
      hi: Math.min(small[d], Math.floor((big[d] - 1 - offset) / stride[d]) + 1),
      offset,
    };
  };
  const ranges = kernel.map((size, d) => Array.from({ length: size }, (_, k) => range(d, k)));
  const planeIn = product(input);
  const plane = new Float64Array(product(output));
  for (let n = 0; n < dims[0]; n++) {
    for (let m = 0; m < outer * groups; m++) {
      plane.fill(0);
      const g = Math.floor(m / outer);
      for (let c = 0; c < inner; c++) {
        const xBase = ((n * groups + g) * inner + c) * planeIn;
        let at = (transposed ? (g * inner + c) * outer + (m % outer) : m * inner + c) * taps;
        for (const a of ranges[0]) {
          for (const b of ranges[1]) {
            for (const r of ranges[2]) {
              const weight = w[at++];
              const count = r.hi - r.lo;
              for (let i = a.lo; i < a.hi; i++) {
                for (let j = b.lo; j < b.hi; j++) {
                  const s = (i * small[1] + j) * small[2] + r.lo;
                  const far =
                    ((i * stride[0] + a.offset) * big[1] + j * stride[1] + b.offset) * big[2] +
                    r.lo * stride[2] +
                    r.offset;
                  if (transposed) axpy(plane, far, stride[2], x, xBase + s, 1, weight, count);
                  else axpy(plane, s, 1, x, xBase + far, stride[2], weight, count);
                }
              }
            }
          }
        }
      }
      emit(plane, m, (n * outer * groups + m) * plane.length);
    }
  }
}

export const typed = (type: TensorType['type'], node: Node, x: Known, w: Known, bias?: Known): TensorType[] => [
  { type, dims: convolution(node, x.dims, w.dims, bias?.dims).dims },
];

const real: OpDef = {
  infer(node, inputs) {
    const x = arg(node, inputs, 0);
    only(node, x.type, FLOATS);
    sameType(node, inputs);
    return typed(x.type, node, x, arg(node, inputs, 1), inputs[2]);
  },
  eval(node, [x, w, bias], [y]) {
    const out = target(y);
    const b = bias && doubles(bias);
    convolve(node, x!, w!, doubles(x!), doubles(w!), (plane, m, start) => {
      const add = b ? b[m] : 0;
      for (let i = 0; i < plane.length; i++) out[start + i] = plane[i] + add;
    });
    store(y, out);
  },
};

export const conv: OpTable = {
  Conv: real,
  ConvTranspose: real,
};
