import { sparsityOf } from '../models/patterns.mjs';
import { ACTIVATION, INT32, PADDING, writeTflite } from './tflite-writer.mjs';

/** [output][input][k][k] → [output][k][k][input], TFLite's layout of a convolution. */
export function ohwi(weights, output, input, kernel) {
  const out = new Float32Array(weights.length);
  const area = kernel * kernel;
  for (let o = 0; o < output; o++) {
    for (let i = 0; i < input; i++) {
      for (let k = 0; k < area; k++) out[(o * area + k) * input + i] = weights[(o * input + i) * area + k];
    }
  }
  return out;
}

/** [channels][1][k][k] → [k][k][channels], TFLite's and tfjs's layout of a depthwise convolution. */
export function hwc(weights, channels, kernel) {
  const out = new Float32Array(weights.length);
  const area = kernel * kernel;
  for (let c = 0; c < channels; c++) for (let k = 0; k < area; k++) out[k * channels + c] = weights[c * area + k];
  return out;
}

/** The nonzeros of a row-major matrix and where they are. */
function compress(weights, rows, columns) {
  const segments = new Int32Array(rows + 1);
  const indices = [];
  const values = [];
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const w = weights[r * columns + c];
      if (w !== 0) {
        indices.push(c);
        values.push(w);
      }
    }
    segments[r + 1] = indices.length;
  }
  return { csr: { segments, indices: Int32Array.from(indices) }, data: Float32Array.from(values) };
}

/**
 * The network of {@link mobilenetV1Layers} as a TFLite file, NHWC, built so that XNNPACK's sparse inference takes it: pruned
 * pointwise weights are CSR constants behind DENSIFY, and padding at stride 2 is explicit (XNNPACK's CHW kernels refuse
 * TensorFlow's asymmetric SAME; it folds the PAD back into the convolution).
 * @param {import('../models/mobilenet.d.mts').Mobilenet} network
 * @returns {Uint8Array}
 */
export function toTflite({ options, layers, classifier }) {
  const tensors = [];
  const ops = [];
  const add = (tensor) => tensors.push(tensor) - 1;
  const apply = (op, inputs, output, settings) => {
    const y = add(output);
    ops.push({ op, inputs, outputs: [y], options: settings });
    return y;
  };
  const sparse = sparsityOf(options.pattern) > 0;
  const activation = ACTIVATION[options.activation];

  const image = add({ name: 'image', shape: [1, options.resolution, options.resolution, options.channels] });
  const padding = add({ name: 'padding', shape: [4, 2], type: INT32, data: Int32Array.of(0, 0, 1, 1, 1, 1, 0, 0) });
  let x = image;
  let size = options.resolution;
  for (const [i, layer] of layers.entries()) {
    const { kind, input, output, kernel, stride } = layer;
    const explicit = kernel > 1 && stride > 1;
    if (explicit) x = apply('PAD', [x, padding], { name: `pad${i}`, shape: [1, size + 2, size + 2, input] });
    const shape = kind === 'depthwise' ? [1, kernel, kernel, output] : [output, kernel, kernel, input];
    const data = kind === 'depthwise' ? hwc(layer.weights, output, kernel) : ohwi(layer.weights, output, input, kernel);
    let w;
    if (kind === 'pointwise' && sparse) {
      const stored = add({ name: `csr${i}`, shape, ...compress(data, output, input) });
      w = apply('DENSIFY', [stored], { name: `w${i}`, shape });
    } else w = add({ name: `w${i}`, shape, data });
    const bias = add({ name: `b${i}`, shape: [output], data: layer.bias });
    size = layer.size;
    x = apply(
      kind === 'depthwise' ? 'DEPTHWISE_CONV_2D' : 'CONV_2D',
      [x, w, bias],
      { name: `act${i}`, shape: [1, size, size, output] },
      {
        padding: explicit ? PADDING.VALID : PADDING.SAME,
        strideW: stride,
        strideH: stride,
        ...(kind === 'depthwise' ? { multiplier: 1 } : {}),
        activation,
      },
    );
  }
  const axes = add({ name: 'axes', shape: [2], type: INT32, data: Int32Array.of(1, 2) });
  const channels = classifier.input;
  x = apply('MEAN', [x, axes], { name: 'pooled', shape: [1, 1, 1, channels] }, { keepDims: 1 });
  const w = add({ name: 'wc', shape: [classifier.output, channels], data: classifier.weights });
  const bias = add({ name: 'bc', shape: [classifier.output], data: classifier.bias });
  const logits = apply('FULLY_CONNECTED', [x, w, bias], { name: 'logits', shape: [1, classifier.output] });
  return writeTflite({ tensors, ops, inputs: [image], outputs: [logits] });
}
