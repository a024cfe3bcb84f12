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

/** Convolution of one image, weights [rows][channels][kh][kw], limited to [min, max] -> [rows][outHeight * outWidth]. */
export function convolution(
  x: ArrayLike<number>,
  weights: ArrayLike<number>,
  bias: ArrayLike<number> | undefined,
  rows: number,
  g: Geometry,
  min = Number.NEGATIVE_INFINITY,
  max = Number.POSITIVE_INFINITY,
): Float64Array {
  const columns = im2col(x, g);
  const pixels = g.outHeight * g.outWidth;
  const taps = columns.length / pixels;
  return Float64Array.from({ length: rows * pixels }, (_, n) => {
    const r = Math.floor(n / pixels);
    let sum = bias ? bias[r] : 0;
    for (let t = 0; t < taps; t++) sum += weights[r * taps + t] * columns[t * pixels + (n % pixels)];
    return Math.min(max, Math.max(min, sum));
  });
}

/** Where input pixels lie in an output of a transposed convolution: the output seen as its own convolution's input. */
export function col2im(
  x: ArrayLike<number>,
  bias: ArrayLike<number>,
  g: Geometry,
  min = Number.NEGATIVE_INFINITY,
  max = Number.POSITIVE_INFINITY,
): Float64Array {
  const { channels, height, width, outHeight, outWidth } = g;
  const taps = g.kernel[0] * g.kernel[1];
  const back = { ...g, height: outHeight, width: outWidth };
  const y = Float64Array.from(
    { length: channels * outHeight * outWidth },
    (_, n) => bias[Math.floor(n / (outHeight * outWidth))],
  );
  for (let n = 0; n < channels * taps * height * width; n++) {
    const pixel = n % (height * width);
    const tap = Math.floor(n / (height * width));
    const [i, j] = [Math.floor((tap % taps) / g.kernel[1]), tap % g.kernel[1]];
    const at = tapAt(back, Math.floor(pixel / width), pixel % width, i, j);
    if (at >= 0) y[Math.floor(tap / taps) * outHeight * outWidth + at] += x[n];
  }
  return y.map((v) => Math.min(max, Math.max(min, v)));
}
