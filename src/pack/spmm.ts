/**
 * Packed weights of the f32 SpMM kernels. A matrix is cut into segments, each one kernel call, from a multiple of 64 bytes:
 *
 *     segment = group group group …
 *
 *     group   = [u16 q] [u16 e] [C bias] quad quad …     csr, group2, group4
 *     quad    = [4 x u16 offset] [inputs][C weights]     the last may hold 1 to 3 inputs: offset 0 ends the list
 *
 *     group   = [u32 n] [C bias] [inputs][C weights]     dense: every input in turn, n bytes
 *
 * q and e are bytes from the group's start to the end of its full quads, and of all. C output channels share one ascending list
 * of inputs: 1 (csr), 2 (group2), 4 (group4); in dense matrices the tile's height. An input is stored when any of the C weights
 * is not zero; its offset is one more than that of its row in the panel, in bytes from the segment's first input. Quads of csr
 * have room for 4 weights always: they are loaded at once. Segments cut the inputs into blocks (later blocks add to what the
 * earlier left in Y), and give the rows that do not fill a group of C to the kernels of 2 and 1.
 */
import { ArgumentRangeError } from '../errors.ts';
import { SHORT_ROWS, type Variant } from '../kernel/tiles.ts';
import { nonzerosOf } from './spmv.ts';

export type SpmmFormat = 'dense' | 'csr' | 'group2' | 'group4';

/** One kernel call's worth of weights. Offsets are bytes from the start of `data`. */
export interface SpmmSegment {
  readonly kernel: string;
  readonly row: number;
  readonly rows: number;
  readonly channels: number;
  readonly from: number;
  readonly to: number;
  /** First input; not 0: adds to Y. */
  readonly input: number;
  /** The last block of inputs: clamps. */
  readonly clamp: boolean;
}

/** Packed weights; holds no absolute address. */
export interface PackedSpmm {
  readonly format: SpmmFormat;
  /** Main kernel; rows that do not fill its group take others. */
  readonly variant: string;
  readonly rows: number;
  readonly cols: number;
  /** Lanes of a panel of X (and of Y, where Y is in panels). */
  readonly lanes: number;
  /** Nonzero weights of the original matrix. */
  readonly nonzeros: number;
  /** Weights stored, with the explicit zeros of groups and dense matrices. */
  readonly stored: number;
  /** Bytes of `data`. */
  readonly bytes: number;
  /** To be copied into WebAssembly memory, 64-byte aligned. */
  readonly data: Uint8Array;
  readonly segments: readonly SpmmSegment[];
  /** Where inputs lie, when not in the rows of a panel. */
  readonly place?: InputPlace;
}

/** Where the kernels find the inputs of X, when X is not panels: bytes, below 2^16 - 1, from where a block of inputs begins. */
export interface InputPlace {
  /** Inputs of a block. */
  readonly block: number;
  /** Bytes of input k of a block, any order. */
  offset(k: number): number;
}

/** Lanes of a panel, the same for every kernel, so that layers of different formats follow each other without a copy. */
export const PANEL_LANES = 16;
const ROW_BYTES = 4 * PANEL_LANES;

const inPanels = (weights: Float32Array, rows: number, cols: number, format: SpmmFormat): InputPlace => ({
  block: Math.ceil(cols / blocksOf(cols, format, sampledShare(weights, rows, cols))) || 1,
  offset: (k) => k * ROW_BYTES,
});

/** Share of nonzeros in 64 rows, evenly spread: enough to tell which blocks are better, and no second look at a large matrix. */
function sampledShare(weights: Float32Array, rows: number, cols: number): number {
  const step = Math.max(1, Math.floor(rows / 64));
  let nonzeros = 0;
  let seen = 0;
  for (let r = 0; r < rows; r += step, seen += cols) {
    nonzeros += nonzerosOf(weights.subarray(r * cols, (r + 1) * cols));
  }
  return nonzeros / (seen || 1);
}

/** The most inputs: their byte offsets in a panel are 32 bits. */
export const MAX_COLS = Math.floor(0xffffffff / ROW_BYTES);

/** Kernels for the rows that do not fill a group. */
const REST: Readonly<Record<number, string>> = { 1: 'f32_csr_spmm_32x1', 2: 'f32_group2_spmm_16x2' };

/**
 * The kernel of short rows takes the place of csr 32x1 where at most one row in LONG has more nonzeros than SHORT in the first block
 * of inputs, the only one it does. With 5 % of the rows longer (576x96x196 at 95 % zeros) it takes 1-3 % less, with 20 %
 * (128x128x3136 at 95 %) 2-5 % more (assembly/csr.ts).
 */
const SHORT = 8;
const LONG = 12;

/** Stored records of each format, which cost models need before packing: `indices` counts records over all groups. */
export interface SpmmCount {
  readonly stored: number;
  readonly indices: number;
}

export interface SpmmCounts extends Readonly<Record<'csr' | 'group2' | 'group4', SpmmCount>> {
  readonly rows: number;
  readonly cols: number;
}

function check(weights: Float32Array, rows: number, cols: number): void {
  if (!Number.isInteger(rows) || rows < 0) throw new ArgumentRangeError('rows', 'an integer >= 0', rows);
  if (!Number.isInteger(cols) || cols < 0 || cols > MAX_COLS) {
    throw new ArgumentRangeError('cols', `an integer from 0 to ${MAX_COLS}`, cols);
  }
  if (weights.length !== rows * cols) {
    throw new ArgumentRangeError('weights', `${rows} * ${cols} = ${rows * cols} values`, weights);
  }
}

/** Writes the inputs of [k0, k1) that rows [row, row + channels) need, from k0, to `out`. NaN is not zero, -0 is. */
function listInputs(
  w: Float32Array,
  cols: number,
  row: number,
  channels: number,
  k0: number,
  k1: number,
  out: Uint16Array,
  at: number,
): number {
  // A new model's weights are packed by code that no compiler has seen yet: the shortest way through it counts.
  if (channels === 1) {
    for (let k = k0, from = row * cols + k0; k < k1; k++, from++) if (w[from] !== 0) out[at++] = k - k0;
    return at;
  }
  for (let k = k0; k < k1; k++) {
    for (let c = 0, from = row * cols + k; c < channels; c++, from += cols) {
      if (w[from] !== 0) {
        out[at++] = k - k0;
        break;
      }
    }
  }
  return at;
}

/** Rows in runs of the main group size, then of 2 and 1. */
function* runs(rows: number, channels: number): Generator<{ row: number; rows: number; channels: number }> {
  let row = 0;
  for (const c of [channels, 2, 1]) {
    if (c > channels) continue;
    const n = Math.floor((rows - row) / c) * c;
    if (n) yield { row, rows: n, channels: c };
    row += n;
  }
}

/** How often each set of nonzeros (bit j: row j) occurs in the columns of four rows at a time, from `from` to `to`. */
function setsOf(weights: Float32Array, cols: number, from: number, to: number): Uint32Array {
  const times = new Uint32Array(16);
  for (let r = from; r < to; r += 4) addSets(times, weights, cols, r * cols, Math.min(r + 4, to) * cols);
  return times;
}

/** The rows from `start` to `last`, four at most. One long loop instead is optimised in its midst: 2 of 25 ms to a first result on one core. */
function addSets(times: Uint32Array, weights: Float32Array, cols: number, start: number, last: number): void {
  for (let at = start; at < start + cols; at++) {
    let set = 0;
    for (let w = at, bit = 1; w < last; w += cols, bit <<= 1) if (weights[w] !== 0) set |= bit;
    times[set]++;
  }
}

/**
 * What each sparse format would store.
 * @param weights [rows][cols]
 */
export function countSpmm(weights: Float32Array, rows: number, cols: number): SpmmCounts {
  check(weights, rows, cols);
  const n = { csr: 0, group2: 0, group4: 0, stored4: 0, stored2: 0 };
  const rest = rows % 4;
  for (const [from, to] of [
    [0, rows - rest],
    [rows - rest, rows],
  ]) {
    const left = Math.min(4, to - from);
    setsOf(weights, cols, from, to).forEach((times, set) => {
      const [a, b, c, d] = [set & 1, (set >> 1) & 1, (set >> 2) & 1, set >> 3];
      const ab = a | b;
      const cd = c | d;
      n.csr += times * (a + b + c + d);
      n.group2 += times * (ab + cd);
      n.stored2 += times * (left & 1 ? (left === 1 ? ab : 2 * ab + cd) : 2 * (ab + cd));
      // Three rows left over are a group of 2 and one of 1.
      n.group4 += times * (left === 4 ? ab | cd : ab + cd);
      n.stored4 += times * (left === 4 ? 4 * (ab | cd) : left === 1 ? ab : 2 * ab + cd);
    });
  }
  return {
    rows,
    cols,
    csr: { stored: n.csr, indices: n.csr },
    group2: { stored: n.stored2, indices: n.group2 },
    group4: { stored: n.stored4, indices: n.group4 },
  };
}

/** Bytes of the quads of n inputs. */
const listBytes = (n: number, channels: number): number =>
  8 * Math.ceil(n / 4) + 4 * (channels === 1 ? (n + 3) & ~3 : n * channels);

/**
 * Blocks of inputs: so many rows of a panel (of two, for the 32 lanes of csr) stay in a first-level cache of 32 KB.
 * 768 inputs in 3 blocks are 15-25 % faster than in one; each block more costs a load of Y, 1-2 %. Offsets fit 16 bits.
 * Where most weights are nonzeros they push the panels out sooner, and a load of Y matters less: with 128 inputs MobileNetV1 at
 * 30 % in groups of 4 takes 3 % less (Node 24 relaxed, whose 24 lanes touch two panels) and dense 1-2 %; 96 and 64 give half that.
 * Where few are, a block has few to hide its load of Y: with 512 inputs MobileNetV1 at 90 and 95 % takes 1 to 3 % less, groups at
 * 95 % alone 8 to 14 %; at 80 % it makes no difference.
 * @param share nonzeros of all weights; a dense format stores all in any case
 */
export function blocksOf(cols: number, format: SpmmFormat, share: number): number {
  const sparse = share > 0.15 ? 256 : 512;
  const most = format === 'dense' || share > 0.5 ? 128 : sparse;
  return Math.max(1, Math.ceil(cols / most));
}

/**
 * Packs a matrix for one kernel variant.
 * @param weights [rows][cols], row-major; -0 counts as zero, NaN and infinities are kept
 * @param variant a row of SPMM with op `spmm`
 * @param bias [rows]; left out, zeros
 * @param place where X has its inputs; left out, in panels. Sparse formats only
 * @throws ArgumentRangeError when lengths do not fit
 */
export function packSpmm(
  weights: Float32Array,
  rows: number,
  cols: number,
  variant: Variant,
  bias?: Float32Array,
  place?: InputPlace,
): PackedSpmm {
  check(weights, rows, cols);
  if (bias && bias.length !== rows) throw new ArgumentRangeError('bias', `${rows} values`, bias);
  const format = variant.format;
  if (variant.op !== 'spmm' || !format) throw new ArgumentRangeError('variant', 'an spmm kernel', variant.name);
  const { block, offset } = place ?? inPanels(weights, rows, cols, format);

  // The inputs of one group after the other, from its block's first: found once, the matrix may be large.
  const listed = new Uint16Array(format === 'dense' ? 0 : (Math.ceil(rows / variant.channels) + 3) * cols);
  const plan: { row: number; rows: number; channels: number; all: boolean; k0: number; k1: number; bytes: number }[] =
    [];
  const counts: number[] = [];
  let total = 0;
  let found = 0;
  for (let k0 = 0; k0 === 0 || k0 < cols; k0 += block) {
    const k1 = Math.min(cols, k0 + block);
    for (const run of runs(rows, variant.channels)) {
      const c = run.channels;
      // Rows of a dense matrix that fill no tile go to the sparse kernels, but keep their zeros: 0 * Infinity is NaN there.
      const all = format === 'dense' && c === variant.channels;
      let bytes = 0;
      for (let r = run.row; r < run.row + run.rows; r += c) {
        const from = found;
        if (format !== 'dense') found = listInputs(weights, cols, r, c, k0, k1, listed, found);
        const n = format === 'dense' ? k1 - k0 : found - from;
        counts.push(n);
        bytes += 4 + 4 * c + (all ? n * 4 * c : listBytes(n, c));
      }
      plan.push({ ...run, all, k0, k1, bytes });
      total = Math.ceil((total + bytes) / 64) * 64;
    }
  }

  const data = new Uint8Array(total);
  const u32 = new Uint32Array(data.buffer);
  const u16 = new Uint16Array(data.buffer);
  const f32 = new Float32Array(data.buffer);
  const codes = new Uint16Array(Math.min(block, cols));
  for (let k = 0; k < codes.length; k++) codes[k] = offset(k) + 1;
  const segments: SpmmSegment[] = [];
  let stored = 0;
  let nonzeros = 0;
  let at = 0;
  let group = 0;
  found = 0;
  for (const { row, rows: count, channels: c, all, k0, k1, bytes } of plan) {
    const from = at * 4;
    let long = 0;
    for (let r = row; r < row + count; r += c) {
      const n = counts[group++];
      stored += c * n;
      if (n > SHORT) long++;
      const head = 4 + 4 * c;
      u32[at++] = all ? n * 4 * c : ((head + listBytes(n, c)) << 16) | (head + listBytes(n & ~3, c));
      for (let j = 0; j < c; j++) f32[at++] = bias ? bias[r + j] : 0;
      for (let i = 0, quad = 0; i < n; i++) {
        const k = format === 'dense' ? i : listed[found + i];
        if (!all) {
          if ((i & 3) === 0) {
            quad = 2 * at;
            at += 2;
          }
          u16[quad + (i & 3)] = codes[k];
        }
        for (let j = 0, w = r * cols + k0 + k; j < c; j++, w += cols, at++) {
          if (weights[w] === 0) continue; // no -0
          f32[at] = weights[w];
          nonzeros++;
        }
      }
      if (!all && c === 1) at += -n & 3;
      if (format !== 'dense') found += n;
    }
    // Blocks that add to the first gain nothing.
    const short = variant.name === REST[1] && k0 === 0 && long * LONG <= count;
    const kernel = short ? SHORT_ROWS.name : c === variant.channels ? variant.name : REST[c];
    segments.push({ kernel, row, rows: count, channels: c, from, to: from + bytes, input: k0, clamp: k1 === cols });
    at = Math.ceil(at / 16) * 16;
  }
  const lanes = PANEL_LANES;
  const main = segments[0]?.kernel === SHORT_ROWS.name ? SHORT_ROWS.name : variant.name;
  return { format, variant: main, rows, cols, lanes, nonzeros, stored, bytes: total, data, segments, place };
}

/** The matrix back, [rows][cols]. */
export function unpackSpmm(p: PackedSpmm): Float32Array {
  const out = new Float32Array(p.rows * p.cols);
  const u32 = new Uint32Array(p.data.buffer, p.data.byteOffset, p.data.byteLength >> 2);
  const u16 = new Uint16Array(u32.buffer, u32.byteOffset, u32.length * 2);
  const f32 = new Float32Array(u32.buffer, u32.byteOffset, u32.length);
  const { block, offset } = p.place ?? { block: p.cols, offset: (k: number) => k * ROW_BYTES };
  const inputAt = new Map(Array.from({ length: block }, (_, k) => [offset(k), k]));
  for (const { kernel, row, rows, channels: c, input, from } of p.segments) {
    let at = from >> 2;
    for (let r = row; r < row + rows; r += c) {
      const n = u32[at];
      const end = at + (u16[2 * at + 1] >> 2);
      at += 1 + c;
      const take = (k: number) => {
        for (let j = 0; j < c; j++) out[(r + j) * p.cols + k] = f32[at++];
      };
      if (p.format === 'dense' && kernel === p.variant) {
        for (let k = 0; k < n / (4 * c); k++) take(input + k);
        continue;
      }
      while (at < end) {
        const quad = at;
        const offsets = u16.subarray(2 * at, 2 * at + 4);
        at += 2;
        for (const o of offsets) if (o) take(input + inputAt.get(o - 1)!);
        if (c === 1) at = quad + 6;
      }
    }
  }
  return out;
}
