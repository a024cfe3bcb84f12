// What the reader's tests share: short tensors, the smallest model with a weight, and the error of a call.
import { Tensor } from '../../src/tensor.ts';
import type { GraphSpec } from './onnx-write.ts';

export const f32 = (data: number[], dims?: number[]) => new Tensor('float32', data, dims);
export const i64 = (data: number[], dims?: number[]) => new Tensor('int64', data.map(BigInt), dims);

/** y = x + w, with a weight. */
export const SMALL: GraphSpec = {
  nodes: [{ op: 'Add', in: ['x', 'w'], out: ['y'], name: 'add', attrs: {} }],
  constants: { w: f32([1, 2, 3]) },
  inputs: [['x', 'float32', ['N', 3]]],
  outputs: [['y', 'float32', ['N', 3]]],
};

/** What a call throws. */
export function caught(f: () => unknown): Error {
  try {
    f();
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was thrown');
}
