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

/**
 * Plain CHW -> panels [channels * kh * kw][lanes]: tap (c, i, j) of each pixel, 0 in the padding. Dead lanes of the last
 * panel hold anything.
 */
export function im2panelCalls(c: Im2Panel): KernelCall[] {
  return [
    {
      kernel: 'f32_plain_im2panel',
      args: [
        ...[c.x, c.y, c.yPanelStride, c.lanes, c.channels, c.height, c.width, c.outWidth],
        ...[...c.kernel, ...c.stride, ...c.dilation, ...c.pad, c.firstPanel * c.lanes, c.panels],
      ],
    },
  ];
}
