// A batch of tokens with 1, 4 and 16 adapters: beside the product with W alone, and beside one merged matrix an adapter, whose
// tokens are then multiplied apart. And what it takes to merge and take out: time, bytes of weights that change hands.
// Options: --base dense,pruned  --layout tokens,features  --tokens 128,8,1  --ms 60  --isa relaxed
import { readFileSync } from 'node:fs';
import { Engine } from '../src/engine.ts';
import { Adapter } from '../src/sparse/adapter.ts';
import { SparseMatrix } from '../src/sparse/matrix.ts';
import { MergedWeights } from '../src/sparse/merged.ts';
import type { SpmmOperator } from '../src/sparse/operators.ts';
import { ISAS, option, rng } from './support/machine.ts';
import { pruned } from './support/spmm.ts';
import { type Case, Clock } from './support/timing.ts';

const SHAPES = [
  [768, 768],
  [3072, 768],
];
const r = rng(5);
const floats = (n: number, scale: number) => Float32Array.from({ length: n }, () => r() * scale);
const list = (name: string, otherwise: string) => option(name, otherwise).split(',');

const lora = (rows: number, cols: number, rank: number) =>
  Adapter.lora(floats(rank * cols, 1 / Math.sqrt(cols)), floats(rows * rank, 1 / rank), { rank, rows, cols, scale: 2 });

for (const isa of ISAS) {
  if (!option('isa', isa).includes(isa)) continue;
  const clock = new Clock(isa);
  const ms = Number(option('ms', '60'));
  const engine = await Engine.create({
    isa,
    wasm: readFileSync(`${option('wasm', 'dist/wasm')}/sparsimd.${isa}.wasm`),
  });
  console.log(`Node ${process.versions.node} ${isa}`);
  for (const [rows, cols] of SHAPES) {
    for (const kind of list('base', 'dense,pruned')) {
      const weights =
        kind === 'dense' ? floats(rows * cols, 1 / Math.sqrt(cols)) : pruned(rows, cols, 0.2, 4).map((v) => v / 12);
      const w = kind === 'dense' ? { data: weights, rows, cols } : SparseMatrix.fromDense(weights, rows, cols);
      for (const tokens of list('tokens', '128').map(Number)) {
        const x = floats(cols * tokens, 1);
        for (const layout of list('layout', 'tokens,features') as ('tokens' | 'features')[]) {
          using base = await engine.prepare(w, { columns: tokens, layout });
          const out = new Float32Array(rows * tokens);
          console.log(`${rows}x${cols} ${kind}, ${tokens} ${layout}`);
          for (const rank of [8, 16]) {
            for (const count of [1, 4, 16].filter((n) => n <= tokens)) {
              const adapters = Array.from({ length: count }, () => lora(rows, cols, rank));
              using op = await engine.prepare(w, { columns: tokens, layout, adapters });
              const ids = Int32Array.from({ length: tokens }, (_, i) => i % count);
              const each = tokens / count;
              // Tokens of an adapter already side by side: gathering them would come on top.
              const apart: { product: SpmmOperator; own: Float32Array; y: Float32Array }[] = [];
              for (const [n, adapter] of adapters.entries()) {
                const data = adapter.toDense();
                for (let i = 0; i < data.length; i++) data[i] += weights[i];
                const own = new Float32Array(cols * each);
                for (let k = 0; k < cols; k++) {
                  for (let q = 0; q < each; q++) {
                    const p = q * count + n;
                    if (layout === 'tokens') own[q * cols + k] = x[p * cols + k];
                    else own[k * each + q] = x[k * tokens + p];
                  }
                }
                const product = await engine.prepare({ data, rows, cols }, { columns: each, layout });
                apart.push({ product, own, y: new Float32Array(rows * each) });
              }
              const merged = () => {
                for (const { product, own, y } of apart) product.run(own, y);
              };
              op.run(x, ids, out);
              merged();
              for (let i = 0; i < out.length; i += 97) {
                const tall = layout === 'tokens';
                const [row, p] = tall ? [i % rows, Math.floor(i / rows)] : [Math.floor(i / tokens), i % tokens];
                const q = Math.floor(p / count);
                const want = apart[p % count].y[tall ? q * rows + row : row * each + q];
                if (!(Math.abs(out[i] - want) < 1e-3)) throw new Error(`y[${i}] is ${out[i]}, merged ${want}`);
              }
              const [alone, beside, each1] = clock.measure(
                [
                  { name: 'W alone', run: () => base.run(x, out) },
                  { name: 'beside', run: () => op.run(x, ids, out) },
                  { name: 'merged', run: merged },
                ] as Case[],
                ms,
              );
              const [b, m] = [beside, each1].map(
                (t) => `${(t.median / 1e6).toFixed(3)} ms (${(t.median / alone.median).toFixed(2)}x)`,
              );
              const KiB = (n: number) => `${Math.round(n / 1024)} KiB`;
              const bytes = `${KiB(op.weightBytes + op.adapterBytes)} beside ${KiB(apart.reduce((n, a) => n + a.product.weightBytes, 0))}`;
              const rough = Math.min(alone.kept, beside.kept, each1.kept) < 3 ? ' ~' : '';
              console.log(
                `  rank ${String(rank).padEnd(2)} ${String(count).padStart(2)} adapters: W alone ${(alone.median / 1e6).toFixed(3)} ms, adapted ${b}, merged apart ${m}; packed ${bytes}${rough}`,
              );
              for (const { product } of apart) product.dispose();
            }
          }
        }
      }
    }
  }

  for (const [rows, cols] of SHAPES) {
    // So many rows or columns hold as many numbers as rank 16.
    const weights = floats(rows * cols, 1 / Math.sqrt(cols));
    const numbers = 16 * (rows + cols);
    const some = (n: number) => Array.from({ length: n }, (_, i) => i);
    const [n, m] = [Math.round(numbers / cols), Math.round(numbers / rows)];
    const adapters: [string, Adapter][] = [
      ['LoRA, rank 16', lora(rows, cols, 16)],
      [`${n} rows`, Adapter.rows(some(n), floats(n * cols, 1), { rows, cols })],
      [`${m} columns`, Adapter.cols(some(m), floats(m * rows, 1), { rows, cols })],
      ['sparse', Adapter.sparse(SparseMatrix.fromDense(pruned(rows, cols, numbers / (rows * cols), 1), rows, cols))],
    ];
    const merged = new MergedWeights(weights, rows, cols);
    const toggle = (a: Adapter) => {
      merged.add(a);
      merged.remove(a);
    };
    using op = await engine.prepare({ data: weights, rows, cols }, { columns: 128, adapters: [] });
    const times = clock.measure(
      adapters.flatMap(([name, a]) => [
        { name: `${name}: merge and remove`, run: () => toggle(a) },
        { name: `${name}: packed and freed beside W`, run: () => op.remove(op.add(a)) },
      ]),
      ms,
    );
    console.log(`${rows}x${cols}, switching, ${(numbers / 1024).toFixed(0)} Ki numbers`);
    times.forEach((t, i) => {
      const kept =
        i % 2 ? '' : `, ${((4 * adapters[i >> 1][1].touched) / 1024).toFixed(0)} KiB of weights kept and put back`;
      console.log(`  ${t.name.padEnd(40)} ${(t.median / 1e6).toFixed(3)} ms${kept}${t.kept < 3 ? ' ~' : ''}`);
    });
  }
  engine.dispose();
}
