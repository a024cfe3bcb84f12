// Sampled dense-dense products of attention shapes, verified, then timed.
import { sddmmCalls } from '../src/kernel/sddmm.ts';
import { packPattern } from '../src/pack/sddmm.ts';
import { referenceSDDMM } from '../src/reference/sddmm.ts';
import { SparseMatrix } from '../src/sparse/matrix.ts';
import { ISAS, Machine, option, rng } from './support/machine.ts';
import { pruned } from './support/spmm.ts';
import { Clock } from './support/timing.ts';

for (const isa of ISAS) {
  if (!option('isa', isa).includes(isa)) continue;
  const clock = new Clock(isa);
  for (const [n, d, density] of [
    [1024, 64, 0.05],
    [1024, 64, 0.2],
    [4096, 64, 0.02],
    [784, 96, 0.1],
  ]) {
    const machine = new Machine(isa);
    const r = rng(4);
    const [a, b] = [0, 1].map(() => Float32Array.from({ length: n * d }, r));
    const csr = SparseMatrix.fromDense(pruned(n, n, density, 1), n, n).toCSR();
    const packed = packPattern(csr.rowPointers, csr.columnIndices);
    const io = { a: machine.put(a), b: machine.put(b), y: machine.alloc(4 * packed.entries), d, scale: 0.125 };
    const run = machine.bind(sddmmCalls(packed, machine.put(packed.data), io));
    run();
    const got = new Float32Array(machine.memory.buffer, io.y, packed.entries);
    referenceSDDMM(csr, a, b, d, 0.125).forEach((want, i) => {
      if (!(Math.abs(got[i] - want) < 1e-5)) throw new Error(`entry ${i} is ${got[i]}, expected ${want}`);
    });
    const [t] = clock.measure([{ name: 'sddmm', run }], Number(option('ms', '100')));
    const flops = 2 * d * packed.entries;
    console.log(
      `${n}x${n}x${d} ${(100 * density).toFixed(0)} %: ${(t.median / 1e6).toFixed(3)} ms ${(flops / t.median).toFixed(1)} GFLOP/s, ${((100 * flops) / t.median / clock.roofline).toFixed(0)} % of the roofline${t.kept < 3 ? '~' : ''}`,
    );
  }
  console.log(`Node ${process.versions.node} ${isa}, roofline ${clock.roofline.toFixed(1)} GFLOP/s\n`);
}
