// node bench/cold.mjs [runs]: milliseconds from just before the import of the package to the first result, each in a process of
// its own: a model of one pruned 64x64 layer, and MobileNetV1 0.25/64. Needs a build (npm run build). Beside it, in turn, what an
// empty script takes from the start of Node to its end, which tells how fast the machine starts anything, and onnxruntime-web
// where bench/peers is installed.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mobilenetV1 } from './models/mobilenet.mjs';
import { model, node, tensor, valueInfo } from './models/onnx-writer.mjs';
import { prune } from './models/patterns.mjs';
import { random } from './models/random.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const scratch = join(root, '.scratch', 'bench');
const runs = Number(process.argv[2] ?? 15);
mkdirSync(scratch, { recursive: true });

const next = random(1);
const weights = Float32Array.from({ length: 64 * 64 }, () => next() - 0.5);
prune(weights, 64, 64, { kind: 'csr', sparsity: 0.8 }, next);
const layer = model({
  name: 'layer',
  nodes: [node('Conv', ['x', 'w'], ['c'], { kernel_shape: [1, 1] }), node('Relu', ['c'], ['y'])],
  initializers: [tensor('w', [64, 64, 1, 1], weights)],
  inputs: [valueInfo('x', [1, 64, 8, 8])],
  outputs: [valueInfo('y', [1, 64, 8, 8])],
});
const net = mobilenetV1({ alpha: 0.25, resolution: 64, classes: 10, pattern: { kind: 'group4', sparsity: 0.8 } });

const pixels = `
  const shape = dims.map((d) => (typeof d === 'number' ? d : 1));
  const pixels = new Float32Array(shape.reduce((a, b) => a * b)).fill(0.5);`;
const scripts = {
  sparsimd: `
  const start = performance.now();
  const { Model, Tensor } = await import(${JSON.stringify(join(root, 'dist/index.node.js'))});
  const model = await Model.load(process.argv[2]);
  const [{ name, dims }] = model.inputs;${pixels}
  model.runSync({ [name]: new Tensor('float32', pixels, shape) });
  console.log(performance.now() - start);
  process.exit();`,
  'onnxruntime-web': `
  const start = performance.now();
  const ort = await import(${JSON.stringify(join(root, 'bench/peers/node_modules/onnxruntime-web/dist/ort.node.min.mjs'))});
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(process.argv[2], { executionProviders: ['wasm'] });
  const [{ name, shape: dims }] = session.inputMetadata;${pixels}
  await session.run({ [name]: new ort.Tensor('float32', pixels, shape) });
  console.log(performance.now() - start);
  process.exit();`,
  'an empty script': '',
};
if (!existsSync(join(root, 'bench/peers/node_modules/onnxruntime-web'))) delete scripts['onnxruntime-web'];

// Scripts, as people have: given with -e the loader starts later, 4 ms that are not this package's.
const files = Object.entries(scripts).map(([name, text]) => {
  const file = join(scratch, `cold-${name.replaceAll(' ', '-')}.mjs`);
  writeFileSync(file, text);
  return { name, file, empty: !text };
});
for (const [title, bytes] of [
  ['a pruned 64x64 layer', layer],
  ['MobileNetV1 0.25/64, 80 % zeros', net],
]) {
  const file = join(scratch, 'cold.onnx');
  writeFileSync(file, bytes);
  const times = files.map(() => []);
  for (let i = 0; i < runs; i++) {
    files.forEach((script, j) => {
      const start = performance.now();
      const said = Number(execFileSync(process.execPath, [script.file, file], { encoding: 'utf8' }));
      times[j].push(script.empty ? performance.now() - start : said);
    });
  }
  console.log(`${title}: import to first result, median of ${runs}, Node ${process.versions.node}`);
  files.forEach(({ name, empty }, j) => {
    const sorted = times[j].sort((a, b) => a - b);
    const at = (share) => sorted[Math.floor(share * (runs - 1))].toFixed(1);
    console.log(`  ${name.padEnd(16)} ${at(0.5)} ms (${at(0)} to ${at(1)})${empty ? ', start to end' : ''}`);
  });
}
