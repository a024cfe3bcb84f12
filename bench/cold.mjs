// node bench/cold.mjs [runs]: milliseconds from just before the import of the package to the first result, each in a process of
// its own: a model of one pruned 64x64 layer, and MobileNetV1 0.25/64. Needs a build (npm run build).
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
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

const child = `
  const start = performance.now();
  const { Model, Tensor } = await import(${JSON.stringify(join(root, 'dist/index.node.js'))});
  const model = await Model.load(process.argv[2]);
  const [{ name, dims }] = model.inputs;
  const shape = dims.map((d) => (typeof d === 'number' ? d : 1));
  const pixels = new Float32Array(shape.reduce((a, b) => a * b)).fill(0.5);
  model.runSync({ [name]: new Tensor('float32', pixels, shape) });
  console.log(performance.now() - start);
  process.exit();`;
// A script, as people have: given with -e the loader starts later, 4 ms that are not this package's.
const script = join(scratch, 'cold-child.mjs');
writeFileSync(script, child);
for (const [name, bytes] of [
  ['a pruned 64x64 layer', layer],
  ['MobileNetV1 0.25/64, 80 % zeros', net],
]) {
  const file = join(scratch, 'cold.onnx');
  writeFileSync(file, bytes);
  const times = Array.from({ length: runs }, () =>
    Number(execFileSync(process.execPath, [script, file], { encoding: 'utf8' })),
  ).sort((a, b) => a - b);
  const at = (share) => times[Math.floor(share * (runs - 1))].toFixed(1);
  console.log(
    `${name}: import to first result ${at(0.5)} ms (median of ${runs}; ${at(0)} to ${at(1)}), Node ${process.versions.node}`,
  );
}
