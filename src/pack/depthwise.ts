/**
 * Depthwise weights: `[channels][kernel * kernel taps, bias]`, f32, one record of `4 (kernel² + 1)` bytes a channel.
 */

/**
 * Interleaves depthwise weights with their bias.
 * @param weights `[channels][kernel][kernel]`
 * @param bias one a channel; left out, zeros
 */
export function packDepthwise(
  weights: Float32Array,
  bias: Float32Array | undefined,
  channels: number,
  kernel: number,
): Uint8Array {
  const taps = kernel * kernel;
  const packed = new Float32Array(channels * (taps + 1));
  for (let c = 0; c < channels; c++) {
    packed.set(weights.subarray(c * taps, (c + 1) * taps), c * (taps + 1));
    packed[c * (taps + 1) + taps] = bias?.[c] ?? 0;
  }
  return new Uint8Array(packed.buffer);
}
