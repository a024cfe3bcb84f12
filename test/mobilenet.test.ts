import { describe, expect, test } from 'vitest';
import { type MobilenetOptions, mobilenetV1Layers, type Pattern, toOnnx } from '../bench/models/mobilenet.mjs';
import { readOnnxSync } from '../src/onnx/index.ts';

/** The generated networks that the benchmarks run on. */

const same = (a: ArrayLike<unknown>, b: Float32Array) => a.length === b.length && b.every((v, i) => v === a[i]);
const small: MobilenetOptions = { alpha: 0.25, resolution: 32, classes: 10 };
const pointwise = (pattern: Pattern) =>
  mobilenetV1Layers({ ...small, pattern }).layers.filter(({ kind }) => kind === 'pointwise');

describe.each([
  ['csr', 1],
  ['group2', 2],
  ['group4', 4],
] as const)('%s', (kind, group) => {
  test.each([0.3, 0.8, 0.9])('%d of the blocks of every pointwise layer are zero, whole blocks only', (sparsity) => {
    for (const { weights, input, output } of pointwise({ kind, sparsity })) {
      let zeros = 0;
      let broken = 0;
      for (let row = 0; row < output; row += group) {
        for (let c = 0; c < input; c++) {
          let empty = 0;
          for (let g = 0; g < group; g++) if (weights[(row + g) * input + c] === 0) empty++;
          if (empty === group) zeros++;
          else if (empty) broken++;
        }
      }
      expect(broken).toBe(0);
      expect(zeros).toBe(Math.round(sparsity * (output / group) * input));
    }
  });
});

test('all layers but the pointwise ones stay dense', () => {
  const { layers, classifier } = mobilenetV1Layers({ ...small, pattern: { kind: 'csr', sparsity: 0.9 } });
  const others = [...layers.filter(({ kind }) => kind !== 'pointwise'), classifier];
  expect(others).toHaveLength(15);
  for (const { weights } of others) expect(weights.includes(0)).toBe(false);
});

test('the seed decides everything', () => {
  const bytes = (seed: number) => Buffer.from(toOnnx(mobilenetV1Layers({ ...small, seed })));
  expect(bytes(1).equals(bytes(1))).toBe(true);
  expect(bytes(1).equals(bytes(2))).toBe(false);
});

test.each(['relu6', 'relu'] as const)('the ONNX file with %s is the same network', (activation) => {
  const network = mobilenetV1Layers({ ...small, activation, pattern: { kind: 'group4', sparsity: 0.8 } });
  const graph = readOnnxSync(toOnnx(network));
  expect(graph.inputs).toEqual([{ name: 'image', type: 'float32', dims: ['N', 3, 32, 32] }]);
  expect(graph.outputs).toEqual([{ name: 'logits', type: 'float32', dims: ['N', 10] }]);
  const convs = graph.nodes.filter(({ op }) => op === 'Conv');
  expect(convs).toHaveLength(27);
  convs.forEach(({ inputs, attrs }, i) => {
    const { kind, input, output, kernel, stride, weights, bias } = network.layers[i];
    const group = kind === 'depthwise' ? input : 1;
    const pad = kernel >> 1;
    expect(attrs).toEqual({
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: [pad, pad, pad, pad],
      group,
    });
    const [w, b] = [1, 2].map((at) => graph.constants.get(inputs[at])!);
    expect([w.dims, b.dims]).toEqual([[output, input / group, kernel, kernel], [output]]);
    expect(same(w.data, weights) && same(b.data, bias)).toBe(true);
  });
  expect(graph.nodes.filter(({ op }) => op === (activation === 'relu' ? 'Relu' : 'Clip'))).toHaveLength(27);
  expect(graph.nodes.slice(-3).map(({ op }) => op)).toEqual(['GlobalAveragePool', 'Flatten', 'Gemm']);
});
