/**
 * Packed int8 weights of assembly/int8.ts and int8relaxed.ts. A matrix is cut into blocks of inputs, whose rows of a panel stay in a
 * first-level cache, each one kernel call:
 *
 *     data  = [8 f32 s] [8 i32 z] [8 f32 1] [8 i32 0]   of a static input: to quantise by, and for the kernel
 *             block block …                             from multiples of 64 bytes
 *     block = group group …
 *     group = [u32 a] [u32 b] [C i32 start] [C f32 scale] [C f32 bias] [C i32 count] long … short …
 *
 * a, b: bytes from the group's start to the end of its long and of its short records. Sums start at `start`; what leaves is
 * (sum - z * count) * scale * scale of the column + bias. C is 1 (csr) or 4, outputs that share a list of inputs; outputs past
 * the last have zeros. A record holds the inputs' offsets in a panel, u16 each, then weights [C][inputs], i8 each:
 *
 *     activations   inputs of a long and a short record   weights of a long record
 *     i16 csr       8, 2 (weights i16)                     [8]
 *     i16 group4    4, 2                                   [2 pairs][4][2]
 *     i16 dense     -, 4 (no offsets)                      -
 *     u7 csr        8, 4                                   [2 quads][4]
 *     u7 group4     8, 4                                   [2 quads][4][4]
 *     u7 dense      8, 4 (offsets of quads)                [2 quads][4][4]
 *
 * An input is stored when any of the C weights is not zero. Inputs past the last of a list repeat the last with weight 0.
 *
 * Of i16 dense, a group's records are those of its first two outputs, then of the others, each [inputs 0, 2] [inputs 1, 3] of one
 * output and of the other. From `start` the sum of products of weights 0 and 1, 2 and 3, … is taken (assembly/int8dense.ts).
 */
import { ArgumentRangeError } from '../errors.ts';
import { roundEven } from '../half.ts';
import { ownProducts, putPairs, takePairs } from './int8dense.ts';
import {
  type Affine,
  type Dynamic,
  type Int8Weights,
  isStatic,
  quantizeWeights,
  validateAffine,
  validateInt8,
} from './quantize.ts';

export type Int8Format = 'dense' | 'csr' | 'group4';

/** How the kernel sees activations: 8-bit integers less their zero point in 16 bits, or 0 to 127 (relaxed SIMD only). */
export type Int8Activations = 'i16' | 'u7';

export interface Int8Options {
  readonly format: Int8Format;
  readonly activations: Int8Activations;
  readonly input: Affine | Dynamic;
  /** What Y is rounded to; left out: it is f32. */
  readonly output?: Affine;
  /** [rows], in units of Y's reals; left out, zeros. Of a static input it is rounded to steps of the sums. */
  readonly bias?: Float32Array;
}

/** One kernel call's worth of weights. Offsets are bytes from the start of `data`. */
export interface Int8Segment {
  readonly from: number;
  readonly to: number;
  /** First input. */
  readonly input: number;
}

/** Packed weights; holds no absolute address. */
export interface PackedInt8 {
  readonly format: Int8Format;
  readonly activations: Int8Activations;
  readonly kernel: string;
  readonly rows: number;
  readonly cols: number;
  readonly input: Affine | Dynamic;
  readonly output?: Affine;
  /** [rows], of the weights. */
  readonly scales: Float32Array;
  /** Nonzero weights. */
  readonly nonzeros: number;
  /** Weights stored, with the zeros of groups and of records that are not full. */
  readonly stored: number;
  readonly bytes: number;
  /** To be copied into WebAssembly memory, 64-byte aligned. */
  readonly data: Uint8Array;
  readonly segments: readonly Int8Segment[];
}

/** Inputs of a block: 24 KB of a panel, which a first-level cache of 32 KB keeps. */
const BLOCK = { i16: 1536, u7: 3072 };
/** Bytes of an input's row in a panel of 8 columns. */
export const ROW_BYTES = { i16: 16, u7: 8 };

/** The first input of each block, and the end. They start at multiples of 4, as interleaved inputs must. */
function blocksOf(cols: number, activations: Int8Activations): number[] {
  const n = Math.max(1, Math.ceil(cols / BLOCK[activations]));
  const size = Math.ceil(cols / n / 4) * 4;
  return Array.from({ length: n + 1 }, (_, i) => Math.min(cols, i * size));
}

/** Inputs of a long and a short record, and their bytes. */
interface Records {
  readonly long: number;
  readonly short: number;
  readonly longBytes: number;
  readonly shortBytes: number;
  /** Inputs of an offset: 1; 4 where quads lie interleaved; 0: there are none. */
  readonly offset: number;
}

function recordsOf(format: Int8Format, activations: Int8Activations): Records {
  const c = format === 'csr' ? 1 : 4;
  const pairs = activations === 'i16';
  const offset = format !== 'dense' ? 1 : pairs ? 0 : 4;
  const index = (n: number) => (offset ? (2 * n) / offset : 0);
  const short = pairs && offset ? 2 : 4;
  // Two quads together; of single rows four pairs; else none longer.
  const long = pairs ? (c === 1 ? 8 : 0) : 8;
  // Weights of i16 kernels are widened when packed, but for the long records of single rows.
  const shortBytes = index(short) + short * c * (pairs ? 2 : 1);
  const longBytes = index(long) + long * c * (pairs && c > 1 ? 2 : 1);
  return { long, short, longBytes, shortBytes, offset };
}

/**
 * Whether two quads of u7 inputs may be added in 16 bits: a lane holds inputs 0 and 1, or 2 and 3, of both, 127 at most each.
 * So the sum of its positive weights, and of its negative ones, may be 258: 258 * 127 < 2^15.
 */
function fits(w: Int8Array, cols: number, row: number, rows: number, inputs: readonly number[]): boolean {
  for (let r = row; r < rows; r++) {
    for (let half = 0; half < 4; half += 2) {
      let [plus, minus] = [0, 0];
      for (const i of [half, half + 1, half + 4, half + 5]) {
        const v = inputs[i] < 0 ? 0 : w[r * cols + inputs[i]];
        if (v > 0) plus += v;
        else minus -= v;
      }
      if (plus > 258 || minus > 258) return false;
    }
  }
  return true;
}

/** A group's inputs in records; -1 stands for none. */
interface Lists {
  readonly long: number[];
  readonly short: number[];
}

function listsOf(
  w: Int8Array,
  cols: number,
  row: number,
  rows: number,
  from: number,
  to: number,
  r: Records,
  u7: boolean,
): Lists {
  const inputs: number[] = [];
  for (let k = from; k < to; k++) {
    let any = r.offset !== 1;
    for (let j = row; !any && j < rows; j++) any = w[j * cols + k] !== 0;
    if (any) inputs.push(k);
  }
  while (inputs.length % r.short) inputs.push(-1);
  const lists: Lists = { long: [], short: [] };
  let i = 0;
  for (; r.long && i + r.long <= inputs.length; i += r.long) {
    const some = inputs.slice(i, i + r.long);
    let ok = true;
    for (let q = 0; u7 && q < r.long; q += 8) ok &&= fits(w, cols, row, rows, some.slice(q, q + 8));
    (ok ? lists.long : lists.short).push(...some);
  }
  lists.short.push(...inputs.slice(i));
  return lists;
}

/**
 * Packs quantised weights for one kernel.
 * @param q [rows][cols], see {@link quantizeWeights}
 * @throws ArgumentRangeError when lengths do not fit, a scale, zero point or static input's bias is out of range, a weight is -128, or the
 *   largest activations would overflow the 32-bit sum of a row
 */
export function packInt8(q: Int8Weights, rows: number, cols: number, options: Int8Options): PackedInt8 {
  validateInt8(q, rows, cols);
  const { format, activations, input, output, bias } = options;
  if (bias && bias.length !== rows) throw new ArgumentRangeError('bias', `${rows} values`, bias);
  if (bias && isStatic(input) && !bias.every(Number.isFinite))
    throw new ArgumentRangeError(
      'bias',
      'finite numbers',
      bias.find((b) => !Number.isFinite(b)),
    );
  if (isStatic(input)) validateAffine('input', input);
  if (output) validateAffine('output', output);
  const u7 = activations === 'u7';
  if (isStatic(input) && u7 !== (input.type === 'u7')) {
    throw new ArgumentRangeError('input.type', u7 ? "'u7'" : "'s8' or 'u8'", input.type);
  }
  const { weights, scales } = q;
  const channels = format === 'csr' ? 1 : 4;
  const record = recordsOf(format, activations);
  const bounds = blocksOf(cols, activations);
  const head = 8 + 16 * channels;
  const apart = format === 'dense' && !u7;

  const plan: { row: number; rows: number; from: number; lists: Lists }[] = [];
  const segments: Int8Segment[] = [];
  let bytes = 128;
  let stored = 0;
  for (let b = 0; b + 1 < bounds.length; b++) {
    const from = bytes;
    for (let row = 0; row < rows; row += channels) {
      const end = Math.min(rows, row + channels);
      const lists = listsOf(weights, cols, row, end, bounds[b], bounds[b + 1], record, u7);
      plan.push({ row, rows: end, from: bounds[b], lists });
      bytes += head + groupBytes(lists, record);
      stored += channels * (lists.long.length + lists.short.length);
    }
    segments.push({ from, to: bytes, input: bounds[b] });
    bytes = Math.ceil(bytes / 64) * 64;
  }

  const data = new Uint8Array(bytes);
  const view = new DataView(data.buffer);
  for (let i = 0; i < 32 && isStatic(input); i += 4) {
    view.setFloat32(i, input.scale, true);
    view.setInt32(32 + i, input.zeroPoint, true);
    view.setFloat32(64 + i, 1, true);
  }
  let at = 0;
  plan.forEach(({ row, rows: end, from, lists }, i) => {
    if (i % Math.ceil(rows / channels) === 0) at = segments[i / Math.ceil(rows / channels)].from;
    const long =
      head +
      (lists.long.length / (record.long || 1)) * record.longBytes +
      (record.long ? 0 : Math.floor(lists.short.length / 4) * (4 / record.short) * record.shortBytes);
    view.setUint32(at, long, true);
    view.setUint32(at + 4, head + groupBytes(lists, record), true);
    for (let r = row; r < end; r++) {
      const o = at + 8 + 4 * (r - row);
      const f = constants(q, r, cols, options);
      view.setInt32(o, f.start - (apart && !from ? ownProducts(weights, r, cols) : 0), true);
      view.setFloat32(o + 4 * channels, f.scale, true);
      view.setFloat32(o + 8 * channels, f.bias, true);
      view.setInt32(o + 12 * channels, f.count, true);
    }
    at += head;
    const put = (list: readonly number[], n: number, wide: boolean) => {
      for (let j = 0; j < list.length; j += n) {
        let last = list[j];
        for (let m = 0; record.offset && m < n; m += record.offset, at += 2) {
          if (list[j + m] >= 0) last = list[j + m];
          view.setUint16(at, (last - from) * ROW_BYTES[activations], true);
        }
        for (let m = 0; m < n; m += record.short) {
          for (let r = row; r < row + channels; r++) {
            for (let l = 0; l < record.short; l++) {
              const k = list[j + m + l];
              const w = r < end && k >= 0 ? weights[r * cols + k] : 0;
              if (wide) view.setInt16(at, w, true);
              else view.setInt8(at, w);
              at += wide ? 2 : 1;
            }
          }
        }
      }
    };
    if (apart) {
      at = putPairs(view, at, weights, cols, row, end, lists.short);
    } else {
      put(lists.long, record.long || 1, !u7 && channels > 1);
      put(lists.short, record.short, !u7);
    }
  });
  let nonzeros = 0;
  for (const w of weights) if (w) nonzeros++;
  const kernel = `i8_${format}_${u7 ? 'q7spmm' : 'qspmm'}_${channels === 1 ? '16x1' : '8x4'}`;
  const own = scales.slice();
  return {
    format,
    activations,
    kernel,
    rows,
    cols,
    input,
    output,
    scales: own,
    nonzeros,
    stored,
    bytes,
    data,
    segments,
  };
}

const groupBytes = (l: Lists, r: Records): number =>
  (l.long.length / (r.long || 1)) * r.longBytes + (l.short.length / r.short) * r.shortBytes;

/** What a row's sum starts at, and what it is multiplied by and added to in the end. */
function constants(
  { weights, scales }: Int8Weights,
  row: number,
  cols: number,
  { activations, input, output, bias }: Int8Options,
): { start: number; scale: number; bias: number; count: number } {
  let [sum, size] = [0, 0];
  for (let k = row * cols; k < (row + 1) * cols; k++) {
    sum += weights[k];
    size += Math.abs(weights[k]);
  }
  const step = output ? Math.fround(output.scale) : 1;
  const u7 = activations === 'u7';
  let start = 0;
  let b = bias ? bias[row] : 0;
  let scale = scales[row] / step;
  // Activations of 16 bits have lost their zero point. That of u7 is known here, unless it is found in each call.
  if (u7 && (isStatic(input) || input.range === 'magnitude')) start = -sum * (isStatic(input) ? input.zeroPoint : 64);
  if (isStatic(input)) {
    const unit = Math.fround(input.scale) * scales[row];
    const whole = roundEven(b / unit);
    if (Math.abs(whole) < 2 ** 30) {
      start += whole;
      b = 0;
    }
    scale = unit / step;
  }
  // It would make NaN of a sum of 0.
  if (!(Math.fround(scale) < Number.POSITIVE_INFINITY))
    throw new ArgumentRangeError(
      'output.scale',
      `a step that float32 can count the sums of row ${row} in`,
      output?.scale,
    );
  const narrow = u7 || (!isStatic(input) && (input.range === 'magnitude' || input.bits === 7));
  const largest = narrow ? 127 : 255;
  if (size * largest + Math.abs(start) > 2 ** 31 - 1) {
    const most = Math.floor((2 ** 31 - 1) / largest);
    const expected = `sums within 32 bits: magnitudes of ${most} together in row ${row}, less its bias`;
    throw new ArgumentRangeError('weights', expected, size);
  }
  return { start, scale: Math.fround(scale), bias: Math.fround(b / step), count: u7 ? sum : 0 };
}

/** The weights and scales back. */
export function unpackInt8(p: PackedInt8): Int8Weights {
  const weights = new Int8Array(p.rows * p.cols);
  const view = new DataView(p.data.buffer, p.data.byteOffset, p.data.byteLength);
  const channels = p.format === 'csr' ? 1 : 4;
  const record = recordsOf(p.format, p.activations);
  const wide = p.activations === 'i16';
  for (const { from, to, input } of p.segments) {
    let at = from;
    for (let row = 0; at < to; row += channels) {
      const [long, end] = [at + view.getUint32(at, true), at + view.getUint32(at + 4, true)];
      at += 8 + 16 * channels;
      if (p.format === 'dense' && wide) {
        takePairs(view, at, end, weights, p, row, input);
        at = end;
      }
      let next = input;
      while (at < end) {
        const n = (at < long && record.long) || record.short;
        const inputs: number[] = [];
        for (let m = 0; m < n; m += record.offset || 1) {
          if (record.offset) next = input + view.getUint16(at, true) / ROW_BYTES[p.activations];
          if (record.offset) at += 2;
          for (let j = 0; j < (record.offset || 1); j++) inputs.push(next++);
        }
        const two = wide && (channels > 1 || at >= long);
        for (let m = 0; m < n; m += record.short) {
          for (let r = row; r < row + channels; r++) {
            for (let l = 0; l < record.short; l++) {
              const w = two ? view.getInt16(at, true) : view.getInt8(at);
              at += two ? 2 : 1;
              if (w) weights[r * p.cols + inputs[m + l]] = w;
            }
          }
        }
      }
    }
  }
  return { weights, scales: p.scales.slice() };
}
