/** Arithmetic of sliding windows over N spatial dimensions, shared by convolutions, pools and their lowering. */
import type { Node } from '../graph/ir.ts';
import { bad, int, ints, refuse, str } from './attrs.ts';

/** Where windows lie, one entry per spatial dimension: tap k of window o reads o·stride + k·dilation - padBegin. */
export interface Window {
  readonly kernel: readonly number[];
  readonly out: readonly number[];
  readonly padBegin: readonly number[];
  readonly padEnd: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
}

function steps(node: Node, name: string, n: number): readonly number[] {
  const list = ints(node, name) ?? new Array(n).fill(1);
  if (list.length !== n || list.some((v) => v < 1)) {
    throw bad(node, `attribute "${name}" expected ${n} integers >= 1, got [${list}]`);
  }
  return list;
}

function explicitPads(node: Node, n: number): readonly number[] {
  const pads = ints(node, 'pads') ?? new Array(2 * n).fill(0);
  if (pads.length !== 2 * n || pads.some((v) => v < 0)) {
    throw bad(node, `attribute "pads" expected ${2 * n} integers >= 0, got [${pads}]`);
  }
  return pads;
}

const autoPad = (node: Node) => str(node, 'auto_pad', 'NOTSET', ['NOTSET', 'VALID', 'SAME_UPPER', 'SAME_LOWER']);

/** The spatial dimensions of an N x C x … shape: one to three. */
export function spatialOf(node: Node, dims: readonly number[]): readonly number[] {
  const n = dims.length - 2;
  if (n < 1) throw bad(node, `input expected N x C x spatial dimensions, got [${dims}]`);
  if (n > 3) throw refuse(node, `${n} spatial dimensions are not supported, only 1 to 3`);
  return dims.slice(2);
}

/** The kernel's spatial shape from attribute `kernel_shape`; `weights`, where there are any, must agree. */
export function kernelShape(node: Node, n: number, weights?: readonly number[]): readonly number[] {
  const kernel = ints(node, 'kernel_shape') ?? weights;
  if (!kernel) throw bad(node, 'attribute "kernel_shape" is missing');
  if (kernel.length !== n || kernel.some((k, i) => k < 1 || (weights && weights[i] !== k))) {
    throw bad(node, `kernel shape expected ${weights ? `[${weights}]` : `${n} integers >= 1`}, got [${kernel}]`);
  }
  return kernel;
}

/**
 * The windows of a convolution or pool, from attributes auto_pad, pads, strides, dilations and ceil_mode.
 * In ceil mode a last window that would begin beyond the input and its left padding is dropped.
 * @throws ModelFormatError for malformed attributes, or a kernel larger than the padded input
 */
export function window(node: Node, spatialIn: readonly number[], kernel: readonly number[]): Window {
  const n = spatialIn.length;
  const stride = steps(node, 'strides', n);
  const dilation = steps(node, 'dilations', n);
  const mode = autoPad(node);
  const pads = explicitPads(node, n);
  const round = int(node, 'ceil_mode', 0) && mode === 'NOTSET' ? Math.ceil : Math.floor;
  const padBegin: number[] = [];
  const padEnd: number[] = [];
  const out = spatialIn.map((size, i) => {
    const s = stride[i];
    const extent = (kernel[i] - 1) * dilation[i] + 1;
    if (mode.startsWith('SAME')) {
      const count = Math.ceil(size / s);
      const total = Math.max(0, (count - 1) * s + extent - size);
      padBegin.push(mode === 'SAME_UPPER' ? total >> 1 : (total + 1) >> 1);
      padEnd.push(total - padBegin[i]);
      return count;
    }
    padBegin.push(mode === 'NOTSET' ? pads[i] : 0);
    padEnd.push(mode === 'NOTSET' ? pads[n + i] : 0);
    const room = size + padBegin[i] + padEnd[i] - extent;
    if (room < 0 && size) {
      throw bad(node, `kernel extent ${extent} is larger than the padded input, ${extent + room}`);
    }
    const count = round(room / s) + 1;
    return Math.max(0, (count - 1) * s >= size + padBegin[i] && round === Math.ceil ? count - 1 : count);
  });
  return { kernel, out, padBegin, padEnd, stride, dilation };
}

/**
 * The windows of a transposed convolution: `out` is what is written, and padBegin what is cut from its start: tap k of
 * input i lands on i·stride + k·dilation - padBegin. From auto_pad, pads, strides, dilations, output_padding, output_shape.
 * @throws ModelFormatError for malformed attributes
 */
export function transposedWindow(node: Node, spatialIn: readonly number[], kernel: readonly number[]): Window {
  const n = spatialIn.length;
  const stride = steps(node, 'strides', n);
  const dilation = steps(node, 'dilations', n);
  const mode = autoPad(node);
  const pads = explicitPads(node, n);
  const extra = ints(node, 'output_padding') ?? new Array(n).fill(0);
  let wanted = ints(node, 'output_shape');
  if (wanted && wanted.length === n + 2) wanted = wanted.slice(2);
  for (const list of [extra, wanted]) {
    if (list && (list.length !== n || list.some((v) => v < 0))) {
      throw bad(node, `output_padding and output_shape expected ${n} integers >= 0, got [${list}]`);
    }
  }
  const padBegin: number[] = [];
  const padEnd: number[] = [];
  const out = spatialIn.map((size, i) => {
    const full = stride[i] * (size - 1) + extra[i] + (kernel[i] - 1) * dilation[i] + 1;
    const count = wanted?.[i] ?? (mode.startsWith('SAME') ? size * stride[i] : undefined);
    if (count === undefined) {
      padBegin.push(mode === 'NOTSET' ? pads[i] : 0);
      padEnd.push(mode === 'NOTSET' ? pads[n + i] : 0);
      return Math.max(0, full - padBegin[i] - padEnd[i]);
    }
    const total = Math.max(0, full - count);
    padBegin.push(mode === 'SAME_UPPER' ? total >> 1 : (total + 1) >> 1);
    padEnd.push(total - padBegin[i]);
    return count;
  });
  return { kernel, out, padBegin, padEnd, stride, dilation };
}

/** A list of at most three entries as one of three, filled in front: one and two dimensions are evaluated as three. */
export const three = (list: readonly number[], fill: number): number[] => [
  ...new Array(3 - list.length).fill(fill),
  ...list,
];

/** The windows seen in three dimensions. */
export const window3 = (w: Window): Window => ({
  kernel: three(w.kernel, 1),
  out: three(w.out, 1),
  padBegin: three(w.padBegin, 0),
  padEnd: three(w.padEnd, 0),
  stride: three(w.stride, 1),
  dilation: three(w.dilation, 1),
});
