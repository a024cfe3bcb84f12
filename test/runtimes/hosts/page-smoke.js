// What a page runs, `?forbidden` with a policy that forbids WebAssembly, `?isolated` cross-origin isolated. The driver reads
// globalThis.smokeResults.
import { smoke, smokeForbidden } from './smoke.js';

const read = async (name) => (await fetch(`/fixture/${name}`)).arrayBuffer();

export async function run(sparsimd, inline, files) {
  try {
    globalThis.smokeResults =
      location.search === '?forbidden'
        ? [await smokeForbidden(sparsimd)]
        : await smoke(sparsimd, {
            model: new Uint8Array(await read('model.onnx')),
            image: new Float32Array(await read('image.f32')),
            logits: new Float32Array(await read('logits.f32')),
            relaxed: true,
            compiles: true,
            alone: location.search === '?isolated' ? undefined : /cross-origin isolated.*Cross-Origin-Opener-Policy/,
            inline,
            files,
            missing: '/missing.wasm',
            modelUrl: '/fixture/model.onnx',
          });
  } catch (error) {
    globalThis.smokeResults = [{ name: 'page', ok: false, detail: String(error?.stack ?? error) }];
  }
}
