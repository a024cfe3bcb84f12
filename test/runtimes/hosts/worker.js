// workerd: modules and data are listed in the configuration that workerd.mjs writes; the answer goes out over HTTP.
import image from 'fixture/image.f32';
import logits from 'fixture/logits.f32';
import model from 'fixture/model.onnx';
import { smoke } from 'smoke.js';
import * as sparsimd from 'sparsimd/index.workerd.js';

export default {
  async fetch() {
    const results = await smoke(sparsimd, {
      model: new Uint8Array(model),
      image: new Float32Array(image),
      logits: new Float32Array(logits),
      relaxed: true,
      compiles: false,
      alone: /edge workers/,
      inline: () => import('sparsimd/inline.js'),
      files: async () => ({ npy: await import('sparsimd/npy.js'), mtx: await import('sparsimd/mtx.js') }),
    });
    return Response.json(results);
  },
};
