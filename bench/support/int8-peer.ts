/** One int8 layer for bench/peers/int8.mjs: ours from row-major tokens to row-major outputs, and the ONNX model of the same. */
import { int8Calls, int8PanelBytes, int8ScaleBytes, quantizeCalls, scaleCalls } from '../../src/kernel/int8.ts';
import { packTokensCalls, unpackTokensCalls } from '../../src/kernel/layout.ts';
import { packInt8 } from '../../src/pack/int8.ts';
import { Tensor } from '../../src/tensor.ts';
import { model } from '../../test/support/onnx-write.ts';
import { type Isa, Machine, rng } from './machine.ts';
import { pruned } from './spmm.ts';

export { ISAS } from './machine.ts';

export const SCALE = 1 / 512;

export function layer(rows: number, cols: number, zeros: number): Int8Array {
  return Int8Array.from(pruned(rows, cols, 1 - zeros, 4), (v) => (v ? Math.round(v * 126) || 1 : 0));
}
export function input(tokens: number, cols: number): Float32Array {
  const r = rng(3);
  return Float32Array.from({ length: tokens * cols }, r);
}

/** Whole calls: X copied in, quantised (a scale for each token), multiplied, Y copied out. */
export function ours(isa: Isa, weights: Int8Array, rows: number, cols: number, tokens: number, zeros: number) {
  const m = new Machine(isa);
  const format = zeros ? 'group4' : 'dense';
  const packed = packInt8({ weights, scales: new Float32Array(rows).fill(SCALE) }, rows, cols, format);
  const at = m.put(packed.data);
  const panels16 = Math.ceil(tokens / 16);
  const [xs, ys] = [64 * cols + 64, 64 * rows + 64];
  const x = m.alloc(4 * tokens * cols);
  const y = m.alloc(4 * tokens * rows);
  const f32 = m.alloc(panels16 * xs);
  const out = m.alloc(panels16 * ys);
  const io = { scales: m.alloc(int8ScaleBytes(tokens)), panels: m.alloc(int8PanelBytes(cols, tokens)) };
  const a = { x: f32, xChannelStride: 64, xPanelStride: xs, channels: cols, columns: tokens };
  const to = { y: out, yPanelStride: ys, yChannelStride: 64, into: 'f32' as const, min: -Infinity, max: Infinity };
  const run = m.bind([
    ...packTokensCalls({ x, y: f32, tokens, features: cols, lanes: 16, panelStride: xs }),
    ...scaleCalls(a, io.scales, 'token'),
    ...quantizeCalls(a, { ...io, pairs: !zeros }),
    ...int8Calls(packed, at, { ...io, columns: tokens, ...to }),
    ...unpackTokensCalls({ x: out, y, tokens, features: rows, lanes: 16, panelStride: ys }),
  ]);
  const [X, Y] = [
    new Float32Array(m.memory.buffer, x, tokens * cols),
    new Float32Array(m.memory.buffer, y, tokens * rows),
  ];
  return (data: Float32Array) => {
    X.set(data);
    run();
    return Y.slice();
  };
}

/** DynamicQuantizeLinear, MatMulInteger, Cast and Mul: what onnxruntime's dynamic quantisation makes of a layer. */
export function onnx(weights: Int8Array, rows: number, cols: number, tokens: number): Uint8Array {
  const w = new Int8Array(weights.length);
  for (let r = 0; r < rows; r++) for (let k = 0; k < cols; k++) w[k * rows + r] = weights[r * cols + k];
  const node = (op: string, ins: string[], outs: string[], attrs = {}) => ({ op, in: ins, out: outs, name: op, attrs });
  return model({
    nodes: [
      node('DynamicQuantizeLinear', ['x'], ['q', 's', 'z']),
      node('MatMulInteger', ['q', 'w', 'z', 'wz'], ['i']),
      node('Cast', ['i'], ['f'], { to: 1 }),
      { ...node('Mul', ['s', 'ws'], ['k']), name: 'scales' },
      node('Mul', ['f', 'k'], ['y']),
    ],
    constants: {
      w: new Tensor('int8', w, [cols, rows]),
      wz: new Tensor('int8', new Int8Array(1), []),
      ws: new Tensor('float32', new Float32Array([SCALE]), []),
    },
    inputs: [['x', 'float32', [tokens, cols]]],
    outputs: [['y', 'float32', [tokens, rows]]],
  });
}
