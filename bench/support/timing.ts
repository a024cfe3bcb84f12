/**
 * Timing on a machine whose clock and neighbours are not ours. Each sample is flanked by two short runs of the roofline loop;
 * samples during which the roofline fell more than 10 % below its best are set aside, and what remains gives the median.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Isa } from './machine.ts';

export interface Case {
  readonly name: string;
  run(): void;
}

export interface Timing {
  readonly name: string;
  /** Nanoseconds: the median of the undisturbed samples, and the best of all. */
  readonly median: number;
  readonly best: number;
  /** Undisturbed samples; below 3, `median` is that of the least disturbed five. */
  readonly kept: number;
}

const ITERATIONS = 4000;

/** GFLOP/s of a loop of so many chains. */
function gflops(loop: (n: number) => number, chains: number): number {
  const t = performance.now();
  loop(ITERATIONS);
  return (ITERATIONS * chains * 8) / (performance.now() - t) / 1e6;
}

export class Clock {
  private readonly loop: (n: number) => number;
  private readonly seen: number[] = [];
  /** GFLOP/s of a loop that leaves some slack: what the machine could, if engines arranged all code so. */
  readonly most: number;

  constructor(isa: Isa) {
    const bytes = readFileSync(join('.scratch', 'bench', `roofline.${isa}.wasm`));
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes));
    this.loop = exports.roofline as never;
    new Float32Array((exports.memory as WebAssembly.Memory).buffer).fill(0.5, 16, 24);
    const until = performance.now() + 300;
    while (performance.now() < until) this.sample();
    const most = Array.from({ length: 300 }, () => gflops(exports.most as never, 13)).sort((a, b) => a - b);
    this.most = most[Math.floor(most.length * 0.95)];
    this.seen.length = 0;
    for (let i = 0; i < 200; i++) this.sample();
  }

  private sample(): number {
    const rate = gflops(this.loop, 12);
    this.seen.push(rate);
    return rate;
  }

  /**
   * GFLOP/s of multiply-adds in registers, typical of the undisturbed samples: the separate multiply and add of simd128 settle
   * at 47 of 58 possible on Zen 4, and at 57 for moments, which a high percentile of all samples would take for the ceiling.
   */
  get roofline(): number {
    const s = [...this.seen].sort((a, b) => a - b);
    const calm = s.filter((v) => v > 0.75 * s[Math.floor(s.length * 0.99)]);
    const typical = calm.filter((v) => v < 1.05 * calm[calm.length >> 1]);
    return typical[Math.floor(typical.length * 0.95)];
  }

  /** Runs the cases in turn for `ms` milliseconds each, longer while the machine is disturbed. */
  measure(cases: readonly Case[], ms: number): Timing[] {
    const samples = cases.map(() => [] as { ns: number; roof: number }[]);
    const repeat = cases.map(({ run }) => {
      run();
      const t = performance.now();
      run();
      return Math.max(1, Math.round(0.4 / (performance.now() - t)));
    });
    const start = performance.now();
    let roof = this.roofline;
    const calm = (s: { roof: number }) => s.roof > 0.9 * roof;
    for (let round = 0; ; round++) {
      const spent = performance.now() - start;
      if (round > 4 && spent > ms * cases.length) {
        roof = this.roofline;
        if (spent > 4 * ms * cases.length || samples.every((s) => s.filter(calm).length >= 9)) break;
      }
      cases.forEach(({ run }, i) => {
        run();
        const before = this.sample();
        const t = performance.now();
        for (let n = repeat[i]; n > 0; n--) run();
        const ns = ((performance.now() - t) * 1e6) / repeat[i];
        samples[i].push({ ns, roof: Math.min(before, this.sample()) });
      });
    }
    return cases.map(({ name }, i) => {
      const all = samples[i].sort((a, b) => b.roof - a.roof);
      const kept = all.filter(calm).length;
      const used = all
        .slice(0, kept < 3 ? 5 : kept)
        .map((s) => s.ns)
        .sort((a, b) => a - b);
      return { name, median: used[used.length >> 1], best: Math.min(...all.map((s) => s.ns)), kept };
    });
  }
}

export const geomean = (values: readonly number[]): number =>
  Math.exp(values.reduce((s, v) => s + Math.log(v), 0) / values.length);
