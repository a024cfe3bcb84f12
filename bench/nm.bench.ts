// N:M beside dense f32, dense int8 and random CSR of the same density, through engine.prepare: what a user of the API gets, from
// the tokens' rows to the outputs' rows, quantisation included. Bytes as SparseMatrix stores them and as the kernels read them.
// --shapes 3072x768,…  --tokens 128,1  --patterns 2:4,1:16  --ms 60  --isa relaxed  --md bench/results/nm-node24.md
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Engine } from '../src/engine.ts';
import { roundEven } from '../src/half.ts';
import type { Operand } from '../src/sparse/composite.ts';
import { SparseMatrix } from '../src/sparse/matrix.ts';
import { ISAS, option, rng } from './support/machine.ts';
import { pruned } from './support/spmm.ts';
import { type Case, Clock, type Timing } from './support/timing.ts';

const list = (name: string, otherwise: string) => option(name, otherwise).split(',');
const pairs = (name: string, otherwise: string, by: string) =>
  list(name, otherwise).map((s) => s.split(by).map(Number) as [number, number]);
const SHAPES = pairs('shapes', '768x768,3072x768,768x3072', 'x');
const PATTERNS = pairs('patterns', '2:4,1:4,2:8,1:8,1:16,1:32', ':');
const ms = Number(option('ms', '60'));

/** n of every m at random places. */
function nm(rows: number, cols: number, n: number, m: number): Float32Array {
  const r = rng(9);
  const w = new Float32Array(rows * cols);
  for (let at = 0; at < w.length; at += m) {
    for (let kept = 0; kept < n; ) {
      const i = at + Math.floor(((r() + 1) / 2) * m);
      if (w[i] === 0) kept++;
      w[i] = r() || 0.5;
    }
  }
  return w;
}

interface Row {
  readonly name: string;
  readonly w: Operand;
  /** Bytes as stored; of a dense matrix, its numbers (and scales) alone. */
  readonly bytes: number;
  readonly int8: boolean;
  /** Of a row of N:M, the row of CSR to compare with. */
  readonly peer?: string;
}

function rowsOf(rows: number, cols: number): Row[] {
  const full = pruned(rows, cols, 1, 1);
  const dense = { data: full, rows, cols };
  const q = SparseMatrix.fromDense(full, rows, cols, { dtype: 'int8' });
  const out: Row[] = [
    { name: 'dense f32', w: dense, bytes: 4 * rows * cols, int8: false },
    { name: 'dense int8', w: q, bytes: rows * cols + 4 * rows, int8: true },
  ];
  for (const [n, m] of PATTERNS) {
    const peer = `CSR ${(100 * n) / m} %`;
    const w = nm(rows, cols, n, m);
    const f32 = SparseMatrix.fromDense(w, rows, cols, { format: 'nm', n, m });
    const i8 = SparseMatrix.fromDense(w, rows, cols, { format: 'nm', n, m, dtype: 'int8' });
    const csr = SparseMatrix.fromDense(pruned(rows, cols, n / m, 1), rows, cols);
    out.push({ name: `${n}:${m} f32`, w: f32, bytes: f32.bytes, int8: false, peer });
    out.push({ name: `${n}:${m} int8`, w: i8, bytes: i8.bytes, int8: true });
    if (!out.some((r) => r.name === peer)) out.push({ name: peer, w: csr, bytes: csr.bytes, int8: false });
  }
  return out;
}

/** X as `activations: 'int8'` rounds it: one scale a token, its largest magnitude / 127. */
function quantised(x: Float32Array, cols: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let t = 0; t < x.length; t += cols) {
    const token = x.subarray(t, t + cols);
    const scale = Math.fround(token.reduce((most, v) => Math.max(most, Math.abs(v)), 0) / 127);
    token.forEach((v, k) => {
      out[t + k] = scale * roundEven(Math.fround(v / scale));
    });
  }
  return out;
}

/** Y[tokens][rows] against sums in f64, about 4000 of them. @throws Error at the first that differs */
function verify(y: Float32Array, w: Float32Array, x: Float32Array, rows: number, cols: number, name: string): void {
  const step = Math.max(1, Math.floor(y.length / 4000)) | 1;
  for (let i = 0; i < y.length; i += step) {
    const [t, r] = [Math.floor(i / rows), i % rows];
    let sum = 0;
    for (let k = 0; k < cols; k++) sum += w[r * cols + k] * x[t * cols + k];
    if (!(Math.abs(y[i] - sum) <= 1e-5 * Math.sqrt(cols) + 1e-6)) {
      throw new Error(`${name} ${rows}x${cols}: Y[${t}][${r}] is ${y[i]}, expected ${sum}`);
    }
  }
}

/**
 * Times of cases that would push each other's weights out of the caches if they ran in turn: each by itself, three times over,
 * so that one slow moment does not make a row.
 */
function apart(clock: Clock, cases: readonly Case[]): Timing[] {
  const rounds = [0, 1, 2].map(() => cases.flatMap((c) => clock.measure([c], ms / 3)));
  return cases.map((_, i) => rounds.map((r) => r[i]).reduce((a, b) => (b.median < a.median ? b : a)));
}

const lines: string[] = [];
const say = (line: string) => {
  lines.push(line);
  console.log(line);
};
const KiB = (bytes: number) => (bytes / 1024).toFixed(0);

for (const isa of ISAS) {
  if (!list('isa', isa).includes(isa)) continue;
  const clock = new Clock(isa);
  const wasm = readFileSync(`${option('wasm', 'dist/wasm')}/sparsimd.${isa}.wasm`);
  const engine = await Engine.create({ isa, wasm });
  say(`\n### Node ${process.versions.node} ${isa}\n`);
  say(
    `Roofline ${clock.roofline.toFixed(1)} GFLOP/s. A ratio is the other's time over this row's: above 1, this row is faster.`,
  );
  const against: number[] = [];
  for (const [rows, cols] of SHAPES) {
    const all = rowsOf(rows, cols);
    for (const tokens of list('tokens', '128,1').map(Number)) {
      const r = rng(3);
      const x = Float32Array.from({ length: tokens * cols }, r);
      const rounded = quantised(x, cols);
      const cases: { name: string; op: Awaited<ReturnType<typeof engine.prepare>>; nonzeros: number; run(): void }[] =
        [];
      for (const { name, w, int8 } of all) {
        const activations = int8 ? 'int8' : 'float32';
        const op = await engine.prepare(w, { columns: tokens, layout: 'tokens', activations });
        const data = w instanceof SparseMatrix ? w.toDense() : (w as { data: Float32Array }).data;
        verify(op.run(x), data, int8 ? rounded : x, rows, cols, name);
        const nonzeros = w instanceof SparseMatrix ? w.nonzeros : rows * cols;
        cases.push({ name, op, nonzeros, run: () => op.execute() });
      }
      const times = tokens > 8 ? clock.measure(cases, ms) : apart(clock, cases);
      const of = (name: string) => times[all.findIndex((row) => row.name === name)].median;
      say(`\n#### ${rows} x ${cols}, ${tokens} token${tokens > 1 ? 's' : ''}\n`);
      say(
        '| weights | stored KiB | packed KiB | kernel | us | G/s on nonzeros | vs dense f32 | vs dense int8 | vs CSR |',
      );
      say('| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |');
      all.forEach(({ name, bytes, peer }, i) => {
        const { op, nonzeros } = cases[i];
        const { median, kept } = times[i];
        const ratio = (other: string) => (of(other) / median).toFixed(2);
        if (peer && nonzeros * 8 <= rows * cols) against.push(of(peer) / median);
        say(
          `| ${name} | ${KiB(bytes)} | ${KiB(op.weightBytes)} | ${op.kernel} | ${(median / 1e3).toFixed(1)}${kept < 3 ? '~' : ''} | ` +
            `${((2 * nonzeros * tokens) / median).toFixed(1)} | ${ratio('dense f32')} | ${ratio('dense int8')} | ${peer ? ratio(peer) : ''} |`,
        );
        op.dispose();
      });
    }
  }
  say(`\n1:8 and sparser, f32, against CSR of the same density: least ${Math.min(...against).toFixed(2)}x.`);
  engine.dispose();
}
const file = option('md', '');
if (file) {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${lines.join('\n')}\n`);
}
