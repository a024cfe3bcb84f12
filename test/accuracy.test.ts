// Every trained model keeps its accuracy and its logits, on both instruction sets, sparse and dense.
import { describe, expect, test } from 'vitest';
import { argmax, images, labels, MODELS, modelBytes, referenceLogits, trueAccuracy } from '../bench/fashion.ts';
import { Model, Tensor } from '../src/index.ts';
import { ISAS } from './support/kernels.ts';

const inputs = images();
const truth = labels();
const BATCH = 50;

function logitsOf(model: Model, indices: number[]): Float32Array {
  const data = new Float32Array(indices.length * 9216);
  indices.forEach((n, i) => {
    data.set(inputs[n], i * 9216);
  });
  return model.runSync({ image: new Tensor('float32', data, [indices.length, 1, 96, 96]) }).logits.data as Float32Array;
}

const every20th = Array.from({ length: 50 }, (_, i) => 20 * i);

const worst = (a: Float32Array, b: Float32Array) => a.reduce((m, v, i) => Math.max(m, Math.abs(v - b[i])), 0);

describe.each(ISAS)('%s', (isa) => {
  test.each(MODELS)('%s', async (name) => {
    using model = await Model.load(modelBytes(name), { isa });
    expect(worst(logitsOf(model, every20th), referenceLogits(name))).toBeLessThan(1e-3);
    let right = 0;
    for (let first = 0; first < 1000; first += BATCH) {
      const logits = logitsOf(
        model,
        Array.from({ length: BATCH }, (_, i) => first + i),
      );
      for (let i = 0; i < BATCH; i++) if (argmax(logits.subarray(10 * i, 10 * i + 10)) === truth[first + i]) right++;
    }
    expect(Math.abs(right / 1000 - trueAccuracy(name))).toBeLessThanOrEqual(0.001);
  });

  test.each(MODELS)('%s with sparsity off', async (name) => {
    using model = await Model.load(modelBytes(name), { isa, sparsity: 'off' });
    expect(worst(logitsOf(model, every20th), referenceLogits(name))).toBeLessThan(1e-3);
    expect(model.plan().every((s) => !s.format || s.format === 'dense')).toBe(true);
  });
});
