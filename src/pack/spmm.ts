/**
 * Packed weights of the f32 SpMM kernels (assembly/tile.ts). One layout for every format; a matrix is cut into segments,
 * each one kernel call:
 *
 *     segment = group group group …            aligned to 64 bytes
 *     group   = [u32 bytes of records] [C bias] record record …
 *     record  = [u32 byte offset of the input from the segment's first] [C weights]   (dense: [C weights], every input)
 *
 * C output channels share one list of inputs: 1 (csr), 2 (group2), 4 (group4 and dense). An input is stored when any of the
 * C weights is not zero. Segments cut the inputs into blocks that keep a panel in the first-level cache (later blocks add
 * to what the earlier left in Y), and give the rows that do not fill a group of C to the kernels of 2 and 1.
 */
import { ArgumentRangeError } from '../errors.ts';
import type { Variant } from '../kernel/variants.ts';

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
}

/** Lanes of a panel, the same for every kernel, so that layers of different formats follow each other without a copy. */
export const PANEL_LANES = 16;
const ROW_BYTES = 4 * PANEL_LANES;

/** The most inputs: their byte offsets in a panel are 32 bits. */
export const MAX_COLS = Math.floor(0xffffffff / ROW_BYTES);

/** Kernels for the rows that do not fill a group. */
const REST: Readonly<Record<number, string>> = { 1: 'f32_csr_spmm_32x1', 2: 'f32_group2_spmm_16x2' };

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

/** Columns of [k0, k1) in which any of rows [row, row + channels) is not zero. NaN is not zero, -0 is. */
function* columnsOf(
  w: Float32Array,
  cols: number,
  row: number,
  channels: number,
  k0: number,
  k1: number,
  all: boolean,
) {
  for (let k = k0; k < k1; k++) {
    let any = all;
    for (let c = 0; c < channels && !any; c++) any = w[(row + c) * cols + k] !== 0;
    if (any) yield k;
  }
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

/**
 * What each sparse format would store.
 * @param weights [rows][cols]
 */
export function countSpmm(weights: Float32Array, rows: number, cols: number): SpmmCounts {
  check(weights, rows, cols);
  const n = { csr: 0, group2: 0, group4: 0, stored4: 0, stored2: 0 };
  for (let r = 0; r < rows; r += 4) {
    const left = Math.min(4, rows - r);
    for (let k = 0; k < cols; k++) {
      const at = r * cols + k;
      const a = Number(weights[at] !== 0);
      const b = Number(left > 1 && weights[at + cols] !== 0);
      const c = Number(left > 2 && weights[at + 2 * cols] !== 0);
      const d = Number(left > 3 && weights[at + 3 * cols] !== 0);
      const ab = a | b;
      const cd = c | d;
      n.csr += a + b + c + d;
      n.group2 += ab + cd;
      n.stored2 += left & 1 ? (left === 1 ? ab : 2 * ab + cd) : 2 * (ab + cd);
      // Three rows left over are a group of 2 and one of 1.
      n.group4 += left === 4 ? ab | cd : ab + cd;
      n.stored4 += left === 4 ? 4 * (ab | cd) : left === 1 ? ab : 2 * ab + cd;
    }
  }
  return {
    rows,
    cols,
    csr: { stored: n.csr, indices: n.csr },
    group2: { stored: n.stored2, indices: n.group2 },
    group4: { stored: n.stored4, indices: n.group4 },
  };
}

/** Inputs of one block: a panel of so many rows stays in the first-level cache. */
function blockOf(_format: SpmmFormat, cols: number): number {
  const most = 512;
  const blocks = Math.max(1, Math.ceil(cols / most));
  return Math.max(1, Math.ceil(cols / blocks));
}

/**
 * Packs a matrix for one kernel variant.
 * @param weights [rows][cols], row-major; -0 counts as zero, NaN and infinities are kept
 * @param variant a row of VARIANTS with op `spmm`
 * @param bias [rows]; left out, zeros
 * @throws ArgumentRangeError when lengths do not fit
 */
export function packSpmm(
  weights: Float32Array,
  rows: number,
  cols: number,
  variant: Variant,
  bias?: Float32Array,
): PackedSpmm {
  check(weights, rows, cols);
  if (bias && bias.length !== rows) throw new ArgumentRangeError('bias', `${rows} values`, bias);
  const format = variant.format;
  if (variant.op !== 'spmm' || !format) throw new ArgumentRangeError('variant', 'an spmm kernel', variant.name);
  const dense = format === 'dense';
  const block = blockOf(format, cols);
  const blocks = Math.max(1, Math.ceil(cols / block));

  const plan: { row: number; rows: number; channels: number; k0: number; k1: number; bytes: number }[] = [];
  let total = 0;
  for (let b = 0; b < blocks; b++) {
    const k0 = b * block;
    const k1 = Math.min(cols, k0 + block);
    for (const run of runs(rows, variant.channels)) {
      const c = run.channels;
      let bytes = 0;
      for (let r = run.row; r < run.row + run.rows; r += c) {
        let n = 0;
        for (const _ of columnsOf(weights, cols, r, c, k0, k1, dense)) n++;
        bytes += 4 + 4 * c + n * (dense && c === variant.channels ? 4 * c : 4 + 4 * c);
      }
      plan.push({ ...run, k0, k1, bytes });
      total = Math.ceil((total + bytes) / 64) * 64;
    }
  }

  const data = new Uint8Array(total);
  const u32 = new Uint32Array(data.buffer);
  const f32 = new Float32Array(data.buffer);
  const segments: SpmmSegment[] = [];
  let stored = 0;
  let at = 0;
  for (const { row, rows: n, channels: c, k0, k1, bytes } of plan) {
    const indexed = !dense || c !== variant.channels;
    const from = at * 4;
    for (let r = row; r < row + n; r += c) {
      const head = at++;
      for (let j = 0; j < c; j++) f32[at++] = bias ? bias[r + j] : 0;
      const start = at;
      for (const k of columnsOf(weights, cols, r, c, k0, k1, dense)) {
        if (indexed) u32[at++] = (k - k0) * ROW_BYTES;
        for (let j = 0; j < c; j++) {
          const w = weights[(r + j) * cols + k];
          f32[at++] = w === 0 ? 0 : w; // no -0
        }
        stored += c;
      }
      u32[head] = (at - start) * 4;
    }
    segments.push({
      kernel: c === variant.channels ? variant.name : REST[c],
      row,
      rows: n,
      channels: c,
      from,
      to: from + bytes,
      input: k0,
      clamp: k1 === cols,
    });
    at = Math.ceil(at / 16) * 16;
  }
  let nonzeros = 0;
  for (const w of weights) if (w !== 0) nonzeros++;
  const lanes = PANEL_LANES;
  return { format, variant: variant.name, rows, cols, lanes, nonzeros, stored, bytes: total, data, segments };
}

/** The matrix back, [rows][cols]. */
export function unpackSpmm(p: PackedSpmm): Float32Array {
  const out = new Float32Array(p.rows * p.cols);
  const u32 = new Uint32Array(p.data.buffer, p.data.byteOffset, p.data.byteLength >> 2);
  const f32 = new Float32Array(p.data.buffer, p.data.byteOffset, p.data.byteLength >> 2);
  for (const { kernel, row, rows, channels: c, input, from } of p.segments) {
    const indexed = p.format !== 'dense' || kernel !== p.variant;
    let at = from >> 2;
    for (let r = row; r < row + rows; r += c) {
      const end = at + 1 + c + (u32[at] >> 2);
      at += 1 + c;
      for (let k = input; at < end; k++) {
        if (indexed) k = input + u32[at++] / ROW_BYTES;
        for (let j = 0; j < c; j++) out[(r + j) * p.cols + k] = f32[at++];
      }
    }
  }
  return out;
}
