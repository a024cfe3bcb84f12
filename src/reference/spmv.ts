/** The layer for few tokens from its formula: f64 for f32 weights, exact integers for int8. */
import { clamp } from './dense.ts';

export interface Layer {
  readonly rows: number;
  readonly cols: number;
  readonly tokens: number;
  /** [rows] */
  readonly bias?: ArrayLike<number>;
  readonly min?: number;
  readonly max?: number;
}

/** Y[tokens][rows] = clamp(X[tokens][cols] W[rows][cols]^T + bias), where a weight of zero is not multiplied. */
export function referenceSpmv(w: ArrayLike<number>, x: ArrayLike<number>, l: Layer): Float32Array {
  const { rows, cols, tokens, bias, min = -Infinity, max = Infinity } = l;
  const y = new Float32Array(tokens * rows);
  for (let t = 0; t < tokens; t++) {
    for (let r = 0; r < rows; r++) {
      let sum = bias ? bias[r] : 0;
      for (let k = 0; k < cols; k++) if (w[r * cols + k] !== 0) sum += w[r * cols + k] * x[t * cols + k];
      y[t * rows + r] = clamp(sum, min, max);
    }
  }
  return y;
}

/** A token as ONNX's DynamicQuantizeLinear quantises it, each operation rounded to f32; a range past f32 is its greatest. */
export function referenceQuantize(x: ArrayLike<number>): { q: Uint8Array; scale: number; zero: number } {
  const f = Math.fround;
  let [least, most] = [0, 0];
  for (let i = 0; i < x.length; i++) [least, most] = [Math.min(least, x[i]), Math.max(most, x[i])];
  const quotient = f(Math.min(f(most - least), 3.4028234663852886e38) / 255);
  const scale = quotient === 0 ? 1 : quotient;
  for (let i = 0; i < x.length; i++)
    if (!Number.isFinite(x[i])) return { q: new Uint8Array(x.length), scale: Number.NaN, zero: 0 };
  const even = (v: number) => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));
  const zero = Math.min(255, even(f((0 - least) / scale)));
  const q = Uint8Array.from(x, (v) => Math.min(255, Math.max(0, even(f(v / scale)) + zero)));
  return { q, scale, zero };
}

/** Y = clamp(scale of the token x scales[r] x (W (Q - zero point)) + bias), the sum exact. */
export function referenceSpmvInt8(w: Int8Array, scales: ArrayLike<number>, x: Float32Array, l: Layer): Float32Array {
  const { rows, cols, tokens, bias, min = -Infinity, max = Infinity } = l;
  const y = new Float32Array(tokens * rows);
  for (let t = 0; t < tokens; t++) {
    const { q, scale, zero } = referenceQuantize(x.subarray(t * cols, (t + 1) * cols));
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      for (let k = 0; k < cols; k++) sum += w[r * cols + k] * (q[k] - zero);
      y[t * rows + r] = clamp(sum * (scale * scales[r]) + (bias ? bias[r] : 0), min, max);
    }
  }
  return y;
}
