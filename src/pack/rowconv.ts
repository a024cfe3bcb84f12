/**
 * Sparse k×k convolutions without gathering: the input is padded and cut into rows (f32_plain_rows),
 *
 *     X[rows][channels][phases][columns]        phases: the horizontal stride; taps of a row are runs of lanes
 *
 * so that for one output row tap (c, i, j) lies at a fixed offset from the row's start: an input of an SpMM (spmm.ts) like
 * any other, its lanes the pixels of the row. Channels come in blocks whose window of rows spans less than 64 KB, which the
 * kernels' 16-bit offsets reach and near caches hold.
 */
import type { Variant } from '../kernel/tiles.ts';
import { type PackedSpmm, packSpmm } from './spmm.ts';

type Pair = readonly [number, number];

export interface RowConv {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly dilation: Pair;
  /** top, left */
  readonly pad: Pair;
}

/** The input as rows. */
export interface RowLayout {
  /** Padded input rows. */
  readonly rows: number;
  readonly phases: number;
  /** Columns of a phase. */
  readonly columns: number;
  /** Channels of a block; the last may have fewer. */
  readonly block: number;
  readonly blocks: number;
  /** Bytes from a row of a block to the next. */
  readonly rowStride: number;
  /** Bytes of a block, a multiple of 64. */
  readonly blockStride: number;
  readonly bytes: number;
}

/** Of the rows a window spans. 24, 32 and 64 KB were within 3 % of each other on ResNet-18's layers. */
const WINDOW_BYTES = 32 * 1024;

/** A kernel may read so far past the last row. */
const SLACK = 64;

/** Taps of a block: the records of a group, 18 bytes each at most (spmm.ts, group4), have their length in 16 bits. */
const MOST_TAPS = Math.floor((0xffff - 64) / 18);

/** How the input is cut; undefined where even one channel's window or taps are too many. */
export function rowLayout(c: RowConv): RowLayout | undefined {
  const phases = c.stride[1];
  const reach = (c.kernel[0] - 1) * c.dilation[0] + 1;
  const rows = (c.outHeight - 1) * c.stride[0] + reach;
  const last = (c.outWidth - 1) * phases + (c.kernel[1] - 1) * c.dilation[1];
  const columns = Math.floor(last / phases) + 1;
  const channel = 4 * phases * columns;
  const taps = c.kernel[0] * c.kernel[1];
  if (channel * reach > 0xffff || taps > MOST_TAPS) return undefined;
  const most = Math.max(1, Math.min(Math.floor(WINDOW_BYTES / (channel * reach)), Math.floor(MOST_TAPS / taps)));
  const blocks = Math.ceil(c.channels / most);
  const block = Math.ceil(c.channels / blocks);
  const rowStride = channel * block;
  const blockStride = Math.ceil((rowStride * rows + SLACK) / 64) * 64;
  return { rows, phases, columns, block, blocks, rowStride, blockStride, bytes: blockStride * blocks };
}

/**
 * Packs the weights of a convolution [outputs][channels][kh][kw] for a sparse SpMM kernel.
 * @throws ArgumentRangeError when lengths do not fit
 */
export function packRowConv(
  weights: Float32Array,
  outputs: number,
  c: RowConv,
  layout: RowLayout,
  variant: Variant,
  bias?: Float32Array,
): PackedSpmm {
  const [kh, kw] = c.kernel;
  const taps = kh * kw;
  const { phases, columns, rowStride, block } = layout;
  const tap = Array.from({ length: taps }, (_, t) => {
    const [i, j] = [Math.floor(t / kw) * c.dilation[0], (t % kw) * c.dilation[1]];
    return i * rowStride + 4 * ((j % phases) * columns + Math.floor(j / phases));
  });
  const offset = (k: number) => Math.floor(k / taps) * 4 * phases * columns + tap[k % taps];
  return packSpmm(weights, outputs, c.channels * taps, variant, bias, { block: block * taps, offset });
}
