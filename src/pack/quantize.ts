/** How reals are quantised: activations by an affine map or by ranges found in each call, weights with a scale for each row. */
import { ArgumentRangeError } from '../errors.ts';
import { roundEven } from '../half.ts';

/** An affine quantisation, real = scale * (q - zeroPoint), of s8 (-128 to 127), u8 (0 to 255) or u7 (0 to 127). */
export interface Affine {
  readonly scale: number;
  readonly zeroPoint: number;
  readonly type: 's8' | 'u8' | 'u7';
}

/**
 * Scales made from the activations of each call, one for all columns (`tensor`) or one each (`token`). `magnitude`: the
 * largest is 127 steps (63 of u7, around 64). `extremes`: least to greatest, and 0, are 255 steps (127), with a zero point; of
 * i16 the integers are those of ONNX's DynamicQuantizeLinear.
 */
export interface Dynamic {
  readonly per: 'tensor' | 'token';
  readonly range: 'magnitude' | 'extremes';
  /** 7: i16 activations are the integers that those of u7 are, so that both kernels give the same result. Default 8. */
  readonly bits?: 7 | 8;
}

/** Steps of a range: 255 or 127 from end to end, half as many to each side of zero. */
export const stepsOf = (range: Dynamic['range'], bits: 7 | 8): number =>
  ((2 ** bits) >> Number(range === 'magnitude')) - 1;

/** Quantised weights; weight = scale of its row * integer. */
export interface Int8Weights {
  /** [rows][cols], row-major, -127 to 127. */
  readonly weights: Int8Array;
  /** [rows], finite and positive. */
  readonly scales: Float32Array;
}

const RANGE = { s8: [-128, 127], u8: [0, 255], u7: [0, 127] } as const;

/** The least and greatest integer of a type. */
export const limitsOf = (type: Affine['type']): readonly [number, number] => RANGE[type];

export const isStatic = (input: Affine | Dynamic): input is Affine => 'scale' in input;

/**
 * Symmetric quantisation, a scale for each row: largest magnitude / 127 (1 for a row of zeros), integers to nearest even.
 * @param weights [rows][cols]
 * @throws ArgumentRangeError when lengths do not fit or a weight is not finite
 */
export function quantizeWeights(weights: Float32Array, rows: number, cols: number): Int8Weights {
  if (weights.length !== rows * cols) throw new ArgumentRangeError('weights', `${rows} * ${cols} values`, weights);
  const out = { weights: new Int8Array(rows * cols), scales: new Float32Array(rows) };
  for (let r = 0; r < rows; r++) {
    const row = weights.subarray(r * cols, (r + 1) * cols);
    let most = 0;
    for (const w of row) {
      if (!Number.isFinite(w)) throw new ArgumentRangeError('weights', 'finite numbers', w);
      most = Math.max(most, Math.abs(w));
    }
    // A largest magnitude below 127 of the smallest floats has no scale of its own.
    const scale = Math.fround(most / 127) || 1;
    out.scales[r] = scale;
    row.forEach((w, k) => {
      out.weights[r * cols + k] = Math.max(-127, Math.min(127, roundEven(w / scale)));
    });
  }
  return out;
}

/** @throws ArgumentRangeError naming the field */
export function validateAffine(name: string, a: Affine): void {
  if (typeof a.scale !== 'number' || !(Number.isFinite(Math.fround(a.scale)) && Math.fround(a.scale) > 0)) {
    throw new ArgumentRangeError(`${name}.scale`, 'a finite, positive float32', a.scale);
  }
  const range = RANGE[a.type];
  if (!range) throw new ArgumentRangeError(`${name}.type`, "'s8', 'u8' or 'u7'", a.type);
  if (!Number.isInteger(a.zeroPoint) || a.zeroPoint < range[0] || a.zeroPoint > range[1]) {
    throw new ArgumentRangeError(`${name}.zeroPoint`, `an integer from ${range[0]} to ${range[1]}`, a.zeroPoint);
  }
}

/** @throws ArgumentRangeError when lengths do not fit, a scale is not finite and positive, or a weight is -128 */
export function validateInt8({ weights, scales }: Int8Weights, rows: number, cols: number): void {
  for (const [name, n] of [
    ['rows', rows],
    ['cols', cols],
  ] as const) {
    if (!Number.isInteger(n) || n < 0) throw new ArgumentRangeError(name, 'an integer >= 0', n);
  }
  if (weights.length !== rows * cols) throw new ArgumentRangeError('weights', `${rows} * ${cols} values`, weights);
  if (scales.length !== rows) throw new ArgumentRangeError('scales', `${rows} values`, scales);
  for (const s of scales) {
    if (!(Number.isFinite(s) && s > 0)) throw new ArgumentRangeError('scales', 'finite, positive numbers', s);
  }
  if (weights.includes(-128)) throw new ArgumentRangeError('weights', 'integers from -127 to 127', -128);
}
