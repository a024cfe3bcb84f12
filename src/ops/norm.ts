import { Tensor, type TensorType } from '../tensor.ts';
import { arg, axisOf, bad, float, int, ints, wants } from './attrs.ts';
import { affine, channelwise, infer } from './batchnorm.ts';
import { doubles, numbers, store } from './half.ts';
import { broadcast, broadcastStrides, eachLine, product } from './strided.ts';
import type { OpDef, OpTable } from './types.ts';

/**
 * Normalises every run of `n` consecutive elements in place: less the mean unless `rms`, over the root of the mean square.
 * `seen(run, mean, inverse)` gets the statistics.
 */
function normalise(
  x: Float64Array,
  n: number,
  epsilon: number,
  rms: boolean,
  seen?: (run: number, mean: number, inverse: number) => void,
): void {
  for (let start = 0; start < x.length; start += n) {
    const end = start + n;
    let mean = 0;
    if (!rms) {
      for (let i = start; i < end; i++) mean += x[i];
      mean /= n;
    }
    let square = 0;
    for (let i = start; i < end; i++) square += (x[i] -= mean) ** 2;
    const inverse = 1 / Math.sqrt(square / n + epsilon);
    for (let i = start; i < end; i++) x[i] *= inverse;
    seen?.(start / n, mean, inverse);
  }
}

/** InstanceNormalization is a group a channel. */
const grouped: OpDef = {
  infer: channelwise(2),
  eval(node, [x, scale, bias], [y]) {
    const { dims } = x!;
    const groups = int(node, 'num_groups', dims[1]);
    const values = doubles(x!);
    normalise(values, (dims[1] / groups) * product(dims.slice(2)), float(node, 'epsilon', 1e-5), false);
    affine(values, dims, numbers(scale!), numbers(bias!));
    store(y, values);
  },
};

/** LayerNormalization and RMSNormalization: over all dimensions from `axis` on. */
const layered: OpDef = {
  infer(node, inputs) {
    const [y] = infer(node, inputs);
    const axis = axisOf(int(node, 'axis', -1), y.dims.length, node);
    for (const p of [arg(node, inputs, 1), inputs[2]]) if (p) broadcastStrides(node, p.dims, y.dims);
    const dims = y.dims.map((d, i) => (i < axis ? d : 1));
    const type = y.type === 'float16' ? 'float32' : y.type;
    const types: TensorType[] = [y, { type, dims }, { type, dims }];
    return types.slice(0, wants(node, 2) ? 3 : wants(node, 1) ? 2 : 1);
  },
  eval(node, [x, scale, bias], [y, meanOut, inverseOut]) {
    const { dims } = x!;
    const axis = axisOf(int(node, 'axis', -1), dims.length, node);
    const rms = node.op === 'RMSNormalization';
    const values = doubles(x!);
    const seen = (run: number, mean: number, inverse: number) => {
      if (meanOut) meanOut.data[run] = mean;
      if (inverseOut) inverseOut.data[run] = inverse;
    };
    normalise(values, product(dims.slice(axis)), float(node, 'epsilon', 1e-5), rms, seen);
    // Parameters nearly always span the normalised dimensions only; ONNX lets them vary along the others too.
    const over = (t: Tensor) => {
      let rank = t.dims.length;
      while (rank > dims.length - axis && t.dims[t.dims.length - rank] === 1) rank--;
      return broadcast(node, t, rank > dims.length - axis ? dims : dims.slice(axis));
    };
    const s = over(scale!);
    const b = bias ? over(bias) : new Float64Array(1);
    for (let i = 0; i < values.length; i++) values[i] = values[i] * s[i % s.length] + b[i % b.length];
    store(y, values);
  },
};

export const norms: OpTable = {
  InstanceNormalization: grouped,
  GroupNormalization: grouped,
  LayerNormalization: layered,
  RMSNormalization: layered,
  /** A line of zeros stays zeros. */
  LpNormalization: {
    infer(node, inputs) {
      const types = infer(node, inputs);
      axisOf(int(node, 'axis', -1), types[0].dims.length, node);
      const p = int(node, 'p', 2);
      if (p !== 1 && p !== 2) throw bad(node, `attribute "p" expected 1 or 2, got ${p}`);
      return types;
    },
    eval(node, [x], [y]) {
      const p = int(node, 'p', 2);
      const values = doubles(x!);
      eachLine(y.dims, axisOf(int(node, 'axis', -1), y.dims.length, node), (start, step, n) => {
        let sum = 0;
        for (let i = 0; i < n; i++) sum += Math.abs(values[start + i * step]) ** p;
        const norm = sum ** (1 / p) || 1;
        for (let i = 0; i < n; i++) values[start + i * step] /= norm;
      });
      store(y, values);
    },
  },
  LRN: {
    infer(node, inputs) {
      const types = infer(node, inputs);
      if (types[0].dims.length < 2) throw bad(node, `input expected N x C x …, got [${types[0].dims}]`);
      if (int(node, 'size') < 1) throw bad(node, `attribute "size" expected >= 1, got ${int(node, 'size')}`);
      return types;
    },
    eval(node, [x], [y]) {
      const size = int(node, 'size');
      const before = (size - 1) >> 1;
      const alpha = float(node, 'alpha', 1e-4) / size;
      const beta = float(node, 'beta', 0.75);
      const bias = float(node, 'bias', 1);
      const values = numbers(x!);
      const out = new Float64Array(values.length);
      eachLine(y.dims, 1, (start, step, n) => {
        for (let c = 0; c < n; c++) {
          let sum = 0;
          const end = Math.min(n, c - before + size);
          for (let i = Math.max(0, c - before); i < end; i++) sum += values[start + i * step] ** 2;
          out[start + c * step] = values[start + c * step] / (bias + alpha * sum) ** beta;
        }
      });
      store(y, out);
    },
  },
  MeanVarianceNormalization: {
    infer(node, inputs) {
      const types = infer(node, inputs);
      for (const a of ints(node, 'axes') ?? [0, 2, 3]) axisOf(a, types[0].dims.length, node);
      return types;
    },
    eval(node, [x], [y]) {
      const { dims } = y;
      const values = doubles(x!);
      const axes = (ints(node, 'axes') ?? [0, 2, 3]).map((a) => axisOf(a, dims.length, node));
      // Which set of statistics an element belongs to: its index over the dimensions kept.
      const kept = dims.map((d, i) => (axes.includes(i) ? 1 : d));
      const sets = product(kept);
      const set = broadcast(
        node,
        new Tensor(
          'float64',
          Float64Array.from({ length: sets }, (_, i) => i),
          kept,
        ),
        dims,
      );
      const n = values.length / sets;
      for (const power of [1, 2]) {
        const moment = new Float64Array(sets);
        for (let i = 0; i < values.length; i++) moment[set[i]] += values[i] ** power / n;
        for (let i = 0; i < values.length; i++) {
          if (power === 1) values[i] -= moment[set[i]];
          else values[i] /= Math.sqrt(moment[set[i]]) + 1e-9;
        }
      }
      store(y, values);
    },
  },
};
