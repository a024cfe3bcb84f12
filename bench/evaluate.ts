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

const rows: {
  model: string;
  accuracy: number;
  trained: number;
  ms: number;
  speedup: number;
  file: number;
  packed: number;
}[] = [];
let info = '';
for (const name of [...MODELS].sort((a, b) => order(a) - order(b) || (a < b ? -1 : 1))) {
  const bytes = modelBytes(name);
  using model = await Model.load(bytes, { isa });
  info = `${model.engine.info.isa}: ${model.engine.info.why}`;
  const times: number[] = [];
  let right = 0;
  inputs.forEach((image, i) => {
    const start = performance.now();
    const { logits } = model.runSync({ image });
    times.push(performance.now() - start);
    if (argmax(logits.data as Float32Array) === truth[i]) right++;
    if (!json) bar.increment(1, { model: name });
  });
  const ms = times.sort((a, b) => a - b)[times.length >> 1];
  const dense = rows.find((r) => r.model === `${name.slice(0, 8)}-dense`)?.ms ?? ms;
  rows.push({
    model: name,
    accuracy: right / inputs.length,
    trained: trueAccuracy(name),
    ms,
    speedup: dense / ms,
    file: bytes.length,
    packed: model.weightBytes,
  });
}
bar.stop();

/** Dense models first within their width, so that speed-ups have their base. */
function order(name: string): number {
  return (name.startsWith('mbv1-050') ? 0 : 2) + (name.endsWith('dense') ? 0 : 1);
}

if (json) console.log(JSON.stringify({ engine: info, node: process.version, images: inputs.length, rows }));
else {
  const table = new Table({
    head: ['model', 'accuracy', 'as trained', 'ms / image', 'vs dense', 'file MB', 'packed MB'],
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [] },
  });
  for (const r of rows) {
    table.push([
      r.model,
      `${(100 * r.accuracy).toFixed(1)} %`,
      `${(100 * r.trained).toFixed(1)} %`,
      r.ms.toFixed(2),
      `${r.speedup.toFixed(2)}x`,
      (r.file / 1e6).toFixed(1),
      (r.packed / 1e6).toFixed(1),
    ]);
  }
  console.log(`MobileNetV1 on ${inputs.length} Fashion-MNIST images, one thread, Node ${process.version}, ${info}`);
  console.log(table.toString());
}
