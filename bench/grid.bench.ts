// The grid of Intel's sparse transformer accelerator (arXiv 2306.16601): M outputs, K inputs, N columns, 70 to 90 % zeros in
// groups of 4. Time should grow with density alone: R² of a straight line through the five densities of each shape.
// --md <file> writes the table; --m --k --n (lists) narrow the grid.
import { writeFileSync } from 'node:fs';
import { VARIANTS } from '../src/kernel/variants.ts';
import { ISAS, Machine, option } from './support/machine.ts';
import type { Shape } from './support/shapes.ts';
import { prepare, pruned } from './support/spmm.ts';
import { Clock } from './support/timing.ts';

const list = (name: string, otherwise: string) => option(name, otherwise).split(',').map(Number);
const ZEROS = [0.7, 0.75, 0.8, 0.85, 0.9];
const ms = Number(option('ms', '10'));
const kernels = VARIANTS.filter((v) => v.op === 'spmm' && (v.format === 'group4' || v.format === 'group2'));
const dense = VARIANTS.filter((v) => v.op === 'spmm' && v.format === 'dense');

/** Of the line of least squares through (x, y). */
function rSquared(x: readonly number[], y: readonly number[]): number {
  const mean = (v: readonly number[]) => v.reduce((s, a) => s + a, 0) / v.length;
  const [mx, my] = [mean(x), mean(y)];
  const sum = (f: (i: number) => number) => x.reduce((s, _, i) => s + f(i), 0);
  const cov = sum((i) => (x[i] - mx) * (y[i] - my));
  return cov ** 2 / (sum((i) => (x[i] - mx) ** 2) * sum((i) => (y[i] - my) ** 2));
}

const lines: string[] = [];
const say = (line: string) => {
  lines.push(line);
  console.log(line);
};
for (const isa of ISAS) {
  if (!option('isa', isa).includes(isa)) continue;
  const clock = new Clock(isa);
  say(`\n### Node ${process.versions.node} ${isa}, f32, groups of 4\n`);
  say(`ms (GFLOP/s as if dense); the roofline of a dense kernel is ${clock.roofline.toFixed(1)} GFLOP/s.\n`);
  say(`| M x K x N | dense | ${ZEROS.map((z) => `${100 * z} %`).join(' | ')} | R² |`);
  say(`| --- | --- | ${ZEROS.map(() => '--- | ').join('')}--- |`);
  const fits: number[] = [];
  for (const m of list('m', '256,768,1024,4096')) {
    for (const k of list('k', '256,768,1024,4096')) {
      for (const n of list('n', '16,128,512')) {
        const shape: Shape = [m, k, n];
        // Every density a matrix of its own, all timed in turn: a slow moment meets all of them.
        const machine = new Machine(isa);
        const cases = [0, ...ZEROS].flatMap((zeros) =>
          (zeros ? kernels : dense).map((v) => ({
            name: String(zeros),
            ...prepare(machine, v, pruned(m, k, 1 - zeros, zeros ? 4 : 1), shape, ''),
          })),
        );
        const times = clock.measure(cases, ms);
        const best = (zeros: number) =>
          Math.min(...times.filter((t) => t.name === String(zeros)).map((t) => t.median)) / 1e6;
        const cell = (zeros: number) =>
          `${best(zeros).toPrecision(3)} (${((2e-6 * m * k * n) / best(zeros)).toFixed(0)})`;
        const fit = rSquared(
          ZEROS.map((z) => 1 - z),
          ZEROS.map(best),
        );
        fits.push(fit);
        say(`| ${m} x ${k} x ${n} | ${cell(0)} | ${ZEROS.map(cell).join(' | ')} | ${fit.toFixed(4)} |`);
      }
    }
  }
  fits.sort((a, b) => a - b);
  say(
    `\nR²: median ${fits[fits.length >> 1].toFixed(4)}, least ${fits[0].toFixed(4)}, ${fits.filter((f) => f >= 0.98).length} of ${fits.length} at 0.98 or more.`,
  );
}
const file = option('md', '');
if (file) writeFileSync(file, `${lines.join('\n')}\n`);
