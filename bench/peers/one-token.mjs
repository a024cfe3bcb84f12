/**
 * One token through a layer of a language model: y = W x, our sparse kernels beside the dense f32 layer of every wasm peer.
 *
 *   npm run build:wasm && npm ci --ignore-scripts --prefix bench/peers
 *   taskset -c 0 node bench/peers/one-token.mjs [--node path] [--shapes 3072x768,4096x4096] [--rounds n] [--isa simd128,relaxed]
 *
 * The peers multiply the very weights that ours skip zeros of, and every answer is compared with an f64 sum before anything is
 * timed; int8 may differ by its rounding (activations of 8 bits; uint7, of 7). A process an engine; each round times every case once, in an order that rotates.
 * What a call costs a peer before it multiplies (promises, feeds, a copy of the result) is timed on a layer of 16x16: the
 * ratios are given of whole calls, as a caller pays, and net of that. Ours are calls of kernels, with x copied in and quantised.
 */
import { fork } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const SMALL = [16, 16];
const BUDGET = 40; // ms a turn

/** Our cases: kernel, share of zeros, rows that share them, and what it must reach over the best peer. */
const OURS = [
  { name: 'dense', zeros: 0, shared: 1 },
  { name: 'group16', zeros: 0.8, shared: 16, least: 4.5 },
  { name: 'group4', zeros: 0.8, shared: 4 },
  { name: 'window', zeros: 0.8, shared: 1 },
  { name: 'int8', zeros: 0.7, shared: 1, least: 3 },
  { name: 'uint7', zeros: 0.7, shared: 1 },
];

/** Each opens a peer and answers { name, load(weights, rows, cols) → run(x) → y }. */
const PEERS = {
  async 'ort-web'() {
    const ort = await import('onnxruntime-web');
    const { model, node, tensor, valueInfo } = await import('../models/onnx-writer.mjs');
    ort.env.wasm.numThreads = 1;
    return {
      name: `onnxruntime-web ${ort.env.versions.web}`,
      async load(weights, rows, cols) {
        const transposed = new Float32Array(weights.length);
        for (let r = 0; r < rows; r++) for (let k = 0; k < cols; k++) transposed[k * rows + r] = weights[r * cols + k];
        const bytes = model({
          name: 'layer',
          nodes: [node('MatMul', ['x', 'w'], ['y'])],
          initializers: [tensor('w', [cols, rows], transposed)],
          inputs: [valueInfo('x', [1, cols])],
          outputs: [valueInfo('y', [1, rows])],
        });
        const session = await ort.InferenceSession.create(bytes, { executionProviders: ['wasm'], logSeverityLevel: 3 });
        return async (x) => (await session.run({ x: new ort.Tensor('float32', x, [1, cols]) })).y.data;
      },
    };
  },
  async litert() {
    const { litert, Tensor, name } = await (await import('./engines/litert.mjs')).loadLibrary();
    const { writeTflite } = await import('./tflite-writer.mjs');
    return {
      name,
      async load(weights, rows, cols) {
        const bytes = writeTflite({
          tensors: [
            { name: 'x', shape: [1, cols] },
            { name: 'w', shape: [rows, cols], data: weights },
            { name: 'b', shape: [rows], data: new Float32Array(rows) },
            { name: 'y', shape: [1, rows] },
          ],
          ops: [{ op: 'FULLY_CONNECTED', inputs: [0, 1, 2], outputs: [3] }],
          inputs: [0],
          outputs: [3],
        });
        const model = await litert.loadAndCompile(bytes, { accelerator: 'wasm', cpuOptions: { numThreads: 1 } });
        return async (x) => {
          const input = new Tensor(x, [1, cols]);
          const [output] = await model.run([input]);
          const y = output.toTypedArray().slice();
          output.delete();
          input.delete();
          return y;
        };
      },
    };
  },
  async tfjs() {
    const { tf, name } = await (await import('./engines/tfjs.mjs')).loadLibrary();
    return {
      name,
      async load(weights, rows, cols) {
        const w = tf.transpose(tf.tensor2d(weights, [rows, cols]));
        return (x) => tf.tidy(() => tf.matMul(tf.tensor2d(x, [1, cols]), w).dataSync());
      },
    };
  },
};

const rng = (seed) => {
  let s = (seed * 2654435761) >>> 0 || 1;
  return () => {
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    return (s >>> 0) / 2147483648 - 1;
  };
};
const inputOf = (cols) => {
  const next = rng(2);
  return Float32Array.from({ length: cols }, () => next());
};
/** [rows][cols], the zeros shared by so many rows. */
function weightsOf([rows, cols], { zeros, shared }) {
  const next = rng(7);
  const w = new Float32Array(rows * cols);
  for (let g = 0; g < rows; g += shared) {
    for (let k = 0; k < cols; k++) {
      if ((next() + 1) / 2 < zeros) continue;
      for (let r = g; r < Math.min(rows, g + shared); r++) w[r * cols + k] = next() || 0.5;
    }
  }
  return w;
}

/** Largest difference to the f64 sums, relative to the largest of them. */
function errorOf(y, w, x, rows, cols) {
  let [worst, scale] = [0, 0];
  for (let r = 0; r < rows; r++) {
    let sum = 0;
    for (let k = 0; k < cols; k++) sum += w[r * cols + k] * x[k];
    scale = Math.max(scale, Math.abs(sum));
    worst = Math.max(worst, Math.abs(sum - y[r])); // NaN, if there is one
  }
  return worst / scale;
}

async function child(engine, options) {
  const opened = PEERS[engine] ? await PEERS[engine]() : await (await import(options.bundle)).open(options.isa);
  const runs = new Map();
  process.on('message', async ({ load, time }) => {
    try {
      if (load) {
        const { key, shape, pattern } = load;
        const w = weightsOf(shape, pattern);
        const run = await opened.load(w, ...shape, pattern.name);
        const x = inputOf(shape[1]);
        const error = errorOf(await run(x), w, x, ...shape);
        runs.set(key, { run, x });
        process.send({ name: opened.name, error });
      } else {
        const { run, x } = runs.get(time);
        const times = [];
        await run(x);
        for (const start = performance.now(); performance.now() - start < BUDGET || times.length < 5; ) {
          const from = performance.now();
          const y = run(x);
          if (y?.then) await y;
          times.push(performance.now() - from);
        }
        process.send(times.sort((a, b) => a - b)[times.length >> 1]);
      }
    } catch (error) {
      process.send({ failed: String(error?.stack ?? error) });
    }
  });
}

async function parent(flags) {
  const scratch = join(root, '.scratch', 'bench');
  mkdirSync(scratch, { recursive: true });
  const { build } = await import('esbuild');
  const bundle = join(scratch, `one-token-${process.pid}.mjs`);
  await build({
    entryPoints: [join(root, 'bench/support/one-token.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    outfile: bundle,
  });
  const shapes = flags.shapes.split(',').map((s) => s.split('x').map(Number));
  const start = (engine, isa) => {
    const options = JSON.stringify({ engine, isa, bundle: pathToFileURL(bundle).href });
    const process_ = fork(fileURLToPath(import.meta.url), ['--child', options], { execPath: flags.node, silent: true });
    let text = '';
    for (const stream of [process_.stdout, process_.stderr]) stream.on('data', (d) => (text += d));
    return (message) =>
      new Promise((resolve, reject) => {
        const died = () => reject(new Error(`${engine} ended: ${text.slice(-2000)}`));
        process_.once('exit', died);
        process_.once('message', (m) => {
          process_.off('exit', died);
          if (m?.failed) reject(new Error(`${engine}: ${m.failed}`));
          else resolve(m);
        });
        process_.send(message);
      });
  };
  const engines = [
    ...Object.keys(PEERS).map((engine) => ({ engine, patterns: [OURS[1]], ask: start(engine) })),
    ...flags.isa
      .split(',')
      .map((isa) => ({ engine: 'sparsimd', ours: true, patterns: OURS, ask: start('sparsimd', isa) })),
  ];
  const cases = [];
  for (const { engine, ours, patterns, ask } of engines) {
    for (const shape of ours ? shapes : [SMALL, ...shapes]) {
      for (const pattern of patterns) {
        const key = `${shape.join('x')} ${pattern.name}`;
        const { name, error } = await ask({ load: { key, shape, pattern } });
        const limit = (ours && { int8: 0.02, uint7: 0.04 }[pattern.name]) || 1e-4;
        if (!(error <= limit)) throw new Error(`${name} ${key}: the answer is off by ${error}`);
        cases.push({ engine, ours, name, ask, key, shape, pattern, rounds: [] });
      }
    }
  }
  const rounds = Number(flags.rounds);
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < cases.length; i++) {
      const c = cases[(i + round) % cases.length];
      c.rounds.push(await c.ask({ time: c.key }));
    }
  }
  const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
  console.log(await version(flags.node));
  let missed = 0;
  for (const shape of shapes) {
    const of = cases.filter((c) => c.shape.join() === shape.join());
    const peers = of.filter((c) => !c.ours);
    const overhead = (c) => cases.find((o) => o.engine === c.engine && o.shape === SMALL).rounds;
    const best = peers.reduce((a, b) => (median(a.rounds) < median(b.rounds) ? a : b));
    const net = peers
      .map((c) => c.rounds.map((ms, i) => ms - overhead(c)[i]))
      .reduce((a, b) => (median(a) < median(b) ? a : b));
    const flops = 2 * shape[0] * shape[1];
    for (const c of of) {
      const ms = median(c.rounds);
      const line = [
        shape.join('x').padEnd(10),
        c.name.padEnd(26),
        (c.ours ? `${c.pattern.name} ${100 * c.pattern.zeros} %` : 'dense f32').padEnd(13),
        `${(1000 * ms).toFixed(1).padStart(8)} us`,
        `${(flops / ms / 1e6).toFixed(1).padStart(6)} GFLOP/s as if dense`,
      ];
      if (c.ours) {
        const ratio = median(c.rounds.map((own, i) => best.rounds[i] / own));
        const strict = median(c.rounds.map((own, i) => net[i] / own));
        line.push(`${ratio.toFixed(2)}x the best peer (${best.engine}), ${strict.toFixed(2)}x net of calling it`);
        if (c.pattern.least && strict < c.pattern.least) {
          missed++;
          line.push(`MISSED ${c.pattern.least}x`);
        }
      } else line.push(`calling costs ${(1000 * median(overhead(c))).toFixed(1)} us`);
      console.log(...line);
    }
  }
  process.exit(missed ? 1 : 0);
}

async function version(node) {
  const { execFileSync } = await import('node:child_process');
  return `Node ${execFileSync(node, ['--version']).toString().trim()}`;
}

const { values } = parseArgs({
  options: {
    child: { type: 'string' },
    node: { type: 'string', default: process.execPath },
    shapes: { type: 'string', default: '3072x768,4096x4096' },
    rounds: { type: 'string', default: '15' },
    isa: { type: 'string', default: 'simd128' },
  },
});
if (values.child) {
  const options = JSON.parse(values.child);
  await child(options.engine, options);
} else await parent(values);
