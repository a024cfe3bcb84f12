import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import vm from 'node:vm';
import { toTflite } from '../tflite-model.mjs';

const require = createRequire(import.meta.url);
const { version } = require('@litertjs/core/package.json');
const wasmDirectory = join(dirname(require.resolve('@litertjs/core/package.json')), 'wasm');

/**
 * LiteRT.js loads its Emscripten glue as a classic worker script would: through `importScripts`, leaving `ModuleFactory` on
 * `self`. Node has neither; the glue itself knows Node if it sees `require` and `__filename`.
 */
function emulateWorkerScripts() {
  globalThis.self = globalThis;
  let loaded = '';
  globalThis.importScripts = (file) => {
    loaded = basename(file);
    const source = `${readFileSync(file, 'utf8')}\nreturn ModuleFactory;`;
    const glue = vm.compileFunction(source, ['require', '__filename', '__dirname'], { filename: file });
    globalThis.ModuleFactory = glue(require, file, dirname(file));
  };
  return () => loaded;
}

/** The library with its WebAssembly loaded, one thread. */
export async function loadLibrary() {
  const loadedScript = emulateWorkerScripts();
  const { loadLiteRt, Tensor } = await import('@litertjs/core');
  const litert = await loadLiteRt(wasmDirectory, { threads: false });
  return { litert, Tensor, name: `LiteRT.js ${version} ${loadedScript().includes('compat') ? 'compat' : 'relaxed'}` };
}

/** @type {import('../engine.mjs').OpenEngine} */
export async function open() {
  const { litert, Tensor, name } = await loadLibrary();
  return {
    name,
    layout: 'NHWC',
    async load(network) {
      const model = await litert.loadAndCompile(toTflite(network), {
        accelerator: 'wasm',
        cpuOptions: { numThreads: 1 },
      });
      const [{ shape }] = model.getInputDetails();
      return async (image) => {
        const input = new Tensor(image, [...shape]);
        const [output] = await model.run([input]);
        const logits = output.toTypedArray().slice();
        output.delete();
        input.delete();
        return logits;
      };
    },
  };
}
