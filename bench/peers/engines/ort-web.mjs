import * as ort from 'onnxruntime-web';
import { toOnnx } from '../../models/mobilenet.mjs';
import { session } from './ort.mjs';

/** @type {import('../engine.mjs').OpenEngine} */
export async function open() {
  ort.env.wasm.numThreads = 1;
  return {
    name: `onnxruntime-web ${ort.env.versions.web}`,
    layout: 'NCHW',
    load: (network) => session(ort, toOnnx(network), { executionProviders: ['wasm'], logSeverityLevel: 3 }),
  };
}
