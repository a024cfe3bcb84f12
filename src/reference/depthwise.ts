/** Plain [channels][height][width] in, [channels][outHeight][outWidth] out; taps outside the plane count as zero. */
export interface DepthwiseShape {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly kernel: number;
  readonly stride: number;
  readonly padTop: number;
  readonly padLeft: number;
}

/** Depthwise convolution, tap by tap; not clamped. `weights`: [channels][kernel][kernel]. */
export function depthwise(
  x: ArrayLike<number>,
  weights: ArrayLike<number>,
  bias: ArrayLike<number> | undefined,
  s: DepthwiseShape,
): Float64Array {
  const y = new Float64Array(s.channels * s.outHeight * s.outWidth);
  for (let i = 0; i < y.length; i++) {
    const column = i % s.outWidth;
    const row = Math.floor(i / s.outWidth) % s.outHeight;
    const c = Math.floor(i / (s.outWidth * s.outHeight));
    y[i] = bias?.[c] ?? 0;
    for (let a = 0; a < s.kernel; a++)
      for (let b = 0; b < s.kernel; b++) {
        const h = row * s.stride + a - s.padTop;
        const w = column * s.stride + b - s.padLeft;
        if (h >= 0 && h < s.height && w >= 0 && w < s.width)
          y[i] += weights[(c * s.kernel + a) * s.kernel + b] * x[(c * s.height + h) * s.width + w];
      }
  }
  return y;
}
