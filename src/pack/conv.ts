/**
 * Stem weights, for each four output channels: their biases `[4]`, then `[channels][3][3][4]`, f32. Channels beyond the last
 * are zeros.
 */

/**
 * Interleaves the weights of four output channels each.
 * @param weights `[rows][channels][3][3]`
 * @param bias one a row; left out, zeros
 */
export function packStem(
  weights: Float32Array,
  bias: Float32Array | undefined,
  rows: number,
  channels: number,
): Uint8Array {
  const taps = 9 * channels;
  const packed = new Float32Array(4 * Math.ceil(rows / 4) * (taps + 1));
  for (let r = 0; r < rows; r++) {
    const at = 4 * Math.floor(r / 4) * (taps + 1) + (r % 4);
    packed[at] = bias?.[r] ?? 0;
    for (let t = 0; t < taps; t++) packed[at + 4 * (t + 1)] = weights[r * taps + t];
  }
  return new Uint8Array(packed.buffer);
}
