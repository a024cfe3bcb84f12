/** The committed MobileNetV1 models and the 1000 Fashion-MNIST test images they are judged on. */
import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/** Resolved from the working directory: this file also runs bundled. */
const DIR = 'test/fixtures/models/';
const SIZE = 96;

/** Names of all models, e.g. `mbv1-050-g4-80`. */
export const MODELS: readonly string[] = readdirSync(DIR)
  .filter((f) => f.endsWith('.onnx.gz'))
  .map((f) => f.slice(0, -8));

/** The .onnx file of a model. */
export const modelBytes = (name: string): Uint8Array => gunzipSync(readFileSync(`${DIR}${name}.onnx.gz`));

/** Accuracy on the 1000 images, computed in f32 by the framework that trained it. */
export const trueAccuracy = (name: string): number =>
  JSON.parse(readFileSync(`${DIR}accuracy.json`, 'utf8'))[name].test_accuracy_1000;

/** Reference logits [50][10] for images 0, 20, 40 … 980. */
export function referenceLogits(name: string): Float32Array {
  const bytes = readFileSync(`${DIR}${name}.logits50.f32`);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

export const labels = (): Uint8Array => readFileSync(`${DIR}public1000.labels.u8`);

/** All images as network inputs [1000][1][96][96]: bilinear from 28 x 28 with half-pixel centres, normalised. */
export function images(): Float32Array[] {
  const pixels = gunzipSync(readFileSync(`${DIR}public1000.u8.gz`));
  const taps = Array.from({ length: SIZE }, (_, i) => {
    const at = Math.max(0, Math.min(27, ((i + 0.5) * 28) / SIZE - 0.5));
    const low = Math.floor(at);
    return { low, high: Math.min(27, low + 1), share: at - low };
  });
  return Array.from({ length: pixels.length / 784 }, (_, n) => {
    const image = pixels.subarray(n * 784, (n + 1) * 784);
    const out = new Float32Array(SIZE * SIZE);
    taps.forEach((y, i) => {
      taps.forEach((x, j) => {
        const row = (r: number) => image[r * 28 + x.low] * (1 - x.share) + image[r * 28 + x.high] * x.share;
        const value = row(y.low) * (1 - y.share) + row(y.high) * y.share;
        out[i * SIZE + j] = (value / 255 - 0.286) / 0.353;
      });
    });
    return out;
  });
}

/** Index of the largest value. */
export const argmax = (v: ArrayLike<number>): number => {
  let best = 0;
  for (let i = 1; i < v.length; i++) if (v[i] > v[best]) best = i;
  return best;
};
