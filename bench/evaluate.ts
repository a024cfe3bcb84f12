/**
 * The main job (`npm start`): every committed MobileNetV1, dense and pruned, on 1000 real test images. Shows that pruning
 * kept the accuracy, and what it buys in time on this machine.
 */
import Progress from 'cli-progress';
import Table from 'cli-table3';
import { Model, Tensor } from '../src/index.ts';
import { argmax, images, labels, MODELS, modelBytes, trueAccuracy } from './fashion.ts';

const quick = process.argv.includes('--quick');
const json = process.argv.includes('--json');
const isa = process.argv.includes('--simd128') ? ('simd128' as const) : undefined;

const inputs = images()
  .filter((_, i) => !quick || i % 10 === 0)
  .map((image) => new Tensor('float32', image, [1, 1, 96, 96]));
const truth = labels().filter((_, i) => !quick || i % 10 === 0);

const bar = new Progress.SingleBar(
  { format: '{bar} {percentage}%  {model}', hideCursor: true, clearOnComplete: true },
  Progress.Presets.shades_classic,
);
if (!json) bar.start(MODELS.length * inputs.length, 0, { model: '' });

/** Dense models first within their width, so that speed-ups have their base. */
const order = (name: string): number => (name.startsWith('mbv1-050') ? 0 : 2) + (name.endsWith('dense') ? 0 : 1);

const entries: { name: string; model: Model; file: number; times: number[]; right: number }[] = [];
for (const name of [...MODELS].sort((a, b) => order(a) - order(b) || (a < b ? -1 : 1))) {
  const bytes = modelBytes(name);
  entries.push({ name, model: await Model.load(bytes, { isa }), file: bytes.length, times: [], right: 0 });
}
const { info } = entries[0].model.engine;

// The models take turns, a block of images each, so that noise of the machine hits all alike.
const BLOCK = 50;
for (let first = 0; first < inputs.length; first += BLOCK) {
  for (const entry of entries) {
    for (let i = first; i < Math.min(first + BLOCK, inputs.length); i++) {
      const start = performance.now();
      const { logits } = entry.model.runSync({ image: inputs[i] });
      entry.times.push(performance.now() - start);
      if (argmax(logits.data as Float32Array) === truth[i]) entry.right++;
    }
    if (!json) bar.increment(Math.min(BLOCK, inputs.length - first), { model: entry.name });
  }
}
bar.stop();

const median = (times: number[]): number => times.sort((a, b) => a - b)[times.length >> 1];
const rows = entries.map(({ name, model, file, times, right }) => ({
  model: name,
  accuracy: right / inputs.length,
  trained: trueAccuracy(name),
  ms: median(times),
  dense: median(entries.find((e) => e.name === `${name.slice(0, 8)}-dense`)!.times),
  file,
  packed: model.weightBytes,
}));
for (const { model } of entries) model.dispose();

if (json) console.log(JSON.stringify({ engine: info, node: process.version, images: inputs.length, rows }));
else {
  const table = new Table({
    head: ['model', 'accuracy', 'as trained', 'ms / image', 'vs dense', 'file MB', 'packed MB'],
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [], compact: true },
  });
  for (const r of rows) {
    table.push([
      r.model,
      `${(100 * r.accuracy).toFixed(1)} %`,
      `${(100 * r.trained).toFixed(1)} %`,
      r.ms.toFixed(2),
      `${(r.dense / r.ms).toFixed(2)}x`,
      (r.file / 1e6).toFixed(1),
      (r.packed / 1e6).toFixed(1),
    ]);
  }
  console.log(
    `MobileNetV1 on ${inputs.length} Fashion-MNIST images, one thread, Node ${process.version}, ${info.isa}: ${info.why}`,
  );
  console.log(table.toString());
}
// Node 20 now and then waits for ever for V8's background compiler at exit.
process.stdout.write('', () => process.exit(0));
