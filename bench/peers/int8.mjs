/**
 * int8 layers: ours, dense and pruned in groups of 4, beside onnxruntime-web's dynamically quantised dense layer, in one process,
 * whole calls from f32 tokens to f32 outputs, quantisation of the activations included on both sides.
 *
 *   npm run build:wasm && npm ci --ignore-scripts --prefix bench/peers
 *   taskset -c 0 node bench/peers/int8.mjs [--rounds 15]
 *
 * Ours leave Y in an array that is used again, as `SpmmOperator.run(x, out)` does; onnxruntime-web has no such way and makes an
 * array for each call, which takes this machine 0.1 to 0.5 ms (its new pages): `--fresh` makes ours do so too.
 *
 * Answers are compared with an f64 product of the unquantised activations first.
 */
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import * as ort from 'onnxruntime-web';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '15' }, fresh: { type: 'boolean', default: false } },
});
const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const scratch = join(root, '.scratch', 'bench');
mkdirSync(scratch, { recursive: true });
const outfile = join(scratch, 'int8-peer.mjs');
const entry = join(root, 'bench/support/int8-peer.ts');
await build({ entryPoints: [entry], bundle: true, platform: 'node', format: 'esm', outfile, logLevel: 'error' });
const { ISAS, input, layer, onnx, ours } = await import(pathToFileURL(outfile).href);

ort.env.wasm.numThreads = 1;
const SHAPES = [
  [768, 768, 128],
  [3072, 768, 128],
  [768, 3072, 128],
];
const ZEROS = [0, 0.8, 0.9];
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const geomean = (list) => Math.exp(list.reduce((s, v) => s + Math.log(v), 0) / list.length);

const mine = (run) => (values.fresh ? (x) => run(x).slice() : run);
for (const isa of ISAS) {
  const ratios = new Map(ZEROS.map((z) => [z, []]));
  for (const [rows, cols, tokens] of SHAPES) {
    const x = input(tokens, cols);
    const cases = [];
    for (const zeros of ZEROS) {
      const w = layer(rows, cols, zeros);
      cases.push({ name: `ours ${100 * zeros} %`, zeros, w, run: mine(ours(isa, w, rows, cols, tokens, zeros)) });
      if (zeros) continue;
      const options = { executionProviders: ['wasm'], logSeverityLevel: 3 };
      const session = await ort.InferenceSession.create(onnx(w, rows, cols, tokens), options);
      const run = async (data) => (await session.run({ x: new ort.Tensor('float32', data, [tokens, cols]) })).y.data;
      cases.push({ name: 'onnxruntime-web', w, run });
    }
    for (const c of cases) {
      const y = await c.run(x);
      for (let t = 0; t < tokens; t += 37) {
        for (let r = 0; r < rows; r += 101) {
          let sum = 0;
          for (let k = 0; k < cols; k++) sum += (c.w[r * cols + k] / 512) * x[t * cols + k];
          // Half a step of 1/127 an input, weights to 1/4.
          if (!(Math.abs(y[t * rows + r] - sum) < 0.004 * Math.sqrt(cols))) {
            throw new Error(`${c.name} ${rows}x${cols}: Y[${t}][${r}] is ${y[t * rows + r]}, expected about ${sum}`);
          }
        }
      }
      c.times = [];
      for (let i = 0; i < 5; i++) await c.run(x);
    }
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const c of cases) {
        await c.run(x);
        const start = performance.now();
        for (let i = 0; i < 5; i++) await c.run(x);
        c.times.push((performance.now() - start) / 5);
      }
    }
    const peer = cases.find((c) => !c.zeros && c.name.startsWith('onnx'));
    const cells = cases.map((c) => {
      const ratio = median(peer.times.map((t, i) => t / c.times[i]));
      if (c.zeros !== undefined) ratios.get(c.zeros).push(ratio);
      const gops = (2 * rows * cols * tokens * 1e-6) / median(c.times);
      return `${c.name} ${median(c.times).toFixed(3)} ms (${gops.toFixed(0)} GOP/s as if dense, ${ratio.toFixed(2)}x)`;
    });
    console.log(`${rows}x${cols}x${tokens}: ${cells.join(', ')}`);
  }
  const line = ZEROS.map((z) => `${100 * z} % zeros ${geomean(ratios.get(z)).toFixed(2)}x`).join(', ');
  console.log(
    `Node ${process.versions.node} ${isa}, over onnxruntime-web ${ort.env.versions.web} dense int8: ${line}\n`,
  );
}
process.exit();
