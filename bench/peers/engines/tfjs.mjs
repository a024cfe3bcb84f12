import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { hwc } from '../tflite-model.mjs';

const require = createRequire(import.meta.url);

/** [output][input][k][k] → [k][k][input][output], tfjs's layout of a convolution. */
function hwio(weights, output, input, kernel) {
  const out = new Float32Array(weights.length);
  const area = kernel * kernel;
  for (let o = 0; o < output; o++) {
    for (let i = 0; i < input; i++) {
      for (let k = 0; k < area; k++) out[(k * input + i) * output + o] = weights[(o * input + i) * area + k];
    }
  }
  return out;
}

/** tfjs has no ONNX or TFLite reader for its wasm backend, so the network is its own fused operators, called in order. */
function program(tf, { options, layers, classifier }) {
  const { resolution, channels, activation } = options;
  const steps = layers.map(({ kind, input, output, kernel, stride, weights, bias }) => {
    const pad = kernel >> 1;
    const shared = {
      strides: stride,
      pad: [
        [0, 0],
        [pad, pad],
        [pad, pad],
        [0, 0],
      ],
      bias: tf.tensor1d(bias),
      activation,
    };
    if (kind === 'depthwise') {
      const filter = tf.tensor4d(hwc(weights, output, kernel), [kernel, kernel, output, 1]);
      return (x) => tf.fused.depthwiseConv2d({ x, filter, ...shared });
    }
    const filter = tf.tensor4d(hwio(weights, output, input, kernel), [kernel, kernel, input, output]);
    return (x) => tf.fused.conv2d({ x, filter, ...shared });
  });
  // Transposed here: with transposeB the wasm backend's fused matMul drops the bias.
  const w = tf.transpose(tf.tensor2d(classifier.weights, [classifier.output, classifier.input]));
  const bias = tf.tensor1d(classifier.bias);
  return (image) =>
    tf.tidy(() => {
      let x = tf.tensor4d(image, [1, resolution, resolution, channels]);
      for (const step of steps) x = step(x);
      return tf.fused.matMul({ a: tf.mean(x, [1, 2]), b: w, bias }).dataSync();
    });
}

/** The library on its wasm backend, one thread. */
export async function loadLibrary() {
  const tf = require('@tensorflow/tfjs-core');
  const wasm = require('@tensorflow/tfjs-backend-wasm');
  const { version } = require('@tensorflow/tfjs-backend-wasm/package.json');
  wasm.setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`);
  wasm.setThreadsCount(1);
  await tf.setBackend('wasm');
  return { tf, name: `tfjs-wasm ${version}` };
}

/** @type {import('../engine.mjs').OpenEngine} */
export async function open() {
  const { tf, name } = await loadLibrary();
  return {
    name,
    layout: 'NHWC',
    load: async (network) => program(tf, network),
  };
}
