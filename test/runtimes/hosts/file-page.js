// A page opened from disk: bundled with the package into one classic script, the fixture beside it as base64, no fetch at all.

import fixture from 'fixture';
import * as sparsimd from 'sparsimd/inline';
import { smoke } from './smoke.js';

const read = (name) => Uint8Array.from(atob(fixture[name]), (c) => c.charCodeAt(0));
smoke(sparsimd, {
  model: read('model.onnx'),
  image: new Float32Array(read('image.f32').buffer),
  logits: new Float32Array(read('logits.f32').buffer),
  relaxed: true,
  compiles: true,
  alone: /inline/,
}).then(
  (results) => {
    globalThis.smokeResults = results;
  },
  (error) => {
    globalThis.smokeResults = [{ name: 'page', ok: false, detail: String(error?.stack ?? error) }];
  },
);
