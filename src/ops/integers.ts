/** Products of quantized tensors, exact until the result is scaled: ConvInteger, QLinearConv, MatMulInteger, QLinearMatMul. */
import type { Tensor } from '../tensor.ts';
import { arg, only } from './attrs.ts';
import { BYTES, centred, requantize, spread } from './centred.ts';
import { convolve, typed } from './conv.ts';
import { doubles, numbers, store } from './half.ts';
import { matmulShape, multiply } from './linalg.ts';
import type { OpTable } from './types.ts';

/** Columns of the left operand and rows of the right share a zero point: the axis along which a vector of them counts. */
const rowAxis = (t: { dims: readonly number[] }) => Math.max(0, t.dims.length - 2);
const columnAxis = (t: { dims: readonly number[] }) => t.dims.length - 1;

export const integers: OpTable = {
  ConvInteger: {
    infer(node, inputs) {
      const x = arg(node, inputs, 0);
      const w = arg(node, inputs, 1);
      only(node, x.type, BYTES);
      only(node, w.type, BYTES);
      return typed('int32', node, x, w);
    },
    eval(node, [x, w, xZero, wZero], [y]) {
      convolve(node, x!, w!, centred(node, x!, xZero, 1), centred(node, w!, wZero, 0), (plane, _, start) =>
        (y.data as Int32Array).set(plane, start),
      );
    },
  },
  /** x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias (int32, in units of xs·ws) */
  QLinearConv: {
    infer(node, inputs) {
      const [x, , , w, , , , y] = Array.from({ length: 8 }, (_, i) => arg(node, inputs, i));
      only(node, x.type, BYTES);
      only(node, w.type, BYTES);
      only(node, y.type, BYTES);
      return typed(y.type, node, x, w, inputs[8]);
    },
    eval(node, [x, xs, xz, w, ws, wz, ys, yz, bias], [y]) {
      const b = bias && doubles(bias);
      const [xScale] = doubles(xs!);
      const [yScale] = doubles(ys!);
      const wScale = spread(node, ws!, [w!.dims[0]], 0);
      const [zero] = numbers(yz!);
      const put = requantize(y);
      convolve(node, x!, w!, centred(node, x!, xz, 1), centred(node, w!, wz, 0), (plane, m, start) => {
        const factor = (xScale * wScale[m]) / yScale;
        for (let i = 0; i < plane.length; i++) put(start + i, (plane[i] + (b ? b[m] : 0)) * factor, zero);
      });
    },
  },
  MatMulInteger: {
    infer(node, inputs) {
      const [a, b] = [arg(node, inputs, 0), arg(node, inputs, 1)];
      for (const t of [a, b]) only(node, t.type, BYTES);
      return [{ type: 'int32', dims: matmulShape(node, a.dims, b.dims).dims }];
    },
    eval(node, [a, b, az, bz], [y]) {
      const out = new Float64Array(y.size);
      const [x, w] = [centred(node, a!, az, rowAxis(a!)), centred(node, b!, bz, columnAxis(b!))];
      multiply(node, a!.dims, b!.dims, x, w, out);
      store(y, out);
    },
  },
  /** a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point */
  QLinearMatMul: {
    infer(node, inputs) {
      const [a, , , b, , , , y] = Array.from({ length: 8 }, (_, i) => arg(node, inputs, i));
      for (const t of [a, b, y]) only(node, t.type, BYTES);
      return [{ type: y.type, dims: matmulShape(node, a.dims, b.dims).dims }];
    },
    eval(node, [a, as, az, b, bs, bz, ys, yz], [y]) {
      let factor = 1 / doubles(ys!)[0];
      // Scales of one value wait until the exact sum is there.
      const operand = (t: Tensor, scale: Tensor, zero: Tensor, axis: number) => {
        const x = centred(node, t, zero, axis);
        if (scale.size === 1) factor *= doubles(scale)[0];
        else
          spread(node, scale, t.dims, axis).forEach((s, i) => {
            x[i] *= s;
          });
        return x;
      };
      const out = new Float64Array(y.size);
      const [x, w] = [operand(a!, as!, az!, rowAxis(a!)), operand(b!, bs!, bz!, columnAxis(b!))];
      multiply(node, a!.dims, b!.dims, x, w, out);
      const put = requantize(y);
      const [zero] = doubles(yz!);
      for (let i = 0; i < out.length; i++) put(i, out[i] * factor, zero);
    },
  },
};
