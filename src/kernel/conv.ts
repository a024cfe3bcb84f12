/** Calls of the f32 convolution kernels: gathering taps into panels, the stem, and adding products up for transposed ones. */
import type { KernelCall } from './call.ts';

/** Two numbers, for rows and for columns. */
type Pair = readonly [number, number];

/** Taps of output pixels of panels `firstPanel` … `firstPanel + panels - 1`. Addresses and strides in bytes. */
export interface Im2Panel {
  /** Plain [channels][height][width]. */
  readonly x: number;
  /** Where the first of these panels goes. */
  readonly y: number;
  readonly yPanelStride: number;
  /** Output pixels of a panel, in row-major order. */
  readonly lanes: 8 | 16 | 32;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly dilation: Pair;
  /** Rows of padding above, columns on the left. */
  readonly pad: Pair;
  readonly firstPanel: number;
  readonly panels: number;
}

/** Bytes after which addresses fall into the same set of a first-level cache of 8 ways. */
const WAY = 4096;
const WAYS = 8;

const gcd = (a: number, b: number): number => (b ? gcd(b, a % b) : a);

/**
 * Plain CHW -> panels [channels * kh * kw][lanes]: tap (c, i, j) of each pixel, 0 in the padding. Dead lanes of the last
 * panel hold anything. Where planes of 2^n bytes share their cache sets, only so many channels are gathered at a time as
 * fit (32 x 32 pixels, Zen 4: 4 -> 13 GB/s).
 */
export function im2panelCalls(c: Im2Panel): KernelCall[] {
  const plane = 4 * c.height * c.width;
  const block = (WAYS * WAY) / gcd(WAY, plane);
  const taps = 4 * c.lanes * c.kernel[0] * c.kernel[1];
  return Array.from({ length: Math.ceil(c.channels / block) }, (_, n) => ({
    kernel: 'f32_plain_im2panel',
    args: [
      ...[c.x + n * block * plane, c.y + n * block * taps, c.yPanelStride, c.lanes],
      ...[Math.min(block, c.channels - n * block), c.height, c.width, c.outWidth],
      ...[...c.kernel, ...c.stride, ...c.dilation, ...c.pad, c.firstPanel * c.lanes, c.panels],
    ],
  }));
}

/** The first convolution of a network, 3x3 with stride 2. Addresses and strides in bytes. */
export interface Stem {
  /** Packed by packStem. */
  readonly weights: number;
  /** Plain [channels][height][width]. */
  readonly x: number;
  readonly y: number;
  readonly yChannelStride: number;
  /** Not used when the output is plain. */
  readonly yPanelStride: number;
  /** Lanes of an output panel; 0 is plain. */
  readonly lanes: number;
  readonly channels: number;
  /** Output channels. */
  readonly rows: number;
  readonly height: number;
  readonly width: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly padTop: number;
  readonly padLeft: number;
  readonly min: number;
  readonly max: number;
  /** stemScratchBytes(channels), 64-byte aligned. */
  readonly scratch: number;
}

/** Whether the stem's kernel takes it; any padding will do. */
export function supportsStem(c: { kernel: Pair; stride: Pair; dilation: Pair; channels: number }): boolean {
  const all = (pair: Pair, n: number) => pair[0] === n && pair[1] === n;
  return all(c.kernel, 3) && all(c.stride, 2) && all(c.dilation, 1) && (c.channels === 1 || c.channels === 3);
}

/** Bytes of scratch that stemCalls needs: limits, a tile, and the taps of sixteen pixels. */
export const stemScratchBytes = (channels: number): number => 192 + 576 * channels;

/** Convolution with bias and clamp. Writes live pixels only. */
export function stemCalls(s: Stem): KernelCall[] {
  return [
    {
      kernel: 'f32_stem_3x3s2',
      args: [
        ...[s.x, s.weights, s.y, s.yChannelStride, s.lanes ? s.yPanelStride : 32, s.lanes || 8, s.channels, s.rows],
        ...[s.height, s.width, s.outHeight, s.outWidth, s.padTop, s.padLeft, s.min, s.max, s.scratch],
      ],
    },
  ];
}

/** The last step of a transposed convolution. Addresses in bytes. */
export interface Col2Im {
  /** Products of each input pixel with each tap, [channels * kh * kw][height * width]. */
  readonly x: number;
  /** Plain [channels][outHeight][outWidth]. */
  readonly y: number;
  /** [channels] */
  readonly bias: number;
  /** Output channels. */
  readonly channels: number;
  /** Of the input. */
  readonly height: number;
  readonly width: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly dilation: Pair;
  /** Rows cut off above, columns on the left. */
  readonly pad: Pair;
  readonly min: number;
  readonly max: number;
}

/** Products added up where they land, from the bias on, in the order of taps; what nothing lands on is the bias. */
export function col2imCalls(c: Col2Im): KernelCall[] {
  return [
    {
      kernel: 'f32_plain_col2im',
      args: [
        ...[c.x, c.y, c.bias, c.channels, c.height, c.width, c.outHeight, c.outWidth],
        ...[...c.kernel, ...c.stride, ...c.dilation, ...c.pad, c.min, c.max],
      ],
    },
  ];
}
