// DSFormer (dense x sparse) beside dense, SVD and 2:4 at equal numbers of weights: time and packed bytes of one operator, 128
// tokens in panels. Answers are checked against the materialised matrix.
import { readFileSync } from 'node:fs';
import { Engine } from '../src/engine.ts';
import { Composite, type Operand } from '../src/sparse/composite.ts';
import { SparseMatrix } from '../src/sparse/matrix.ts';
import { ISAS, option, rng } from './support/machine.ts';
import { Clock } from './support/timing.ts';

const TOKENS = 128;
const BLOCKS = 4;

const r = rng(5);
const dense = (rows: number, cols: number): Operand => ({
  data: Float32Array.from({ length: rows * cols }, () => r() / Math.sqrt(cols)),
  rows,
  cols,
});
/** So many nonzeros in every row, at random places. */
function fixed(rows: number, cols: number, each: number): SparseMatrix {
  const w = new Float32Array(rows * cols);
  for (let row = 0; row < rows; row++) {
    for (let n = 0; n < each; ) {
      const at = row * cols + Math.floor(((r() + 1) / 2) * cols);
      if (w[at] === 0) n++;
      w[at] = r() || 0.5;
    }
  }
  return SparseMatrix.fromDense(w, rows, cols);
}
function nm(rows: number, cols: number): SparseMatrix {
  const w = Float32Array.from({ length: rows * cols }, (_, i) => ((i * 7 + (i >> 3)) % 4 < 2 ? r() || 0.5 : 0));
  for (let i = 0; i < w.length; i += 4) for (let j = 0, n = 0; j < 4; j++) if (w[i + j] !== 0 && ++n > 2) w[i + j] = 0;
  return SparseMatrix.fromDense(w, rows, cols, { format: 'nm' });
}

for (const isa of ISAS) {
  if (!option('isa', isa).includes(isa)) continue;
  const clock = new Clock(isa);
  for (const [rows, cols] of [
    [768, 768],
    [3072, 768],
  ]) {
    const cases: { name: string; w: Operand }[] = [{ name: 'dense', w: dense(rows, cols) }];
    for (const ratio of [2, 2.8, 3.57]) {
      const budget = (rows * cols) / ratio;
      // A third of the weights in the bases, the rest in the combinations.
      const rank = Math.round(budget / 3 / cols);
      const bases = Array.from({ length: BLOCKS }, () => dense(rank, cols / BLOCKS));
      const each = Math.min(BLOCKS * rank, Math.round((budget - rank * cols) / rows));
      cases.push({ name: `DSFormer ${ratio}x`, w: Composite.denseSparse(fixed(rows, BLOCKS * rank, each), bases) });
      const k = Math.round(budget / (rows + cols));
      cases.push({ name: `SVD ${ratio}x`, w: Composite.lowRank(dense(rows, k), dense(k, cols)) });
      if (ratio === 2) cases.push({ name: '2:4 2x', w: nm(rows, cols) });
    }
    const engine = await Engine.create({
      isa,
      wasm: readFileSync(`${option('wasm', 'dist/wasm')}/sparsimd.${isa}.wasm`),
    });
    const x = Float32Array.from({ length: cols * TOKENS }, () => r());
    const runs: { name: string; bytes: number; run(): void }[] = [];
    for (const { name, w } of cases) {
      const op = await engine.prepare(w, { columns: TOKENS });
      const y = op.run(x);
      const effective = w instanceof Composite || w instanceof SparseMatrix ? w.toDense() : w.data;
      for (let i = 0; i < y.length; i += 997) {
        const [row, p] = [Math.floor(i / TOKENS), i % TOKENS];
        let sum = 0;
        for (let c = 0; c < cols; c++) sum += effective[row * cols + c] * x[c * TOKENS + p];
        if (!(Math.abs(y[i] - sum) < 1e-3)) throw new Error(`${name}: y[${i}] is ${y[i]}, expected ${sum}`);
      }
      runs.push({ name, bytes: op.weightBytes, run: () => op.execute() });
    }
    const times = clock.measure(runs, Number(option('ms', '60')));
    console.log(`${rows}x${cols}, ${TOKENS} tokens`);
    times.forEach((t, i) => {
      console.log(
        `  ${t.name.padEnd(16)} ${(t.median / 1e6).toFixed(3)} ms ${(times[0].median / t.median).toFixed(2)}x dense, ${(runs[i].bytes / 1024).toFixed(0)} KiB packed (${(runs[0].bytes / runs[i].bytes).toFixed(2)}x less)${t.kept < 3 ? ' ~' : ''}`,
      );
    });
  }
  console.log(`Node ${process.versions.node} ${isa}\n`);
}
