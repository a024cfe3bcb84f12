import type { KernelCall } from './call.ts';

/** What a depthwise convolution's scratch depends on. */
export interface DepthwiseShape {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly outHeight: number;
  readonly outWidth: number;
  /** Of a square kernel. */
  readonly kernel: number;
  /** 1 or 2, on both axes. */
  readonly stride: number;
  readonly padTop: number;
  readonly padLeft: number;
}

/** Plain input, output by the address formula. Addresses and strides in bytes. */
export interface Depthwise extends DepthwiseShape {
  /** Packed by packDepthwise. */
  readonly weights: number;
  readonly x: number;
  readonly y: number;
  readonly yChannelStride: number;
  /** Not used when the output is plain. */
  readonly yPanelStride: number;
  /** Lanes of an output panel; 0 is plain. */
  readonly lanes: number;
  readonly min: number;
  readonly max: number;
  /** depthwiseScratchBytes of it, 64-byte aligned. */
  readonly scratch: number;
}

type Pair = readonly [number, number];

/** Whether the depthwise kernels take it; any padding will do. */
export function supportsDepthwise(c: { kernel: Pair; stride: Pair; dilation: Pair }): boolean {
  const [stride] = c.stride;
  return (
    c.kernel[0] === c.kernel[1] &&
    c.stride[1] === stride &&
    (stride === 1 || stride === 2) &&
    c.dilation.every((d) => d === 1)
  );
}

/** The 3x3 kernels read planes in place: rows of at least a vector, and no output row that lies in the padding alone. */
const inPlace = (s: DepthwiseShape): boolean => s.kernel === 3 && s.width >= 4 && s.padTop <= 3 - s.stride;

const aligned = (bytes: number, to: number): number => Math.ceil(bytes / to) * to;

/** Bytes of scratch that depthwiseCalls needs. */
export function depthwiseScratchBytes(s: DepthwiseShape): number {
  if (inPlace(s)) {
    // Limits, a table for each strip, and the output plane with the overrun of its last vector.
    return 64 + 128 * Math.ceil(s.outWidth / 4) + 4 * (s.outHeight * s.outWidth + 4);
  }
  const rows = aligned(s.outHeight, 4);
  const pitch = 4 * s.stride * (aligned(s.outWidth, 4) + aligned(s.kernel, 4));
  return ((rows - 1) * s.stride + s.kernel) * pitch + 4 * (rows * s.outWidth + 4);
}

/** Depthwise convolution with bias and clamp. Reads plain planes only where they are, writes live lanes only. */
export function depthwiseCalls(d: Depthwise): KernelCall[] {
  const args = [d.x, d.weights, d.y, d.yChannelStride, d.yPanelStride, d.lanes, d.channels, d.height, d.width];
  args.push(d.outHeight, d.outWidth, d.padTop, d.padLeft, d.min, d.max, d.scratch);
  if (inPlace(d)) return [{ kernel: `f32_depthwise_3x3s${d.stride}`, args }];
  return [{ kernel: 'f32_depthwise_kxk', args: [...args, d.kernel, d.stride] }];
}
