import { mobilenetV1Layers } from '../models/mobilenet.mjs';
import { random, uniform } from '../models/random.mjs';

/**
 * @typedef {(image: Float32Array) => Float32Array | Promise<Float32Array>} Run typed array in, logits out: what a caller pays
 * @typedef {object} Engine
 * @property {string} name with version and instruction set; final once a model is loaded
 * @property {'NCHW' | 'NHWC'} layout of the image
 * @property {(network: import('../models/mobilenet.d.mts').Mobilenet, options?: object) => Promise<Run>} load
 * @typedef {() => Promise<Engine>} OpenEngine
 *
 * One process an engine (LiteRT and Emscripten glue rewrite globals), so the parent can alternate between engines within
 * each round and any noise of the machine hits all alike. Messages in: { id, do, … }; out: { id, ok | error }.
 */

const WARM_RUNS = 1;

/** The same random image for every engine, in the layout it wants. */
function image({ channels, resolution }, layout) {
  const area = resolution * resolution;
  const chw = uniform(channels * area, 1, random(77));
  if (layout === 'NCHW') return chw;
  const hwc = new Float32Array(chw.length);
  for (let c = 0; c < channels; c++) for (let p = 0; p < area; p++) hwc[p * channels + c] = chw[c * area + p];
  return hwc;
}

/** @type {Engine} */
let engine;
/** @type {Map<string, { run: Run, input: Float32Array }>} */
const cases = new Map();

const commands = {
  async open({ module }) {
    engine = await (await import(module)).open();
  },
  /** Loads one case and answers its logits. */
  async load({ key, network, options }) {
    const layers = mobilenetV1Layers(network);
    const run = await engine.load(layers, options);
    const input = image(layers.options, engine.layout);
    cases.set(key, { run, input });
    return { logits: Float32Array.from(await run(input)), engine: engine.name };
  },
  /** Milliseconds of each run: for `budget` milliseconds, at least once, after a warm-up. */
  async time({ key, budget }) {
    const { run, input } = cases.get(key);
    for (let i = 0; i < WARM_RUNS; i++) await run(input);
    const times = [];
    const start = performance.now();
    do {
      const from = performance.now();
      await run(input);
      times.push(performance.now() - from);
    } while (performance.now() - start < budget);
    return times;
  },
};

process.on('message', async ({ id, do: command, ...parameters }) => {
  try {
    process.send({ id, ok: await commands[command](parameters) });
  } catch (error) {
    process.send({ id, error: error?.stack ?? String(error) });
  }
});
