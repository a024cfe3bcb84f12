/** One int8 layer for bench/peers/int8.mjs: ours from row-major tokens to row-major outputs, and the ONNX model of the same. */
import { int8Calls, int8Scratch } from '../../src/kernel/int8.ts';
import { packInt8 } from '../../src/pack/int8.ts';
import { Tensor } from '../../src/tensor.ts';
import { model } from '../../test/support/onnx-write.ts';
import { normal } from './int8.ts';
import { type Isa, Machine, rng } from './machine.ts';
import { pruned } from './spmm.ts';

export { ISAS } from './machine.ts';

export const SCALE = 1 / 512;

/** Weights as trained ones lie, a bell. */
export function layer(rows: number, cols: number, zeros: number): Int8Array {
  return normal(Int8Array.from(pruned(rows, cols, 1 - zeros, 4), (v) => Number(v !== 0)));
}
export function input(tokens: number, cols: number): Float32Array {
  const r = rng(3);
  return Float32Array.from({ length: tokens * cols }, r);
}

/** Whole calls: X copied in, quantised (a scale for each token), multiplied, Y copied out, to an array that is used again. */
export function ours(isa: Isa, weights: Int8Array, rows: number, cols: number, tokens: number, zeros: number) {
  const m = new Machine(isa);
  const packed = packInt8({ weights, scales: new Float32Array(rows).fill(SCALE) }, rows, cols, {
    format: zeros ? 'group4' : 'dense',
    activations: isa === 'relaxed' ? 'u7' : 'i16',
    input: { per: 'token', range: 'magnitude' },
  });
  const at = m.put(packed.data);
  const x = m.alloc(4 * tokens * cols);
  const y = m.alloc(4 * tokens * rows);
  const need = int8Scratch(packed, tokens);
  const scratch = m.alloc(need.panels + need.lanes + need.sums);
  const to = { into: 'tokens', y, yTokenStride: 4 * rows, min: -Infinity, max: Infinity } as const;
  const run = m.bind(int8Calls(packed, at, { x, xTokenStride: 4 * cols, ...to, columns: tokens, scratch }));
  const [X, Y] = [
    new Float32Array(m.memory.buffer, x, tokens * cols),
    new Float32Array(m.memory.buffer, y, tokens * rows),
  ];
  const result = new Float32Array(Y.length);
  return (data: Float32Array) => {
    X.set(data);
    run();
    result.set(Y);
    return result;
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
