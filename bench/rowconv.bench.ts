// k×k convolutions, pruned, beside our own dense convolution: the whole operator as the model runs it, padding or gathering
// included. Each answer is checked against the f64 reference on part of the outputs. --zeros 0.8,0.9,0.95
import { readFileSync } from 'node:fs';
import { Engine } from '../src/engine.ts';
import type { Graph } from '../src/graph/ir.ts';
import type { Plan } from '../src/graph/plan.ts';
import { Model } from '../src/model.ts';
import { convolution } from '../src/reference/conv.ts';
import { Tensor } from '../src/tensor.ts';
import { ISAS, option, rng } from './support/machine.ts';
import { Clock, geomean } from './support/timing.ts';

/** [name, channels, outputs, input size, stride] of 3x3 layers. */
const LAYERS = [
  ['resnet18', 64, 64, 56, 1],
  ['resnet18', 64, 128, 56, 2],
  ['resnet18', 128, 128, 28, 1],
  ['resnet18', 128, 256, 28, 2],
  ['resnet18', 256, 256, 14, 1],
  ['resnet18', 256, 512, 14, 2],
  ['resnet18', 512, 512, 7, 1],
  ['dass', 36, 36, 32, 1],
  ['dass', 72, 72, 32, 1],
  ['dass', 144, 144, 32, 1],
] as const;

/** Output channels of a group, and taps that are kept or dropped together. */
const PATTERNS = {
  'kernels, groups of 4': [4, 9],
  'taps, groups of 4': [4, 1],
  unstructured: [1, 1],
} as const;

const ms = Number(option('ms', '60'));
const levels = option('zeros', '0.8,0.9,0.95').split(',').map(Number);

function prune(outputs: number, cols: number, zeros: number, [group, taps]: readonly [number, number]): Float32Array {
  const r = rng(7);
  const w = new Float32Array(outputs * cols);
  for (let g = 0; g < outputs; g += group) {
    for (let k = 0; k < cols; k += taps) {
      if ((r() + 1) / 2 < zeros) continue;
      for (let o = g; o < g + group; o++) for (let t = k; t < k + taps; t++) w[o * cols + t] = r() || 0.5;
    }
  }
  return w;
}

for (const isa of ISAS) {
  if (!option('isa', isa).includes(isa)) continue;
  const clock = new Clock(isa);
  const gains = new Map<string, number[]>();
  for (const [net, channels, outputs, size, stride] of LAYERS) {
    if (!net.includes(option('net', net))) continue;
    const out = size / stride;
    const r = rng(3);
    const image = Float32Array.from({ length: channels * size * size }, r);
    /** A model of the one layer, and its steps as functions. */
    const layer = async (weights: Float32Array, sparsity: 'auto' | 'off') => {
      const graph: Graph = {
        name: net,
        nodes: [
          {
            op: 'Conv',
            name: 'conv',
            inputs: ['x', 'w'],
            outputs: ['y'],
            attrs: { kernel_shape: [3, 3], pads: [1, 1, 1, 1], strides: [stride, stride] },
          },
        ],
        constants: new Map([['w', new Tensor('float32', weights, [outputs, channels, 3, 3])]]),
        inputs: [{ name: 'x', type: 'float32', dims: [1, channels, size, size] }],
        outputs: [{ name: 'y', type: 'float32', dims: [1, outputs, out, out] }],
      };
      const wasm = readFileSync(`${option('wasm', 'dist/wasm')}/sparsimd.${isa}.wasm`);
      const engine = await Engine.create({ isa, wasm, deterministic: option('deterministic', '') !== '' });
      const model = await Model.load(graph, { engine, sparsity });
      const feeds = { x: new Tensor('float32', image, [1, channels, size, size]) };
      const got = model.runSync(feeds).y.data as Float32Array;
      const cols = channels * 9;
      const some = Array.from({ length: 4 }, (_, i) => Math.floor((i * (outputs - 1)) / 3));
      const part = Float32Array.from(some.flatMap((o) => [...weights.subarray(o * cols, (o + 1) * cols)]));
      const shape = { channels, height: size, width: size, outHeight: out, outWidth: out };
      const window = { kernel: [3, 3], stride: [stride, stride], dilation: [1, 1], pad: [1, 1] } as const;
      convolution(image, part, undefined, 4, { ...shape, ...window }).forEach((want, i) => {
        const y = got[some[Math.floor(i / (out * out))] * out * out + (i % (out * out))];
        if (!(Math.abs(y - want) <= 1e-5 * Math.sqrt(cols))) throw new Error(`conv ${size}: ${y}, expected ${want}`);
      });
      const { steps } = (model as unknown as { plans: { for(f: typeof feeds): Plan } }).plans.for(feeds);
      const run = () => {
        for (const s of steps) s.run();
      };
      return { run, facts: steps[0] };
    };
    const flops = 2 * 9 * channels * outputs * out * out;
    for (const zeros of levels) {
      const dense = await layer(prune(outputs, channels * 9, 0, [1, 1]), 'off');
      const names = Object.keys(PATTERNS) as (keyof typeof PATTERNS)[];
      const sparse = await Promise.all(
        names.map((n) => layer(prune(outputs, channels * 9, zeros, PATTERNS[n]), 'auto')),
      );
      const cases = [dense, ...sparse].map((s, i) => ({ name: i ? names[i - 1] : 'dense', run: s.run }));
      const [base, ...times] = clock.measure(cases, ms);
      const cells = times.map((t, i) => {
        const key = `${net} ${zeros} ${t.name}`;
        gains.set(key, [...(gains.get(key) ?? []), base.median / t.median]);
        const rate = (flops * (1 - (sparse[i].facts.sparsity ?? 0))) / t.median;
        const kernel = sparse[i].facts.kernel.slice(4).replace('_spmm', '');
        return `${t.name} ${(t.median / 1e6).toFixed(3)} ms ${rate.toFixed(1)} GFLOP/s ${(base.median / t.median).toFixed(2)}x (${kernel}${t.kept < 3 ? '~' : ''})`;
      });
      console.log(
        `${net} ${channels}-${outputs} ${size} s${stride} ${100 * zeros} %: dense ${(base.median / 1e6).toFixed(3)} ms ${(flops / base.median).toFixed(1)} GFLOP/s; ${cells.join('; ')}`,
      );
    }
  }
  console.log(
    `\nNode ${process.versions.node} ${isa}, roofline ${clock.roofline.toFixed(1)} GFLOP/s; over our dense convolution:`,
  );
  for (const [key, g] of gains) {
    console.log(`${key}: geomean ${geomean(g).toFixed(2)}x, least ${Math.min(...g).toFixed(2)}x as if dense`);
  }
  console.log();
}
