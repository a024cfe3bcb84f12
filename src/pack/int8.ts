/**
 * Packed int8 weights of the SpMM kernels over 16-bit activations (assembly/int8.ts): groups of 4 rows, one after the other,
 *
 *     group = [u32 pairs] [u32 rows] [4 f32 scale] [4 f32 bias] [pairs][2 u16 offset] pad [pairs][4][2 i16]
 *
 * `pairs` of inputs that any of the 4 rows needs, an odd one out paired with itself and weight 0; offset: bytes of an input's
 * row in a panel of X, 16 k. Padding is to multiples of 16. Weights are widened to 16 bits (kept at 8, widening cost 12 %). Dense matrices have no offsets: pairs
 * are inputs 2 i and 2 i + 1. `rows` is less than 4 in the last group.
 */
import { ArgumentRangeError } from '../errors.ts';

export interface Int8Weights {
  /** [rows][cols], row-major, -127 to 127. */
  readonly weights: Int8Array;
  /** [rows], finite and positive: weight = scale x integer. */
  readonly scales: Float32Array;
}

export interface PackedInt8 {
  readonly format: 'group4' | 'dense';
  readonly kernel: string;
  readonly rows: number;
  readonly cols: number;
  readonly nonzeros: number;
  /** Weights stored, with zeros of groups and of odd pairs. */
  readonly stored: number;
  readonly bytes: number;
  /** To be copied into WebAssembly memory, 64-byte aligned. */
  readonly data: Uint8Array;
}

/** Offsets are 16 bits. */
export const MAX_INT8_COLS = 4096;
const HEAD = 40;

/**
 * @param bias [rows], in units of Y; left out, zeros
 * @throws ArgumentRangeError when lengths do not fit, a scale is not finite and positive, a weight is -128, or groups of 4 have
 *   more than 4096 inputs
 */
export function packInt8(
  { weights, scales }: Int8Weights,
  rows: number,
  cols: number,
  format: 'group4' | 'dense',
  bias?: Float32Array,
): PackedInt8 {
  const most = format === 'dense' ? 65536 : MAX_INT8_COLS;
  if (!Number.isInteger(cols) || cols < 0 || cols > most) {
    throw new ArgumentRangeError('cols', `an integer from 0 to ${most}`, cols);
  }
  if (weights.length !== rows * cols) throw new ArgumentRangeError('weights', `${rows} * ${cols} values`, weights);
  if (scales.length !== rows) throw new ArgumentRangeError('scales', `${rows} values`, scales);
  if (bias && bias.length !== rows) throw new ArgumentRangeError('bias', `${rows} values`, bias);
  for (const s of scales) {
    if (!(Number.isFinite(s) && s > 0)) throw new ArgumentRangeError('scales', 'finite, positive numbers', s);
  }
  if (weights.includes(-128)) throw new ArgumentRangeError('weights', 'integers from -127 to 127', -128);
  const dense = format === 'dense';
  const lists: number[][] = [];
  let bytes = 0;
  let nonzeros = 0;
  for (let r = 0; r < rows; r += 4) {
    const list: number[] = [];
    for (let k = 0; k < cols; k++) {
      let any = dense;
      for (let j = r; j < Math.min(rows, r + 4); j++) {
        if (weights[j * cols + k] === 0) continue;
        nonzeros++;
        any = true;
      }
      if (any) list.push(k);
    }
    lists.push(list);
    bytes += sizeOf((list.length + 1) >> 1, dense).bytes;
  }
  const data = new Uint8Array(bytes);
  const view = new DataView(data.buffer);
  let at = 0;
  let stored = 0;
  lists.forEach((list, g) => {
    const pairs = (list.length + 1) >> 1;
    const live = Math.min(4, rows - 4 * g);
    const size = sizeOf(pairs, dense);
    view.setUint32(at, pairs, true);
    view.setUint32(at + 4, live, true);
    for (let j = 0; j < live; j++) {
      view.setFloat32(at + 8 + 4 * j, scales[4 * g + j], true);
      view.setFloat32(at + 24 + 4 * j, bias ? bias[4 * g + j] : 0, true);
    }
    for (let p = 0; p < pairs; p++) {
      for (let i = 0; i < 2; i++) {
        const k = list[2 * p + i];
        if (!dense) view.setUint16(at + HEAD + 4 * p + 2 * i, 16 * (k ?? list[2 * p]), true);
        if (k === undefined) continue;
        for (let j = 0; j < live; j++)
          view.setInt16(at + size.weights + 16 * p + 4 * j + 2 * i, weights[(4 * g + j) * cols + k], true);
      }
    }
    stored += 8 * pairs;
    at += size.bytes;
  });
  return { format, kernel: `i8_${format}_spmm_8x4`, rows, cols, nonzeros, stored, bytes, data };
}

/**
 * Whether groups of 4 are faster than dense: a dense pair, with neither offsets nor interleaving, takes 0.85 of a sparse one's
 * time (bench int8).
 */
export function groupedInt8(weights: Int8Array, rows: number, cols: number): boolean {
  if (cols > MAX_INT8_COLS) return false;
  let inputs = 0;
  for (let r = 0; r < rows; r += 4) {
    const end = Math.min(rows, r + 4);
    for (let k = 0; k < cols; k++) {
      for (let j = r; j < end; j++) {
        if (weights[j * cols + k] === 0) continue;
        inputs++;
        break;
      }
    }
  }
  return inputs < 0.85 * Math.ceil(rows / 4) * cols;
}

/** Where a group's weights begin, and its size. */
function sizeOf(pairs: number, dense: boolean): { weights: number; bytes: number } {
  const weights = (HEAD + (dense ? 0 : 4 * pairs) + 15) & ~15;
  return { weights, bytes: weights + 16 * pairs };
}

/** The weights and scales back. */
export function unpackInt8(p: PackedInt8): Int8Weights {
  const weights = new Int8Array(p.rows * p.cols);
  const scales = new Float32Array(p.rows);
  const view = new DataView(p.data.buffer, p.data.byteOffset, p.data.byteLength);
  const dense = p.format === 'dense';
  let at = 0;
  for (let r = 0; r < p.rows; r += 4) {
    const pairs = view.getUint32(at, true);
    const live = view.getUint32(at + 4, true);
    const size = sizeOf(pairs, dense);
    for (let j = 0; j < live; j++) {
      scales[r + j] = view.getFloat32(at + 8 + 4 * j, true);
      for (let i = 0; i < 2 * pairs; i++) {
        const k = dense ? i : view.getUint16(at + HEAD + 2 * i, true) / 16;
        const w = view.getInt16(at + size.weights + 16 * (i >> 1) + 4 * j + 2 * (i & 1), true);
        if (w) weights[(r + j) * p.cols + k] = w;
      }
    }
    at += size.bytes;
  }
  return { weights, scales };
}
