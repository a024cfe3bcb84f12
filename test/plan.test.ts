// What plans look like: formats, layouts and memory of MobileNetV1 1.0/224, the network the benchmarks run.
import { expect, test } from 'vitest';
import { mobilenetV1, type Pattern } from '../bench/models/mobilenet.mjs';
import { interpret } from '../src/graph/interpret.ts';
import { Model, type Tensor } from '../src/index.ts';
import { readOnnxSync } from '../src/onnx/index.ts';
import { difference, f32 } from './support/models.ts';

const network = (pattern: Pattern, resolution = 224) =>
  mobilenetV1({ alpha: 1, resolution, channels: 3, classes: 1000, pattern, seed: 3 });

/** Formats that may win: groups of 4 are groups of 2 too, and which kernel is faster is the engine's business. */
const PATTERNS: [string, Pattern][] = [
  ['dense', { kind: 'dense' }],
  ['group4 group2', { kind: 'group4', sparsity: 0.8 }],
  ['group2', { kind: 'group2', sparsity: 0.8 }],
  ['csr', { kind: 'csr', sparsity: 0.9 }],
];

test.each(PATTERNS)(
  '%s: the format is recognised, no layer converts its input, none runs on the host',
  async (format, pattern) => {
    using model = await Model.load(network(pattern), { deterministic: true });
    const steps = model.plan();
    const pointwise = steps.filter((s) => s.kernel.includes('_spmm_'));
    expect(pointwise).toHaveLength(13);
    // The first layer has few inputs and may be faster in a neighbouring format.
    expect(pointwise.filter((s) => format.includes(s.format!)).length).toBeGreaterThanOrEqual(12);
    expect(steps.filter((s) => /host|pack/.test(s.kernel))).toEqual([]);
    expect(steps).toHaveLength(30);
  },
);

test.each(PATTERNS)('%s: memory is the packed weights and less than 8 MB more', async (_, pattern) => {
  using model = await Model.load(network(pattern));
  const weights = model.weightBytes;
  model.runSync({ image: f32([1, 3, 224, 224], 5) });
  expect(model.weightBytes).toBe(weights);
  expect(model.engine.arena.size - weights).toBeLessThan(8e6);
});

test('sparse, dense and interpreted agree, at a size no file was made for', async () => {
  const bytes = network({ kind: 'group4', sparsity: 0.8 }, 64);
  const image = f32([1, 3, 64, 64], 6);
  const { logits } = interpret(readOnnxSync(bytes), { image });
  for (const sparsity of ['auto', 'off'] as const) {
    using model = await Model.load(bytes, { sparsity });
    expect(difference(model.runSync({ image }).logits, logits)).toBeLessThan(1e-4);
  }
});

test('deterministic runs of two engines are bit-identical', async () => {
  const bytes = network({ kind: 'csr', sparsity: 0.9 }, 64);
  const image = f32([1, 3, 64, 64], 7);
  const run = async (): Promise<Tensor> => {
    using model = await Model.load(bytes, { deterministic: true });
    expect(model.engine.info).toMatchObject({ isa: 'simd128', deterministic: true });
    return model.runSync({ image }).logits;
  };
  expect((await run()).data).toEqual((await run()).data);
});
