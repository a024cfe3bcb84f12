// Node, Deno and Bun: node:fs is in all three. Arguments: whether relaxed SIMD is expected.
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { smoke } from './smoke.js';

const read = (name) => new Uint8Array(readFileSync(new URL(`./fixture/${name}`, import.meta.url)));
const model = new URL('./fixture/model.onnx', import.meta.url);
const floats = (name) => new Float32Array(read(name).buffer);

const results = await smoke(await import('sparsimd'), {
  model: read('model.onnx'),
  image: floats('image.f32'),
  logits: floats('logits.f32'),
  relaxed: process.argv[2] === 'true',
  compiles: true,
  inline: () => import('sparsimd/inline'),
  modelPaths: [fileURLToPath(model), model.href, model],
  files: async () => ({ npy: await import('sparsimd/npy'), mtx: await import('sparsimd/mtx') }),
});
// Left alone on purpose: workers must not keep the process.
const engine = await (await import('sparsimd')).Engine.create({ threads: 2 });
results.push({
  name: 'an engine with threads left open',
  ok: engine.info.threads === 2,
  detail: engine.info.threadsWhy,
});
console.log(JSON.stringify(results));
