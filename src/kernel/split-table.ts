/** How each kernel's work can be cut by changing its arguments. Times are for ranking only: one core of Zen 4, in ns. */
import type { KernelCall } from './call.ts';
import { stemScratchBytes } from './conv.ts';
import { depthwiseScratchBytes } from './depthwise.ts';

/** A call whose work lies along columns, in panels of 16. */
export interface ColumnCall {
  readonly call: KernelCall;
  readonly columns: number;
  readonly panels: number;
  /** Cuts at multiples of this leave every tile as it was. */
  readonly tile: number;
  readonly ns: number;
  /** Bytes of scratch memory, where the kernel has some. */
  readonly scratch?: number;
  /** Columns `from` to `to`, or to the end. */
  cut(from: number, to: number, scratch: number): KernelCall;
  /** A product with packed weights. */
  readonly product?: PackedProduct;
  /** What calls of one list may use again in another shape. */
  readonly scratches?: readonly Panels[];
}

/** Panels of 16 columns in scratch memory. */
export type Panels = readonly [at: number, end: number, stride: number];

/** A product Y = W X whose packed weights are groups of output channels, each with a header. */
export interface PackedProduct {
  readonly x: number;
  readonly y: number;
  readonly yPanelStride: number;
  readonly yChannelStride: number;
  /** Bytes of Y from a panel's last channel to the panel's end. */
  readonly yTail: number;
  /** Adds to Y. */
  readonly adds: boolean;
  /** Sums between blocks of inputs lie in scratch memory. */
  readonly sums: boolean;
  /** Output channels of a group. */
  readonly channels: number;
  /** The groups lie from here to there. */
  readonly from: number;
  readonly to: number;
  /** Bytes of a group's header, and of the group whose header is `at` there. */
  readonly header: number;
  size(view: DataView, at: number): number;
  /** Arguments for the groups from the nth, which lie from `from` to `to`. */
  part(n: number, from: number, to: number): number[];
}

/** A call of `units` that do not depend on each other. */
export interface SingleCall {
  readonly units: number;
  /** Cuts lie at multiples of this. */
  readonly align: number;
  readonly ns: number;
  /** Bytes of scratch memory, where the kernel has some. */
  readonly scratch?: number;
  /** Arguments for units `from` to `to`. */
  part(from: number, to: number, scratch: number): number[];
}

const PRODUCT = /^f32_(csr|group2|group4|dense)_spmm_(\d+)x(\d+)$/;
const INTEGERS = /^i8_(csr|group4|dense)_q7?spmm_/;

/** So many panels of 8, `stride` bytes apart; none where that is 0. */
const eights = (at: number, count: number, stride: number): Panels[] =>
  stride ? [[at, at + count * stride, 2 * stride]] : [];

/** Undefined for kernels that are not along columns of panels of 16. */
export function columnCall(call: KernelCall): ColumnCall | undefined {
  const { kernel, args } = call;
  type Cut = (panel: number, columns: number, scratch: number) => number[];
  const make = (columns: number, tile: number, ns: number, cut: Cut) => ({
    call,
    columns,
    panels: Math.ceil(columns / 16),
    tile,
    ns,
    cut: (from: number, to: number, scratch: number) => ({
      kernel,
      args: cut(from / 16, Math.min(to, columns) - from, scratch),
    }),
  });
  /** The same with arguments `at` moved on by so many bytes a panel, and argument `count` made the number of columns. */
  const moved = (count: number, steps: Readonly<Record<number, number>>, ns: number) =>
    make(args[count], 16, ns, (panel, n) => {
      const part = [...args];
      for (const [at, step] of Object.entries(steps)) part[Number(at)] += step * panel;
      part[count] = n;
      return part;
    });
  const product = PRODUCT.exec(kernel);
  if (product) {
    const [x, xPanelStride, y, yPanelStride, yChannelStride, columns, from, to] = args;
    const channels = Number(product[3]);
    const header = 4 + 4 * channels;
    const dense = product[1] === 'dense';
    const lanes = Number(product[2]);
    const ns = ((to - from) / 4) * columns * 0.05;
    return {
      ...make(columns, lanes === 24 ? 48 : Math.max(lanes, 16), ns, (panel, n) => {
        const part = [...args];
        part[0] = x + panel * xPanelStride;
        part[2] = y + panel * yPanelStride;
        part[5] = n;
        return part;
      }),
      product: {
        ...{ x, y, yPanelStride, yChannelStride, yTail: 64, adds: (args[10] & 1) !== 0, sums: false },
        ...{ channels, from, to, header },
        size: (view, at) => (dense ? header + view.getUint32(at, true) : view.getUint16(at + 2, true)),
        part(n, first, end) {
          const part = [...args];
          part[2] = y + n * channels * yChannelStride;
          part[6] = first;
          part[7] = end;
          // Too few rows each to earn a read-ahead back: 768x3072x288 of 8 threads 20 % slower with it.
          part[10] &= 1;
          return part;
        },
      },
    };
  }
  const integers = INTEGERS.exec(kernel);
  if (integers) {
    const [x, xp, columns, y, yp, yh, yc, rows, from, to] = args;
    const [lp, sums, sp, stage] = args.slice(16);
    // Row-major tokens have a token's outputs side by side.
    const [step, tail] = args[10] === 3 ? [4, 15 * yc + 4] : [yc, yh + 32];
    const summed = (stage & 3) !== 0;
    const tiles = Math.ceil(columns / 8);
    const channels = integers[1] === 'csr' ? 1 : 4;
    return {
      ...moved(2, { 0: 2 * xp, 3: yp, 15: 2 * lp, 17: 2 * sp }, (to - from) * columns * (channels > 1 ? 0.012 : 0.02)),
      // A block's inputs are part of a panel.
      scratches: [
        ...eights(x, tiles - 1 || 0.5, xp),
        ...eights(y, tiles, yp / 2),
        ...eights(args[15], tiles, lp),
        ...eights(sums, tiles, summed ? sp : 0),
      ],
      product: {
        ...{ x, y, yPanelStride: yp, yChannelStride: step, yTail: tail, adds: false, sums: summed },
        ...{ channels, from, to, header: 8 + 16 * channels },
        size: (view, at) => view.getUint32(at + 4, true),
        part(n, first, end) {
          const part = [...args];
          part[3] = y + n * channels * step;
          part[7] = rows - n * channels;
          part[8] = first;
          part[9] = end;
          part[17] = sums + n * channels * 32;
          return part;
        },
      },
    };
  }
  if (kernel === 'i8_panels_apart') {
    const [x, xp, columns, inputs] = args;
    return {
      ...moved(2, { 0: 2 * xp }, columns * inputs * 0.03),
      scratches: eights(x, Math.ceil(columns / 8), xp),
    };
  }
  if (kernel === 'i8_panels_quantize' || kernel === 'i8_tokens_quantize') {
    // Arguments of panels have one more before the channels.
    const o = kernel === 'i8_panels_quantize' ? 1 : 0;
    const [row, channels, columns, lp, y, yp] = [args[1], ...[2, 3, 5, 9, 10].map((i) => args[i + o])];
    const step = o ? args[2] : 16 * row;
    const tiles = Math.ceil(columns / 8);
    return {
      ...moved(3 + o, { 0: step, [4 + o]: 2 * lp, [9 + o]: 2 * yp }, columns * channels * 0.3),
      scratches: [...eights(y, tiles, yp), ...eights(args[4 + o], tiles, lp)],
    };
  }
  if (kernel === 'i8_panels_range' || kernel === 'i8_tokens_range') {
    const o = kernel === 'i8_panels_range' ? 1 : 0;
    const [row, channels, columns, tensor] = [args[1], ...[2, 3, 5].map((i) => args[i + o])];
    // One range of the whole tensor is found by one thread.
    if (tensor) return undefined;
    const along = moved(3 + o, { 0: o ? args[2] : 16 * row, [4 + o]: 128 }, columns * channels * 0.1);
    return {
      ...along,
      scratch: 64,
      scratches: eights(args[4 + o], Math.ceil(columns / 8), 64),
      cut(from, to, scratch) {
        const part = along.cut(from, to, 0);
        return { kernel, args: part.args.map((v, i) => (i === 8 + o ? scratch : v)) };
      },
    };
  }
  if (kernel === 'f32_plain_im2panel') {
    const [x, y, panelStride, lanes, channels, height, width, outWidth, kh, kw, ...rest] = args;
    if (lanes !== 16) return undefined;
    const head = [lanes, channels, height, width, outWidth, kh, kw, ...rest.slice(0, 6)];
    const [first, panels] = rest.slice(6);
    return make(16 * panels, 16, panels * 16 * channels * kh * kw * 0.2, (panel, n) => [
      ...[x, y + panel * panelStride, panelStride, ...head, first + 16 * panel, n / 16],
    ]);
  }
  if (kernel === 'f32_tokens_pack' || kernel === 'f32_tokens_unpack') {
    const [x, y, tokens, features, lanes, panelStride] = args;
    if (lanes !== 16) return undefined;
    const row = 16 * 4 * features;
    const [dx, dy] = kernel === 'f32_tokens_pack' ? [row, panelStride] : [panelStride, row];
    return make(tokens, 16, tokens * features * 0.15, (panel, n) => [
      ...[x + panel * dx, y + panel * dy, n, features, lanes, panelStride],
    ]);
  }
  return undefined;
}

/** Undefined for kernels that run whole. */
export function singleCall({ kernel, args }: KernelCall): SingleCall | undefined {
  return TABLE[kernel]?.(args);
}

type Cut = (args: readonly number[]) => SingleCall | undefined;

/** Arguments `at` moved on by so many bytes a unit, and argument `count` made the number of units. */
function along(
  args: readonly number[],
  count: number,
  steps: Readonly<Record<number, number>>,
  nsOfUnit: number,
  align = 1,
): SingleCall {
  return {
    units: args[count],
    align,
    ns: args[count] * nsOfUnit,
    part(from, to) {
      const part = [...args];
      for (const [at, step] of Object.entries(steps)) part[Number(at)] += step * from;
      part[count] = to - from;
      return part;
    },
  };
}

/** Of plain elementwise work, by how much arithmetic it is. */
const LIGHT_NS = 0.1;
const HEAVY_NS = 0.8;
// The names of pointwise.ts once more (a test compares): importing them would cut the core's bundle in two.
const LIGHT = 'clamp hardswish hardsigmoid leakyrelu sqrt neg abs reciprocal'.split(' ');
const HEAVY = 'exp sigmoid swish gelutanh elu tanh erf gelu log'.split(' ');
const BINARY = 'add sub mul div max min prelu rsub rdiv'.split(' ');
/** Enough units of one dimension to share them out; with fewer the next one is tried. */
const MANY = 8;

const depthwise =
  (fixed?: { kernel: number; stride: number }): Cut =>
  (args) => {
    const [, , , yChannelStride, , , , height, width, outHeight, outWidth, padTop, padLeft] = args;
    const { kernel, stride } = fixed ?? { kernel: args[16], stride: args[17] };
    const pixels = outHeight * outWidth;
    const shape = { channels: 1, height, width, outHeight, outWidth, kernel, stride, padTop, padLeft };
    const steps = { 0: 4 * height * width, 1: 4 * (kernel * kernel + 1), 2: yChannelStride };
    const plain = along(args, 6, steps, pixels * kernel * kernel * 0.06);
    return {
      ...plain,
      scratch: depthwiseScratchBytes(shape),
      part: (from, to, scratch) => plain.part(from, to, 0).map((v, i) => (i === 15 ? scratch : v)),
    };
  };

/** By rows of the output, so that a panel begins with the first pixel of a part. */
const stem: Cut = (args) => {
  const [, , y, , yPanelStride, lanes, channels, rows, , , outHeight, outWidth, top] = args;
  const alike = Math.max(16, lanes);
  let align = 1;
  while ((align * outWidth) % alike) align++;
  return {
    units: outHeight,
    align,
    ns: outHeight * outWidth * channels * 9 * rows * 0.05,
    scratch: stemScratchBytes(channels),
    part(from, to, scratch) {
      const part = [...args];
      part[2] = y + ((from * outWidth) / lanes) * yPanelStride;
      part[10] = to - from;
      part[12] = top - 2 * from;
      part[16] = scratch;
      return part;
    },
  };
};

const pool: Cut = (args) => {
  const [, , , height, width, outHeight, outWidth, kh, kw] = args;
  return along(args, 2, { 0: 4 * height * width, 1: 4 * outHeight * outWidth }, outHeight * outWidth * kh * kw * 0.2);
};

const globalPool: Cut = (args) => along(args, 5, { 0: args[1], 4: 4 }, args[6] * 0.1, 4);

const reduce: Cut = (args) => along(args, 2, { 0: 4 * args[3] * args[4], 1: 4 * args[4] }, args[3] * args[4] * 0.1);

const softmax: Cut = (args) => along(args, 2, { 0: args[5], 1: args[5] }, args[3] * args[4] * HEAVY_NS);

const unary =
  (ns: number): Cut =>
  (args) =>
    along(args, 2, { 0: 4, 1: 4 }, ns, 16);

const binary =
  (splat: boolean): Cut =>
  (args) => {
    const [, , , outer, mid, inner, outerStride, bStride] = args;
    if (outer >= MANY) return along(args, 3, { 0: outerStride, 2: outerStride }, mid * inner * LIGHT_NS);
    if (outer !== 1) return undefined;
    const row = 4 * inner;
    if (mid >= MANY) return along(args, 4, { 0: row, 1: bStride, 2: row }, inner * LIGHT_NS);
    return mid === 1 ? along(args, 5, { 0: 4, 1: splat ? 0 : 4, 2: 4 }, LIGHT_NS, 16) : undefined;
  };

/** By rows of A, or by columns where there are few. */
const matmul: Cut = (args) => {
  const [, aStride, , , , yStride, m, n, k] = args;
  if (m >= 4 * MANY) return along(args, 6, { 0: aStride, 4: yStride }, n * k * 0.06, 4);
  return along(args, 7, { 2: 4, 4: 4 }, m * k * 0.06, 8);
};

/** By blocks of 16 outputs. */
const gemv: Cut = (args) => {
  const [, , , , , tokens, , k] = args;
  return along(args, 6, { 2: 4, 4: 4 * (k + 1) }, tokens * k * 0.1, 16);
};

/** Plain rows to padded ones, by output rows. */
const rows: Cut = (args) => {
  const [, , yStep, channels, , , , phases, columns, top] = args;
  const byRow = along(args, 6, { 1: yStep }, channels * phases * columns * 0.2);
  return { ...byRow, part: (from, to) => byRow.part(from, to, 0).map((v, i) => (i === 9 ? top - from : v)) };
};

const col2im: Cut = (args) => {
  const [, , , , height, width, outHeight, outWidth, kh, kw] = args;
  const products = kh * kw * height * width;
  return along(args, 3, { 0: 4 * products, 1: 4 * outHeight * outWidth, 2: 4 }, products * 0.5);
};

/** Quantised, or cut into planes of bytes, token by token: bytes of x are 4 a number, of y a multiple of what the third says. */
const tokens =
  (planes: number): Cut =>
  (args) =>
    along(args, 3, { 0: 4 * args[4], 1: planes * args[2] }, args[4] * 0.5);

/** Between plain channels and panels. */
const panels = (lanes: number, pack: boolean): Cut => {
  return (args) => {
    const [plain, panel] = [4 * args[3], 4 * lanes];
    return along(args, 2, pack ? { 0: plain, 1: panel } : { 0: panel, 1: plain }, args[3] * 0.15);
  };
};

/** Kernels that {@link singleCall} cuts. */
export const cuttable = (): string[] => Object.keys(TABLE);

const named = (cut: Cut, ...names: string[]): [string, Cut][] => names.map((name) => [name, cut]);

/** By kernel name. Kernels of panels of 16 along columns are not here, see {@link columnCall}. */
const TABLE: Readonly<Record<string, Cut>> = Object.fromEntries([
  ...named(depthwise({ kernel: 3, stride: 1 }), 'f32_depthwise_3x3s1'),
  ...named(depthwise({ kernel: 3, stride: 2 }), 'f32_depthwise_3x3s2'),
  ...named(depthwise(), 'f32_depthwise_kxk'),
  ...named(stem, 'f32_stem_3x3s2'),
  ...named(rows, 'f32_plain_rows'),
  ...named(col2im, 'f32_plain_col2im'),
  ...named(pool, 'f32_plain_maxpool', 'f32_plain_averagepool'),
  ...named(globalPool, 'f32_panels_global_average', 'f32_panels_global_max'),
  ...named(reduce, 'f32_plain_reduce_sum', 'f32_plain_reduce_max', 'f32_plain_reduce_min'),
  ...named(softmax, 'f32_plain_softmax_rows', 'f32_plain_softmax_columns'),
  ...named(matmul, 'f32_dense_matmul'),
  ...named(gemv, 'f32_dense_gemv'),
  ...named(tokens(1), 'i8_window_quantize'),
  ...named(tokens(4), 'f32_window_split'),
  ...[8, 16, 32].flatMap((lanes) => [
    ...named(panels(lanes, true), `f32_plain_pack_${lanes}`),
    ...named(panels(lanes, false), `f32_panels_unpack_${lanes}`),
  ]),
  ...named(unary(LIGHT_NS), ...LIGHT.map((kind) => `f32_plain_${kind}`)),
  ...named(unary(HEAVY_NS), ...HEAVY.map((kind) => `f32_plain_${kind}`)),
  ...BINARY.flatMap((kind) => [
    ...named(binary(false), `f32_plain_${kind}_row`),
    ...named(binary(true), `f32_plain_${kind}_splat`),
  ]),
]);
