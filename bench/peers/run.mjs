/**
 * Runs MobileNetV1 on sparsimd and on every npm peer, the same weights and the same image, and prints milliseconds and ratios.
 *
 *   npm ci --ignore-scripts --prefix bench/peers
 *   taskset -c 0 node bench/peers/run.mjs [--node path] [--json] [--quick] [--rounds n]
 *
 * Answers are compared before anything is timed; a disagreement is exit code 1. Each round times every case once, in an
 * order that rotates; a figure is the median over rounds of the round's median, a ratio the median of the rounds' ratios.
 */
import { existsSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { ENGINES, NETWORKS, RATIOS, REFERENCE } from './cases.mjs';
import { EngineProcess } from './process.mjs';

const TOLERANCE = 1e-3;
const { values: flags } = parseArgs({
  options: {
    node: { type: 'string', default: process.execPath },
    rounds: { type: 'string' },
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
  },
});
const rounds = Number(flags.rounds ?? (flags.quick ? 7 : 31));
const BUDGET = 60; // ms a turn: short, so that the engines compared meet the same weather
const log = flags.json ? () => {} : console.log;

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/** Opens every engine and answers { engine module → { process, name, logits: { network → Float32Array } } }. */
async function openAll() {
  const built = existsSync(new URL('../../dist/index.node.js', import.meta.url));
  if (!built) log('sparsimd is not built (npm run build): measuring the peers only');
  const open = new Map();
  for (const { module, options = {} } of ENGINES) {
    if (module === 'sparsimd' && !built) continue;
    const engine = new EngineProcess(module, flags.node);
    await engine.open();
    const entry = { process: engine, name: module, logits: {} };
    for (const [key, network] of Object.entries(NETWORKS)) {
      const loaded = await engine.load(key, network, options[key]);
      entry.name = loaded.engine;
      entry.logits[key] = loaded.logits;
    }
    open.set(module, entry);
  }
  return open;
}

/** Largest difference to the reference, relative to its largest logit. NaN counts as a disagreement. */
function disagreements(open) {
  const reference = open.get(REFERENCE);
  const found = [];
  for (const { name, logits } of open.values()) {
    for (const [network, values] of Object.entries(logits)) {
      const expected = reference.logits[network];
      const scale = expected.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
      const worst = values.reduce((m, v, i) => Math.max(m, Math.abs(v - expected[i])), 0) / scale;
      if (!(worst <= TOLERANCE)) found.push(`${name}, ${network}: relative difference ${worst.toExponential(1)}`);
    }
  }
  return found;
}

/** { "engine network" → median of each round }. */
async function timeAll(open) {
  const cases = Object.keys(NETWORKS).flatMap((network) =>
    ENGINES.filter(({ module, time }) => open.has(module) && time.includes(network)).map(({ module }) => ({
      module,
      network,
    })),
  );
  const series = new Map(cases.map(({ module, network }) => [`${module} ${network}`, []]));
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < cases.length; i++) {
      const { module, network } = cases[(i + round * 5) % cases.length];
      series.get(`${module} ${network}`).push(median(await open.get(module).process.time(network, BUDGET)));
    }
  }
  return series;
}

function ratiosOf(series, isa) {
  return RATIOS.flatMap(({ name, slow, fast, ...demanded }) => {
    const ours = series.get(fast.join(' '));
    if (!ours) return [];
    const peers = slow.map((key) => series.get(key.join(' ')));
    const best = peers.reduce((a, b) => (median(a) <= median(b) ? a : b));
    const ratio = median(best.map((ms, round) => ms / ours[round]));
    const quiet = Math.min(...best) / Math.min(...ours);
    return [{ name, ratio, quiet, demanded: demanded[isa], met: ratio >= demanded[isa] }];
  });
}

const open = await openAll();
const wrong = disagreements(open);
const series = wrong.length ? new Map() : await timeAll(open);
for (const { process: engine } of open.values()) engine.close();

const isa = open.get('litert').name.includes('relaxed') ? 'relaxed' : 'simd128';
const results = [...series].map(([key, times]) => {
  const [module, network] = key.split(' ');
  return { engine: open.get(module).name, network, ms: median(times), best: Math.min(...times) };
});
const ratios = series.size ? ratiosOf(series, isa) : [];

if (flags.json) {
  const report = { node: flags.node, cpu: cpus()[0].model, isa, rounds, disagreements: wrong, results, ratios };
  console.log(JSON.stringify(report, null, 2));
} else {
  for (const line of wrong) console.error(`answers differ: ${line}`);
  if (!wrong.length) log(`${cpus()[0].model}, ${rounds} rounds; all answers agree within ${TOLERANCE}\n`);
  const width = Math.max(0, ...results.map(({ engine }) => engine.length));
  for (const { engine, network, ms, best } of results) {
    log(`${engine.padEnd(width)}  ${network.padEnd(6)} ${ms.toFixed(2).padStart(7)} ms  (best ${best.toFixed(2)})`);
  }
  log('');
  for (const { name, ratio, quiet, demanded, met } of ratios) {
    const verdict = `demanded ${demanded}x: ${met ? 'met' : 'MISSED'}`;
    log(`${name.padEnd(30)} ${ratio.toFixed(2)}x  (${verdict}; ${quiet.toFixed(2)}x between the best rounds)`);
  }
}
process.exitCode = wrong.length ? 1 : 0;
