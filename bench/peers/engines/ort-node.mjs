import { createRequire } from 'node:module';
import { toOnnx } from '../../models/mobilenet.mjs';
import { session } from './ort.mjs';

const require = createRequire(import.meta.url);

/** Native code, for scale: it is not bound by WebAssembly's 128-bit vectors. @type {import('../engine.mjs').OpenEngine} */
export async function open() {
  const ort = require('onnxruntime-node');
  const { version } = require('onnxruntime-node/package.json');
  const options = { executionProviders: ['cpu'], intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3 };
  return {
    name: `onnxruntime-node ${version} (native)`,
    layout: 'NCHW',
    load: (network) => session(ort, toOnnx(network), options),
  };
}
