/** One int8 layer on a machine: packed, bound to addresses, its answer compared with exact integers on a few rows. */
import { type Activations, int8ProductCalls, int8QuantizeCalls, int8Scratch } from '../../src/kernel/int8.ts';
import { type Int8Activations, type Int8Format, packInt8 } from '../../src/pack/int8.ts';
import type { Dynamic } from '../../src/pack/quantize.ts';
import { referenceInt8, referenceQuantized, referenceRange, referenceSums } from '../../src/reference/int8.ts';
import { type Machine, rng } from './machine.ts';
import type { Shape } from './shapes.ts';
import { pruned } from './spmm.ts';

/** Weights with a share of zeros, `group` rows each sharing theirs. */
export function layer(rows: number, cols: number, zeros: number, group: number): Int8Array {
  return Int8Array.from(pruned(rows, cols, 1 - zeros, group), (v) => (v ? Math.round(v * 126) || 1 : 0));
}

/** How weights are distributed: uniform, which few layers are, or as after training: normal, the largest of a row 127. */
export function normal(w: Int8Array): Int8Array {
  const r = rng(11);
  const sum = () => [...Array(12)].reduce((s) => s + r(), 0) / 2;
  return w.map((v) => (v ? Math.max(-127, Math.min(127, Math.round(36 * sum()))) || 1 : 0));
}

export interface Layer {
  readonly format: Int8Format;
  readonly activations: Int8Activations;
  readonly input: Dynamic;
  readonly weights: Int8Array;
}

/** X in panels of 16, as the layer before left it; Y too. */
export function prepareInt8(machine: Machine, [rows, cols, columns]: Shape, l: Layer) {
  const scales = Float32Array.from({ length: rows }, (_, i) => (1 + (i % 7)) / 1000);
  const bias = Float32Array.from({ length: rows }, (_, i) => i / rows);
  const packed = packInt8({ weights: l.weights, scales }, rows, cols, { ...l, bias });
  const at = machine.put(packed.data);
  const r = rng(2);
  const x = Float32Array.from({ length: cols * columns }, r);
  const xs = 64 * cols + 64;
  const ys = 64 * rows + 64;
  const lanes = new Float32Array((xs / 4) * Math.ceil(columns / 16));
  x.forEach((v, i) => {
    const [k, p] = [Math.floor(i / columns), i % columns];
    lanes[(xs / 4) * (p >> 4) + 16 * k + (p & 15)] = v;
  });
  const from: Activations = { x: machine.put(lanes), xChannelStride: 64, xPanelStride: xs };
  const need = int8Scratch(packed, columns);
  const io = {
    columns,
    panels: machine.alloc(need.panels),
    lanes: machine.alloc(need.lanes),
    sums: machine.alloc(need.sums),
    into: 'f32' as const,
    y: machine.alloc(ys * Math.ceil(columns / 16)),
    yPanelStride: ys,
    yChannelStride: 64,
    min: Number.NEGATIVE_INFINITY,
    max: Number.POSITIVE_INFINITY,
  };
  const quantize = machine.bind(int8QuantizeCalls(packed, at, { ...from, ...io }));
  const run = machine.bind(int8ProductCalls(packed, at, io));
  quantize();
  run();
  const u7 = l.activations === 'u7';
  const [steps, zero] = l.input.range === 'extremes' ? [u7 ? 127 : 255] : u7 ? [63, 64] : [127, 0];
  const by = referenceRange(x, columns, l.input.per, steps, zero);
  const q = referenceQuantized(x, by, zero === 0 ? -127 : 0, steps === 63 ? 127 : steps);
  const part = Math.min(rows, 8);
  const sums = referenceSums(l.weights.subarray(0, part * cols), q, by, part);
  const f32 = new Float32Array(machine.memory.buffer);
  referenceInt8(sums, scales, by, false, bias, io).forEach((want, i) => {
    const [row, p] = [Math.floor(i / columns), i % columns];
    const got = f32[(io.y + ys * (p >> 4) + 64 * row + 4 * (p & 15)) >> 2];
    if (got !== want) throw new Error(`${packed.kernel}: Y[${row}][${p}] is ${got}, expected ${want}`);
  });
  return { packed, quantize, run };
}
