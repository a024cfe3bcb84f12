/**
 * Packed weights of the kernels for one to eight tokens, whose outputs lie in the lanes (assembly/spmv.ts). Blocks of outputs
 * one after the other, every part from a multiple of 16 bytes:
 *
 *     group16, group8, group4   16, 8 or 4 outputs that share their inputs:
 *         block = [bias] list …            list = [u32 n][n x u16 input] pad [n][outputs f32]
 *     group16, f16              after [4 x u32 0x8fffe000][4 x f32 2^112], as above with [n][16 f16]: outputs 0 4 1 5 2 6 3 7, 8 12 9 13 10 14 11 15
 *     window, f32               16 outputs, in any order, each with inputs of its own:
 *         block = [16 bias][16 u32 byte offset of the output] list …
 *         list  = [u32 n][n x u16 base] pad step[n]
 *         step  = [16 u8 index][16 f32]    output r takes input base + index[r], or none: index 128
 *     window, int8 by f32       16 outputs, in any order, each with inputs of its own:
 *         block = [16 f32 scale][16 f32 bias][16 u32 byte offset of the output] list …
 *         list  = [u32 n][n x u16 base] pad step[n]
 *         step  = [16 u8 index][16 i8]
 *     window, int8              after [16 x u8 15][4 x (u16 a, u16 b)], H outputs, in any order:
 *         block = [H f32 scale][H f32 bias][H i32 sum of weights][H u32 byte offset of the output] list …
 *         list  = [u32 n, even][n x u16 base] pad pair[n / 2]
 *         pair  = [16 u8 indices][16 i8][16 i8]  the first step's indices in the low nibbles, the second's in the high
 *       pairs: H = 8, two products an output; weight 2 r + i is output r's; the indices of weights 0 to 7 are the even bytes,
 *              those of 8 to 15 the odd; a = b = 255
 *       bytes: pairs, but a pair of steps is [16 u8 index][16 u8 index][16 i8][16 i8], weights in the places of their indices
 *       signs: H = 4; weights 4 r + 0, 1 are positive ones of output r, 4 r + 2, 3 magnitudes of negative ones; a = 1, b = -1
 *       quads: H = 4, four products an output; weight 4 r + i is output r's; a = b = 0
 *
 * A block has one list for every 65536 inputs. Outputs past the last are zeros.
 */
import { ArgumentRangeError } from '../errors.ts';
import { arrange, estimateSteps, listsOfRows, schedule, starts } from './window.ts';

export type SpmvFormat = 'group16' | 'group8' | 'group4' | 'window';

/** Packed weights; holds no absolute address. */
export interface PackedSpmv {
  readonly format: SpmvFormat;
  /** Of weights; `i8` meets quantised activations, `i8f32` those of f32. */
  readonly type: 'f32' | 'f16' | 'i8' | 'i8f32';
  readonly kernel: string;
  readonly rows: number;
  readonly cols: number;
  /** Nonzero weights of the original matrix. */
  readonly nonzeros: number;
  /** Weights stored, with the explicit zeros of groups and the idle lanes of steps. */
  readonly stored: number;
  /** Bytes of `data`. */
  readonly bytes: number;
  /** To be copied into WebAssembly memory, 64-byte aligned. */
  readonly data: Uint8Array;
}

/** Inputs of a list: their indices are 16 bits. */
export const LIST = 65536;
export const NONE = 128;
/** What expands halves: the bits that a shift by 13 puts where a float has them, and what corrects the exponent. */
export const HALF_BITS = 0x8fffe000;
export const HALF_SCALE = 2 ** 112;

/** Outputs of a block. */
export const HEIGHT: Readonly<Record<SpmvFormat, number>> = { group16: 16, group8: 8, group4: 4, window: 16 };

export const listsOf = (cols: number): number => Math.max(1, Math.ceil(cols / LIST));
const align = (n: number): number => (n + 15) & ~15;
export const headOf = (n: number): number => align(4 + 2 * n);

/** Where the half of an output lies in its record: two outputs share 32 bits, so that shifts alone take them apart. */
export const halfPlace = (output: number): number => (output & 8) | ((output & 3) << 1) | ((output >> 2) & 1);

type Matrix = Float32Array | Int8Array | Uint16Array;

/** @throws ArgumentRangeError when lengths do not fit */
export function check(weights: Matrix, rows: number, cols: number): void {
  if (!Number.isInteger(rows) || rows < 0) throw new ArgumentRangeError('rows', 'an integer >= 0', rows);
  if (!Number.isInteger(cols) || cols < 0 || cols > 2 ** 30) {
    throw new ArgumentRangeError('cols', 'an integer from 0 to 2^30', cols);
  }
  if (weights.length !== rows * cols) {
    throw new ArgumentRangeError('weights', `${rows} * ${cols} = ${rows * cols} values`, weights);
  }
}

/** @throws ArgumentRangeError unless there is one value a row */
export function checkRows(values: Float32Array | undefined, rows: number, name: string): void {
  if (values && values.length !== rows) throw new ArgumentRangeError(name, `${rows} values`, values);
}

/** The inputs between k0 and k1 at which one of `rows` rows from r0 is not zero; their number. */
function inputsOf(w: Matrix, cols: number, r0: number, r1: number, k0: number, k1: number, out: Uint32Array): number {
  let n = 0;
  for (let k = k0; k < k1; k++) {
    for (let r = r0; r < r1; r++) {
      if (w[r * cols + k] !== 0) {
        out[n++] = k - k0;
        break;
      }
    }
  }
  return n;
}

/** Stored records of each format, which a choice needs before packing: inputs of all groups, steps of all windows. */
export interface SpmvCounts {
  readonly nonzeros: number;
  readonly records: Readonly<Record<SpmvFormat, number>>;
}

/** Counts the groups' records in one pass over [rows][cols]; the steps of windows are estimated to 6 %. */
export function countSpmv(weights: Float32Array, rows: number, cols: number): SpmvCounts {
  check(weights, rows, cols);
  const rowCounts = new Uint32Array(rows);
  // Bit g: one of the rows of quarter g of a block of 16 uses the input.
  const used = new Uint8Array(cols);
  const records = { group16: 0, group8: 0, group4: 0, window: 0 };
  for (let r0 = 0; r0 < rows; r0 += 16) {
    used.fill(0);
    for (let r = r0; r < Math.min(rows, r0 + 16); r++) {
      const bit = 1 << ((r - r0) >> 2);
      let n = 0;
      for (let k = 0, at = r * cols; k < cols; k++, at++) {
        if (weights[at] === 0) continue;
        used[k] |= bit;
        n++;
      }
      rowCounts[r] = n;
    }
    for (let k = 0; k < cols; k++) {
      const u = used[k];
      if (!u) continue;
      records.group16++;
      records.group8 += Number((u & 3) > 0) + Number(u > 3);
      records.group4 += (u & 1) + ((u >> 1) & 1) + ((u >> 2) & 1) + (u >> 3);
    }
  }
  records.window = estimateSteps(weights, cols, rowCounts);
  const nonzeros = rowCounts.reduce((a, b) => a + b, 0);
  return { nonzeros, records };
}

/** Packed weights in the making. Grows by doubling; every part starts at a multiple of 16. */
export class Writer {
  private bytes = new Uint8Array(1 << 16);
  private view = new DataView(this.bytes.buffer);
  at = 0;

  /** Room for n more bytes, zeroed. Offsets stay, views do not. */
  take(n: number): number {
    const from = this.at;
    this.at += n;
    if (this.at > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.at, 2 * this.bytes.length));
      grown.set(this.bytes);
      this.bytes = grown;
      this.view = new DataView(grown.buffer);
    }
    return from;
  }

  u8(at: number, v: number): void {
    this.bytes[at] = v;
  }
  u16(at: number, v: number): void {
    this.view.setUint16(at, v, true);
  }
  i32(at: number, v: number): void {
    this.view.setInt32(at, v, true);
  }
  f32(at: number, v: number): void {
    this.view.setFloat32(at, v === 0 ? 0 : v, true); // no -0
  }
  /** The values of some rows, in a place for `height`. */
  rows(values: Float32Array | undefined, rows: Uint32Array, height: number): void {
    const at = this.take(4 * height);
    if (values) for (const [i, r] of rows.entries()) this.f32(at + 4 * i, values[r]);
  }
  /** Where the outputs of some rows lie. */
  offsets(rows: Uint32Array, height: number): void {
    const at = this.take(4 * height);
    for (const [i, r] of rows.entries()) this.i32(at + 4 * i, 4 * r);
  }
  /** A list's count and room for its 16-bit numbers, whose place is returned. */
  list(n: number): number {
    const at = this.take(headOf(n));
    this.i32(at, n);
    return at + 4;
  }
  fill(at: number, n: number, v: number): void {
    this.bytes.fill(v, at, at + n);
  }
  /** Sets bits. */
  or(at: number, bits: number): void {
    this.bytes[at] |= bits;
  }
  done(): Uint8Array {
    return this.bytes.slice(0, this.at);
  }
}

export const nonzerosOf = (w: Matrix): number => {
  let n = 0;
  for (let i = 0; i < w.length; i++) if (w[i] !== 0) n++;
  return n;
};

/**
 * Packs f32 weights.
 * @param weights [rows][cols], one row an output; -0 counts as zero, NaN and infinities are kept
 * @param format groups multiply the zeros within a group, `window` multiplies nonzeros only
 * @param bias [rows]; left out, zeros
 * @throws ArgumentRangeError when lengths do not fit
 */
export function packSpmv(
  weights: Float32Array,
  rows: number,
  cols: number,
  format: SpmvFormat,
  bias?: Float32Array,
): PackedSpmv {
  check(weights, rows, cols);
  checkRows(bias, rows, 'bias');
  const height = HEIGHT[format];
  if (!height) throw new ArgumentRangeError('format', Object.keys(HEIGHT).join(', '), format);
  const out = new Writer();
  const stored =
    format === 'window'
      ? putWindows(out, weights, rows, cols, {
          bytes: 80,
          head: (mine) => out.rows(bias, mine, 16),
          weight: (at, lane, row, k) => out.f32(at + 16 + 4 * lane, weights[row * cols + k]),
        })
      : putGroups(out, weights, rows, cols, height, bias, 4, (at, v) => out.f32(at, v));
  const data = out.done();
  const kernel = `f32_${format}_spmv`;
  return { format, type: 'f32', kernel, rows, cols, nonzeros: nonzerosOf(weights), stored, bytes: data.length, data };
}

/**
 * Packs weights of half precision, in groups of 16. Half the bytes and exact, but expanding takes as long again: at one token
 * they are slower than f32 in a cache (56 us against 30, relaxed 42 against 27; 3072x768 at 80 %) and faster from memory (58
 * against 77).
 * @param weights [rows][cols], IEEE 754 binary16 bits; -0 counts as zero
 * @param bias [rows]; left out, zeros
 * @throws ArgumentRangeError when lengths do not fit or a weight is NaN or infinite
 */
export function packSpmvHalf(weights: Uint16Array, rows: number, cols: number, bias?: Float32Array): PackedSpmv {
  check(weights, rows, cols);
  checkRows(bias, rows, 'bias');
  const bits = weights.map((h) => (h === 0x8000 ? 0 : h));
  const odd = bits.find((h) => (h & 0x7c00) === 0x7c00);
  if (odd !== undefined) throw new ArgumentRangeError('weights', 'finite numbers', `bits 0x${odd.toString(16)}`);
  const out = new Writer();
  const constants = out.take(32);
  for (let i = 0; i < 4; i++) out.i32(constants + 4 * i, HALF_BITS);
  for (let i = 0; i < 4; i++) out.f32(constants + 16 + 4 * i, HALF_SCALE);
  const stored = putGroups(out, bits, rows, cols, 16, bias, 2, (at, v) => out.u16(at, v), halfPlace);
  return {
    format: 'group16',
    type: 'f16',
    kernel: 'f16_group16_spmv',
    rows,
    cols,
    nonzeros: nonzerosOf(bits),
    stored,
    bytes: out.at,
    data: out.done(),
  };
}

/** @returns weights stored */
function putGroups(
  out: Writer,
  weights: Matrix,
  rows: number,
  cols: number,
  height: number,
  bias: Float32Array | undefined,
  bytes: number,
  put: (at: number, value: number) => void,
  place = (output: number) => output,
): number {
  const inputs = new Uint32Array(Math.min(cols, LIST));
  const all = Uint32Array.from({ length: rows }, (_, r) => r);
  let stored = 0;
  for (let r0 = 0; r0 < rows; r0 += height) {
    const r1 = Math.min(rows, r0 + height);
    out.rows(bias, all.subarray(r0, r1), height);
    for (let k0 = 0; k0 === 0 || k0 < cols; k0 += LIST) {
      const n = inputsOf(weights, cols, r0, r1, k0, Math.min(cols, k0 + LIST), inputs);
      const indices = out.list(n);
      for (let i = 0; i < n; i++) out.u16(indices + 2 * i, inputs[i]);
      const at = out.take(bytes * height * n);
      for (let i = 0; i < n; i++) {
        for (let r = r0; r < r1; r++) {
          put(at + bytes * (height * i + place(r - r0)), weights[r * cols + k0 + inputs[i]]);
        }
      }
      stored += height * n;
    }
  }
  return stored;
}

/** How a window format lays out a block of 16 rows. */
export interface WindowLayout {
  /** Bytes of a step. */
  readonly bytes: number;
  /** Writes what a block of these rows begins with, before where their outputs lie. */
  head(rows: Uint32Array): void;
  /** Writes weight [row][input] at the place of lane `lane` in the step at `at`. */
  weight(at: number, lane: number, row: number, input: number): void;
}

/** A product of each of 16 rows a step, with an input out of a window. @returns weights stored */
export function putWindows(out: Writer, weights: Matrix, rows: number, cols: number, layout: WindowLayout): number {
  const lists = listsOfRows(weights, rows, cols);
  const order = arrange(lists, rows, cols, 16);
  let stored = 0;
  for (let r0 = 0; r0 < rows; r0 += 16) {
    const mine = order.subarray(r0, r0 + 16);
    layout.head(mine);
    out.offsets(mine, 16);
    const next = starts(lists, mine);
    for (let k0 = 0; k0 === 0 || k0 < cols; k0 += LIST) {
      const k1 = Math.min(cols, k0 + LIST);
      const steps = schedule(lists, mine, next.slice(), k1, 1);
      const bases = out.list(steps);
      const at = out.take(layout.bytes * steps);
      for (let i = 0; i < steps; i++) out.fill(at + layout.bytes * i, 16, NONE);
      schedule(lists, mine, next, k1, 1, (step, base, lane, _, k) => {
        const start = at + layout.bytes * step;
        out.u16(bases + 2 * step, base - k0);
        out.u8(start + lane, k - base);
        layout.weight(start, lane, mine[lane], k);
      });
      stored += 16 * steps;
    }
  }
  return stored;
}
