/**
 * Weights of the fully-connected layer for one to four tokens (f32_dense_gemv): outputs in lanes, in blocks of 16,
 *
 *     block = [16 bias] [k][16 weights]        outputs past the last are zeros
 */
import { ArgumentRangeError } from '../errors.ts';

/** Packed weights; holds no absolute address. */
export interface PackedGemv {
  readonly rows: number;
  readonly cols: number;
  /** Bytes of `data`. */
  readonly bytes: number;
  /** To be copied into WebAssembly memory, 64-byte aligned. */
  readonly data: Uint8Array;
}

/**
 * @param weights [rows][cols], one row an output
 * @param bias [rows]; left out, zeros
 * @throws ArgumentRangeError when lengths do not fit
 */
export function packGemv(weights: Float32Array, rows: number, cols: number, bias?: Float32Array): PackedGemv {
  if (weights.length !== rows * cols) throw new ArgumentRangeError('weights', `${rows} * ${cols} values`, weights);
  if (bias && bias.length !== rows) throw new ArgumentRangeError('bias', `${rows} values`, bias);
  const blocks = Math.ceil(rows / 16);
  const f32 = new Float32Array(blocks * 16 * (cols + 1));
  for (let r = 0; r < rows; r++) {
    const at = Math.floor(r / 16) * 16 * (cols + 1) + (r % 16);
    f32[at] = bias ? bias[r] : 0;
    for (let k = 0; k < cols; k++) f32[at + 16 * (k + 1)] = weights[r * cols + k];
  }
  return { rows, cols, bytes: f32.byteLength, data: new Uint8Array(f32.buffer) };
}
