import { model, node, tensor, valueInfo } from './onnx-writer.mjs';
import { prune, sparsityOf } from './patterns.mjs';
import { random, uniform } from './random.mjs';

/** @typedef {import('./mobilenet.d.mts').MobilenetOptions} MobilenetOptions */
/** @typedef {import('./mobilenet.d.mts').Mobilenet} Mobilenet */

/** Output channels at alpha 1 and stride of the thirteen depthwise-separable blocks (Howard et al. 2017, table 1). */
const BLOCKS = [
  [64, 1],
  [128, 2],
  [128, 1],
  [256, 2],
  [256, 1],
  [512, 2],
  [512, 1],
  [512, 1],
  [512, 1],
  [512, 1],
  [512, 1],
  [1024, 2],
  [1024, 1],
];

/**
 * MobileNetV1 with random weights, whatever the file format. Weights are He-scaled by the inputs that pruning leaves, so
 * that activations keep their size from layer to layer and answers of two engines can be compared.
 * @param {MobilenetOptions} options
 * @returns {Mobilenet}
 */
export function mobilenetV1Layers(options = {}) {
  const full = {
    alpha: 1,
    resolution: 224,
    channels: 3,
    classes: 1000,
    pattern: { kind: 'dense' },
    activation: 'relu6',
    seed: 1,
    ...options,
  };
  const next = random(full.seed);
  const he = (count, fanIn) => uniform(count, Math.sqrt(6 / fanIn), next);
  const biases = (count) => uniform(count, 0.1, next);
  const width = (channels) => Math.max(8, Math.round((channels * full.alpha) / 8) * 8);

  const layers = [];
  let size = full.resolution;
  let input = full.channels;
  const add = (kind, output, kernel, stride, pattern) => {
    const fanIn = kernel * kernel * (kind === 'depthwise' ? 1 : input);
    const weights = he(output * fanIn, fanIn * (1 - (pattern ? sparsityOf(pattern) : 0)));
    if (pattern) prune(weights, output, fanIn, pattern, next);
    size = Math.ceil(size / stride);
    layers.push({ kind, input, output, kernel, stride, size, weights, bias: biases(output) });
    input = output;
  };

  add('conv', width(32), 3, 2);
  for (const [channels, stride] of BLOCKS) {
    add('depthwise', input, 3, stride);
    add('pointwise', width(channels), 1, 1, full.pattern);
  }
  const classifier = {
    input,
    output: full.classes,
    weights: he(full.classes * input, input),
    bias: biases(full.classes),
  };
  return { options: full, layers, classifier };
}

/**
 * The same network as an ONNX file: input `image` [N, channels, resolution, resolution], output `logits` [N, classes].
 * @param {MobilenetOptions} options
 * @returns {Uint8Array}
 */
export function mobilenetV1(options = {}) {
  return toOnnx(mobilenetV1Layers(options));
}

/** @param {Mobilenet} network */
export function toOnnx({ options, layers, classifier }) {
  const nodes = [];
  const initializers = [];
  const { channels, resolution, classes, activation } = options;
  if (activation === 'relu6') {
    initializers.push(tensor('zero', [], new Float32Array([0])), tensor('six', [], new Float32Array([6])));
  }
  let value = 'image';
  for (const [i, { kind, input, output, kernel, stride, weights, bias }] of layers.entries()) {
    const group = kind === 'depthwise' ? input : 1;
    const pad = kernel >> 1;
    initializers.push(
      tensor(`w${i}`, [output, input / group, kernel, kernel], weights),
      tensor(`b${i}`, [output], bias),
    );
    nodes.push(
      node('Conv', [value, `w${i}`, `b${i}`], [`conv${i}`], {
        kernel_shape: [kernel, kernel],
        strides: [stride, stride],
        pads: [pad, pad, pad, pad],
        group,
      }),
      activation === 'relu6'
        ? node('Clip', [`conv${i}`, 'zero', 'six'], [`act${i}`])
        : node('Relu', [`conv${i}`], [`act${i}`]),
    );
    value = `act${i}`;
  }
  initializers.push(
    tensor('wc', [classifier.output, classifier.input], classifier.weights),
    tensor('bc', [classes], classifier.bias),
  );
  nodes.push(
    node('GlobalAveragePool', [value], ['pooled']),
    node('Flatten', ['pooled'], ['features'], { axis: 1 }),
    node('Gemm', ['features', 'wc', 'bc'], ['logits'], { transB: 1 }),
  );
  return model({
    name: 'mobilenet_v1',
    nodes,
    initializers,
    inputs: [valueInfo('image', ['N', channels, resolution, resolution])],
    outputs: [valueInfo('logits', ['N', classes])],
  });
}
