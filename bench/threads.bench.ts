/**
 * One thread against more, in one process, on two engines: products of 384 tokens, and MobileNetV1. A round times each engine
 * in turn; rounds in which the kernel let one of our threads wait for a core for more than 5 % of the time (schedstat, Linux)
 * are set aside, since something else ran there. `calm` says how many were not. Without a calm round, or without schedstat, the
 * figures are those of all. Two cores of a virtual machine may be one of the host, or one of them may share its caches with
 * others: `loops 2x` and `reads 2x` are what two threads that share nothing gain at the time, each in the multiply-add loop of
 * the roofline, or reading 4 MB of its own. 1 means that there is one core to have.
 *
 * `one thread`: what threads cost one: calls through Engine.bind, and the threads' module with its shared memory called by one
 * thread, both over calling the kernels of the module without.
 *
 *   npm run bench -- threads [--threads 2] [--rounds 15] [--ms 20] [--only <part of a case's name>]    without taskset: it needs cores
 */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { spmmCalls } from '../src/kernel/spmm.ts';
import { VARIANTS } from '../src/kernel/variants.ts';
import { packSpmm } from '../src/pack/spmm.ts';
import { mobilenetV1 } from './models/mobilenet.mjs';
import { option } from './support/machine.ts';
import { pruned } from './support/spmm.ts';

// The published build: workers need their script beside the bundle.
const entry = pathToFileURL(join(process.cwd(), 'dist/index.node.js')).href;
const { Engine, Model, SparseMatrix, Tensor } = (await import(entry)) as typeof import('../src/index.ts');

const threads = Number(option('threads', '2'));
const rounds = Number(option('rounds', '15'));
const ms = Number(option('ms', '20'));
const only = option('only', '');

const engines = await Promise.all([1, threads].map((n) => Engine.create({ threads: n })));
const { info } = engines[1];
console.log(`Node ${process.versions.node}, ${info.isa}, ${info.threads} threads (${info.threadsWhy})`);
console.log(
  'case'.padEnd(40) + '1 thread us   more us   median x   best round    calm   median of all  loops 2x   reads 2x',
);

function time(run: () => void, ms: number): number {
  const start = performance.now();
  let runs = 0;
  let now = start;
  for (; now - start < ms; runs++) {
    run();
    now = performance.now();
  }
  return ((now - start) * 1e3) / runs;
}

const median = (v: number[]): number => [...v].sort((a, b) => a - b)[v.length >> 1];

/** Two threads that share nothing: each in the multiply-add loop of the roofline, or reading 4 MB of its own again and again. */
const apart = (() => {
  const bytes = readFileSync(join('.scratch', 'bench', `roofline.${info.isa}.wasm`));
  const make = `(bytes) => {
    const { roofline, read, memory } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
    memory.grow(64);
    new Uint8Array(memory.buffer).fill(1);
    return [, () => roofline(4000), () => read(0, 4 << 20)];
  }`;
  // What the worker does, and how often it has.
  const on = new Int32Array(new SharedArrayBuffer(8));
  const script = `
    const { bytes, on } = require('node:worker_threads').workerData;
    const works = (${make})(bytes);
    for (;;) {
      Atomics.wait(on, 0, 0);
      for (let what; (what = Atomics.load(on, 0)); on[1]++) works[what]();
    }`;
  new Worker(script, { eval: true, workerData: { bytes, on } }).unref();
  // biome-ignore lint/security/noGlobalEval: the same code in both threads.
  return { works: eval(make)(bytes) as (() => void)[], on };
})();

/** What both get done over what one does alone in the time. */
function gainApart(what: 1 | 2): number {
  const { works, on } = apart;
  const alone = time(works[what], 4);
  Atomics.store(on, 0, what);
  Atomics.notify(on, 0);
  time(works[what], 1);
  const [before, start] = [Atomics.load(on, 1), performance.now()];
  const beside = time(works[what], 4);
  const other = ((performance.now() - start) * 1e3) / (Atomics.load(on, 1) - before);
  Atomics.store(on, 0, 0);
  return alone / beside + alone / other;
}

/** Nanoseconds that each thread of the process has waited for a core so far. */
function waits(): Map<string, number> {
  const found = new Map<string, number>();
  try {
    for (const id of readdirSync('/proc/self/task')) {
      found.set(id, Number(readFileSync(`/proc/self/task/${id}/schedstat`, 'utf8').split(' ')[1]));
    }
  } catch {
    // Another system.
  }
  return found;
}

/** Microseconds of a run, and the largest share of the time that a thread waited for a core. */
function sample(run: () => void): { us: number; waited: number } {
  const before = waits();
  const start = performance.now();
  const us = time(run, ms);
  const wall = performance.now() - start;
  let waited = 0;
  for (const [id, ns] of waits()) waited = Math.max(waited, (ns - (before.get(id) ?? ns)) / 1e6 / wall);
  return { us, waited };
}

function compare(name: string, [one, more]: readonly (() => void)[]): void {
  if (!name.includes(only)) return;
  for (const run of [one, more]) time(run, 200);
  const samples: { one: number; more: number; calm: boolean; apart: number[] }[] = [];
  const calmOf = () => samples.filter((s) => s.calm);
  for (let r = 0; r < 3 * rounds && calmOf().length < rounds; r++) {
    const [first, second] = [sample(one), sample(more)];
    const calm = Math.max(first.waited, second.waited) < 0.05;
    samples.push({ one: first.us, more: second.us, calm, apart: [gainApart(1), gainApart(2)] });
  }
  const calm = calmOf();
  const used = calm.length ? calm : samples;
  const columns = [
    median(used.map((s) => s.one))
      .toFixed(1)
      .padStart(11),
    median(used.map((s) => s.more))
      .toFixed(1)
      .padStart(10),
    median(used.map((s) => s.one / s.more))
      .toFixed(2)
      .padStart(11),
    Math.max(...used.map((s) => s.one / s.more))
      .toFixed(2)
      .padStart(13),
    `${calm.length}/${samples.length}`.padStart(9),
    median(samples.map((s) => s.one / s.more))
      .toFixed(2)
      .padStart(16),
    ...[0, 1].map((i) =>
      median(used.map((s) => s.apart[i]))
        .toFixed(2)
        .padStart(11),
    ),
  ];
  console.log(name.padEnd(40) + columns.join(''));
}

/** What one thread pays for there being threads, in percent: medians of runs in turn. */
function oneThread(ways: readonly (() => void)[]): string {
  const samples = ways.map((): number[] => []);
  for (const run of ways) time(run, 100);
  for (let r = 0; r < 3 * rounds; r++) {
    // In turn, another first in each round.
    for (let i = r; i < r + ways.length; i++) samples[i % ways.length].push(time(ways[i % ways.length], ms / 2));
  }
  const percent = (i: number) => 100 * (median(samples[i].map((us, r) => us / samples[0][r])) - 1);
  return `  one thread: bound ${percent(1).toFixed(1)} %, on shared memory ${percent(2).toFixed(1)} %`;
}

/** Binds the product on each engine; the answers must be equal bit for bit. */
function product(variant: string, group: number, rows: number, cols: number, columns: number, density: number): void {
  const kernel = VARIANTS.find((v) => v.name === variant)!;
  const packed = packSpmm(pruned(rows, cols, density, group), rows, cols, kernel);
  const panels = Math.ceil(columns / 16);
  const answers: Float32Array[] = [];
  const direct: (() => void)[] = [];
  const runs = engines.map(({ arena }, i) => {
    const at = arena.alloc(packed.bytes);
    const [xPanelStride, yPanelStride] = [cols * 64 + 64, rows * 64 + 64];
    const x = arena.alloc(panels * xPanelStride);
    const y = arena.alloc(panels * yPanelStride);
    arena.view('uint8', at, packed.bytes).set(packed.data);
    const X = arena.view('float32', x, (panels * xPanelStride) / 4);
    for (let j = 0; j < X.length; j++) X[j] = Math.sin(j);
    arena.view('float32', y, (panels * yPanelStride) / 4).fill(0);
    const io = { x, xPanelStride, y, yPanelStride, yChannelStride: 64, columns, min: -Infinity, max: Infinity };
    const calls = spmmCalls(packed, at, io);
    const { kernels } = engines[i];
    direct.push(() => {
      for (const { kernel, args } of calls) kernels[kernel](...args);
    });
    const run = engines[i].bind(calls);
    run();
    answers.push(arena.view('float32', y, (panels * yPanelStride) / 4).slice());
    return run;
  });
  if (answers[0].some((v, i) => !Object.is(v, answers[1][i]))) throw new Error(`${variant}: results differ`);
  const name = `${variant} ${columns}x${cols}x${rows} ${(100 * (1 - density)).toFixed(0)} %`;
  compare(name, runs);
  if (name.includes(only)) console.log(oneThread([direct[0], runs[0], direct[1]]));
}

// 384 tokens, both linear layers of a transformer block, and few columns of many channels.
for (const [rows, cols, columns] of [
  [3072, 768, 384],
  [768, 3072, 384],
  [512, 512, 49],
]) {
  product('f32_group4_spmm_8x4', 4, rows, cols, columns, 0.2);
  product('f32_group2_spmm_24x2', 4, rows, cols, columns, 0.2);
  product('f32_csr_spmm_32x1', 1, rows, cols, columns, 0.2);
}
/** An operator on each engine, whose answers must be equal bit for bit. */
async function operator(name: string, rows: number, cols: number, options: import('../src/index.ts').PrepareOptions) {
  const w = SparseMatrix.fromDense(pruned(rows, cols, 0.3, 1), rows, cols, { dtype: 'int8' });
  const x = Float32Array.from({ length: cols * options.columns }, (_, i) => Math.sin(i));
  const ops = await Promise.all(engines.map((e) => e.prepare(w, options)));
  const [one, more] = ops.map((op) => op.run(x));
  if (one.some((v, i) => !Object.is(v, more[i]))) throw new Error(`${name}: results differ`);
  compare(
    `${name} ${ops[0].kernel}`,
    ops.map((op) => () => op.execute()),
  );
  for (const op of ops) op.dispose();
}
for (const [rows, cols] of [
  [3072, 768],
  [4096, 4096],
]) {
  for (const activations of ['float32', 'int8'] as const) {
    await operator(`1x${cols}x${rows} 70 %`, rows, cols, { columns: 1, activations });
  }
}
for (const activations of ['int8', 'uint7'] as const) {
  await operator('384x3072x768 70 %', 768, 3072, { columns: 384, layout: 'tokens', activations });
}
if ('MobileNetV1'.includes(only) || only.startsWith('MobileNet')) {
  for (const kind of ['group4', 'csr'] as const) {
    const bytes = mobilenetV1({ pattern: { kind, sparsity: 0.8 } });
    const image = Float32Array.from({ length: 3 * 224 * 224 }, (_, i) => Math.sin(i));
    const models = [];
    for (const engine of engines) models.push(await Model.load(bytes, { engine }));
    const feeds = { image: new Tensor('float32', image, [1, 3, 224, 224]) };
    const name = models[0].inputs[0].name;
    const input = { [name]: feeds.image };
    const plans = models.map((m) =>
      m
        .plan(input)
        .map((s) => s.kernel)
        .join(),
    );
    if (plans[0] !== plans[1]) console.log('note: the two models chose different kernels');
    compare(
      `MobileNetV1 1.0 224 ${kind} 80 %`,
      models.map((m) => () => void m.runSync(input)),
    );
    for (const m of models) m.dispose();
  }
}
for (const engine of engines) engine.dispose();
