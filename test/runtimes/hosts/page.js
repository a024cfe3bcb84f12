// A page served over HTTP, `?forbidden` with a policy that forbids WebAssembly, `?isolated` cross-origin isolated. The driver reads globalThis.smokeResults.
import * as sparsimd from '/node_modules/sparsimd/dist/index.web.js';
import { smoke, smokeForbidden } from '/smoke.js';

const read = async (name) => (await fetch(`/fixture/${name}`)).arrayBuffer();
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
          inline: () => import('/node_modules/sparsimd/dist/inline.js'),
          files: async () => ({
            npy: await import('/node_modules/sparsimd/dist/npy.js'),
            mtx: await import('/node_modules/sparsimd/dist/mtx.js'),
          }),
          missing: '/missing.wasm',
          modelUrl: '/fixture/model.onnx',
        });
} catch (error) {
  globalThis.smokeResults = [{ name: 'page', ok: false, detail: String(error?.stack ?? error) }];
}
