/** What the convolution tests share: one image, and where its windows lie. */
export interface Geometry {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly dilation: readonly [number, number];
  /** top, left */
  readonly pad: readonly [number, number];
}

/** The input offset tap (i, j) of output pixel (oh, ow) reads, -1 in the padding. */
export function tapAt(g: Geometry, oh: number, ow: number, i: number, j: number): number {
  const ih = oh * g.stride[0] + i * g.dilation[0] - g.pad[0];
  const iw = ow * g.stride[1] + j * g.dilation[1] - g.pad[1];
  return ih >= 0 && ih < g.height && iw >= 0 && iw < g.width ? ih * g.width + iw : -1;
}

/** Taps [channels * kh * kw][outHeight * outWidth] of plain CHW. */
export function im2col(x: ArrayLike<number>, g: Geometry): Float64Array {
  const [kh, kw] = g.kernel;
  const y = new Float64Array(g.channels * kh * kw * g.outHeight * g.outWidth);
  let n = 0;
  for (let c = 0; c < g.channels; c++)
    for (let i = 0; i < kh; i++)
      for (let j = 0; j < kw; j++)
        for (let oh = 0; oh < g.outHeight; oh++)
          for (let ow = 0; ow < g.outWidth; ow++) {
            const at = tapAt(g, oh, ow, i, j);
            y[n++] = at < 0 ? 0 : x[c * g.height * g.width + at];
          }
  return y;
}
