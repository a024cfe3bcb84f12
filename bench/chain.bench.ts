// A feed-forward block in int8, W2 gelu(W1 x + b), its layers in groups of 4: as one chain, whose activations between the layers are
// integers, beside two operators with GELU between them in f32. Both are compared with each other, as far as 8 bits agree.
// --zeros 0.8  --tokens 128
import { readFileSync } from 'node:fs';
import { Engine } from '../src/engine.ts';
import { unaryCalls } from '../src/kernel/pointwise.ts';
import { SparseMatrix } from '../src/sparse/matrix.ts';
import { ISAS, option, rng } from './support/machine.ts';
import { pruned } from './support/spmm.ts';
import { Clock } from './support/timing.ts';

const zeros = Number(option('zeros', '0.8'));
const columns = Number(option('tokens', '128'));
const gelu = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

for (const isa of ISAS) {
  if (!option('isa', isa).includes(isa)) continue;
  const clock = new Clock(isa);
  const wasm = readFileSync(`${option('wasm', 'dist/wasm')}/sparsimd.${isa}.wasm`);
  const engine = await Engine.create({ isa, wasm });
  for (const [inner, outer] of [
    [1024, 256],
    [3072, 768],
  ]) {
    const r = rng(3);
    const make = (rows: number, cols: number) =>
      SparseMatrix.fromDense(
        pruned(rows, cols, 1 - zeros, 4).map((v) => (2 * v) / Math.sqrt(cols * (1 - zeros))),
        rows,
        cols,
        { dtype: 'int8' },
      );
    const [w1, w2] = [make(inner, outer), make(outer, inner)];
    const x = Float32Array.from({ length: outer * columns }, () => r());
    const layout = 'tokens';
    const a = await engine.prepare(w1, { columns, layout, activations: 'int8' });
    const b = await engine.prepare(w2, { columns, layout, activations: 'int8' });
    const hidden = a.run(x);
    const most = hidden.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    const top = hidden.reduce((m, v) => Math.max(m, gelu(v)), 0);
    const low = -0.17; // the least value of GELU
    const scale = (top - low) / 255;
    const chain = await engine.prepareInt8(
      [
        { w: w1, activation: { f: gelu, input: { type: 'int8', scale: most / 127, zeroPoint: 0 } } },
        { w: w2, input: { type: 'uint8', scale, zeroPoint: Math.round(-low / scale) } },
      ],
      { columns, layout },
    );
    const at = engine.arena.alloc(4 * inner * columns);
    const middle = engine.bind(unaryCalls('gelutanh', { x: at, y: at, n: inner * columns }));
    const apart = () => {
      a.input.set(x);
      a.execute();
      engine.arena.view('float32', at, inner * columns).set(a.output);
      middle();
      b.input.set(engine.arena.view('float32', at, inner * columns));
      b.execute();
    };
    const together = () => {
      chain.input.set(x);
      chain.execute();
    };
    apart();
    together();
    const [one, two] = [b.output, chain.output];
    const power = one.reduce((s, v) => s + v * v, 0);
    const error = Math.sqrt(one.reduce((s, v, i) => s + (v - two[i]) ** 2, 0) / power);
    if (!(error < 0.05)) throw new Error(`the chain is ${error} off`);
    const [t1, t2] = clock.measure(
      [
        { name: 'apart', run: apart },
        { name: 'chain', run: together },
      ],
      Number(option('ms', '300')),
    );
    const giga = 4 * inner * outer * columns * (1 - zeros);
    const ms = [t1, t2].map((t) => (t.median / 1e6).toFixed(3));
    console.log(
      `${isa} ${outer}-${inner}-${outer}, ${columns} tokens, ${100 * zeros} %: two operators and GELU ${ms[0]} ms, one chain ${ms[1]} ms, ${(t1.median / t2.median).toFixed(2)}x, ${(giga / t2.median).toFixed(0)} GOP/s on nonzeros, all included; ${(100 * error).toFixed(1)} % apart`,
    );
    for (const op of [a, b, chain]) op.dispose();
    engine.arena.release(at);
  }
}
