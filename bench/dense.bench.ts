import { gemvCalls, matmulCalls } from '../src/kernel/dense.ts';
import { packGemv } from '../src/pack/dense.ts';
import { referenceGemv, referenceMatmul } from '../src/reference/dense.ts';
import { ISAS, Machine, option, rng } from './support/machine.ts';
import { benchSpmm } from './support/spmm.ts';
import { Clock } from './support/timing.ts';

benchSpmm(['dense'], 1, 1);

/** Checks a sample of `got` against the reference, and prints a line. */
function report(name: string, clock: Clock, flops: number, bytes: number, run: () => void): void {
  const [t] = clock.measure([{ name, run }], Number(option('ms', '100')));
  const share = ((100 * flops) / t.median / clock.roofline).toFixed(1);
  console.log(
    `${name.padEnd(36)} ${(t.median / 1e3).toFixed(1).padStart(9)} us ${(flops / t.median).toFixed(1).padStart(6)} GFLOP/s ` +
      `${share.padStart(5)} % of the roofline, ${(bytes / t.median).toFixed(1)} GB/s of weights`,
  );
}

function close(name: string, got: Float32Array, want: Float32Array, cols: number): void {
  const i = got.findIndex((g, j) => !(Math.abs(g - want[j]) <= 1e-5 * Math.sqrt(cols) + 1e-6));
  if (i >= 0) throw new Error(`${name}: output ${i} is ${got[i]}, expected ${want[i]}`);
}

for (const isa of ISAS) {
  if (!option('isa', isa).includes(isa) || option('only', '')) continue;
  const clock = new Clock(isa);
  const random = (n: number, seed: number) => {
    const r = rng(seed);
    return Float32Array.from({ length: n }, () => r());
  };
  for (const [rows, cols] of [
    [1000, 1024],
    [3072, 768],
    [4096, 4096],
  ]) {
    for (const tokens of [1, 4]) {
      const machine = new Machine(isa);
      const [w, x] = [random(rows * cols, 1), random(tokens * cols, 2)];
      const packed = packGemv(w, rows, cols);
      const at = machine.put(packed.data);
      const io = { x: machine.put(x), y: machine.alloc(tokens * rows * 4), tokens, min: -1e30, max: 1e30 };
      const run = machine.bind(gemvCalls(packed, at, io));
      run();
      const name = `gemv ${rows}x${cols}, ${tokens} tokens`;
      const got = new Float32Array(machine.memory.buffer, io.y, tokens * rows);
      close(name, got, referenceGemv(w, x, rows, cols, tokens), cols);
      report(name, clock, 2 * rows * cols * tokens, 4 * rows * cols, run);
    }
  }
  for (const [m, n, k] of [
    [128, 128, 64],
    [128, 768, 768],
    [197, 197, 64],
  ]) {
    const machine = new Machine(isa);
    const [a, b] = [random(m * k, 1), random(k * n, 2)];
    const io = { a: machine.put(a), b: machine.put(b), y: machine.alloc(m * n * 4), m, n, k };
    const run = machine.bind(matmulCalls(io));
    run();
    const name = `matmul ${m}x${n}x${k}`;
    close(name, new Float32Array(machine.memory.buffer, io.y, m * n), referenceMatmul(a, b, m, n, k), k);
    report(name, clock, 2 * m * n * k, 4 * n * k, run);
  }
  console.log();
}
