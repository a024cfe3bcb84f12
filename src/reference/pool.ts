export interface PoolShape {
  readonly kind: 'max' | 'average';
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly dilation: readonly [number, number];
  readonly pad: readonly [number, number];
  readonly padEnd: readonly [number, number];
  readonly countIncludePad: boolean;
}

/** Every tap of every window asked one by one; ONNX MaxPool and AveragePool. */
export function pool(x: ArrayLike<number>, p: PoolShape): Float64Array {
  const y = new Float64Array(p.channels * p.outHeight * p.outWidth);
  for (let i = 0; i < y.length; i++) {
    const ow = i % p.outWidth;
    const oh = Math.floor(i / p.outWidth) % p.outHeight;
    const c = Math.floor(i / (p.outWidth * p.outHeight));
    const taps: number[] = [];
    let padded = 0;
    for (let a = 0; a < p.kernel[0]; a++)
      for (let b = 0; b < p.kernel[1]; b++) {
        const h = oh * p.stride[0] + a * p.dilation[0] - p.pad[0];
        const w = ow * p.stride[1] + b * p.dilation[1] - p.pad[1];
        if (h < p.height + p.padEnd[0] && w < p.width + p.padEnd[1]) padded++;
        if (h >= 0 && h < p.height && w >= 0 && w < p.width) taps.push(x[(c * p.height + h) * p.width + w]);
      }
    y[i] =
      p.kind === 'max'
        ? Math.max(...taps)
        : taps.reduce((s, v) => s + v, 0) / (p.countIncludePad ? padded : taps.length);
  }
  return y;
}

/** [outer][n][inner] -> [outer][inner]. */
export function reduce(
  kind: 'sum' | 'mean' | 'max' | 'min',
  x: ArrayLike<number>,
  outer: number,
  n: number,
  inner: number,
): Float64Array {
  const y = new Float64Array(outer * inner);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      let acc = { sum: 0, mean: 0, max: Number.NEGATIVE_INFINITY, min: Number.POSITIVE_INFINITY }[kind];
      for (let k = 0; k < n; k++) {
        const v = x[(o * n + k) * inner + i];
        acc = kind === 'max' ? Math.max(acc, v) : kind === 'min' ? Math.min(acc, v) : acc + v;
      }
      y[o * inner + i] = kind === 'mean' ? acc / n : acc;
    }
  return y;
}
