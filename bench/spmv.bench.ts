// Few tokens: node bench/run.mjs spmv [--shapes 3072x768,…] [--tokens 1,2,4,8] [--zeros 0.7,0.8,0.9] [--only group16] [--isa …]
// [--layers 120: so many copies of the weights in turn, which no cache holds, as in a model]
// Every answer is checked. GFLOP/s on the nonzeros and as if dense; GB/s of packed weights, beside what the engine reads from
// a buffer of that size; ratio to our dense kernel, each with its weights in whatever cache holds them.
import { halfToNumber, numberToHalf } from '../src/half.ts';
import { gemvCalls } from '../src/kernel/dense.ts';
import { spmvCalls, spmvScratch } from '../src/kernel/spmv.ts';
import { packGemv } from '../src/pack/dense.ts';
import { quantizeWeights } from '../src/pack/quantize.ts';
import { type PackedSpmv, packSpmv, packSpmvHalf, type SpmvFormat } from '../src/pack/spmv.ts';
import { type Int8Windows, packSpmvInt8, packSpmvInt8Wide } from '../src/pack/spmv-int8.ts';
import { referenceSpmv, referenceSpmvInt8 } from '../src/reference/spmv.ts';
import { readBandwidth } from './support/bandwidth.ts';
import { ISAS, Machine, option, rng } from './support/machine.ts';
import { pruned } from './support/spmm.ts';
import { Clock } from './support/timing.ts';

const ms = Number(option('ms', '60'));
const list = (name: string, otherwise: string) => option(name, otherwise).split(',');
const SHAPES = list('shapes', '3072x768,768x3072,1000x1024,4096x4096').map((s) => s.split('x').map(Number));
const layers = Number(option('layers', '1'));
/** A product with the next copy of the weights: one a time, since long runs find no quiet moment. */
const inTurn = (m: Machine, data: Uint8Array, bind: (at: number) => () => void): (() => void) => {
  const runs = Array.from({ length: layers }, () => bind(m.put(data)));
  let next = 0;
  return () => runs[next++ % layers]();
};
const LIMITS = { min: -1e30, max: 1e30 };
/** Layouts of int8 weights: `quads` on activations of 7 bits. */
const layoutsOf = (isa: string): Int8Windows[] =>
  isa === 'relaxed' ? ['pairs', 'bytes', 'signs', 'quads'] : ['pairs', 'bytes'];
/** Rows that share their zeros. */
const SHARED: Record<SpmvFormat, number> = { group16: 16, group8: 8, group4: 4, window: 1 };

for (const isa of ISAS) {
  if (!list('isa', isa).includes(isa)) continue;
  const clock = new Clock(isa);
  const int8 = layoutsOf(isa).map((windows) => `int8 ${windows} window`);
  console.log(`Node ${process.versions.node} ${isa}, roofline ${clock.roofline.toFixed(1)} GFLOP/s`);
  for (const [rows, cols] of SHAPES) {
    for (const tokens of list('tokens', '1,2,4,8').map(Number)) {
      const random = rng(2);
      const x = Float32Array.from({ length: tokens * cols }, () => random());
      const io = (m: Machine) => ({ x: m.put(x), y: m.alloc(tokens * rows * 4), tokens, ...LIMITS });
      const dense = new Machine(isa);
      const d = packGemv(pruned(rows, cols, 1, 1), rows, cols);
      const place = io(dense);
      const denseRun = inTurn(dense, d.data, (at) => dense.bind(gemvCalls(d, at, place)));
      for (const zeros of list('zeros', '0.7,0.8,0.9').map(Number)) {
        const cases = [{ name: 'dense', run: denseRun, packed: undefined as PackedSpmv | undefined }];
        for (const name of ['group16', 'group8', 'group4', 'window', 'f16 group16', ...int8, 'int8 f32 window']) {
          if (!name.includes(option('only', ''))) continue;
          const format = name.split(' ').pop() as SpmvFormat;
          const w = pruned(rows, cols, 1 - zeros, SHARED[format]);
          const q = name.startsWith('int8') ? quantizeWeights(w, rows, cols) : undefined;
          const windows = layoutsOf(isa).find((layout) => name.includes(layout));
          const bits = windows === 'quads' ? 7 : 8;
          const half = name.startsWith('f16') ? Uint16Array.from(w, numberToHalf) : undefined;
          if (half) w.set(Float32Array.from(half, halfToNumber));
          const packed = q
            ? windows
              ? packSpmvInt8(q, rows, cols, undefined, windows)
              : packSpmvInt8Wide(q, rows, cols)
            : half
              ? packSpmvHalf(half, rows, cols)
              : packSpmv(w, rows, cols, format);
          const m = new Machine(isa);
          const input = { per: 'token', range: 'extremes', bits } as const;
          const place = { ...io(m), scratch: m.alloc(spmvScratch(packed, tokens)) };
          const run = inTurn(m, packed.data, (at) => m.bind(spmvCalls(packed, at, { ...place, input })));
          run();
          const layer = { rows, cols, tokens };
          const exact = q ? Float32Array.from(q.weights, (v, i) => v * q.scales[Math.floor(i / cols)]) : w;
          const want =
            packed.type === 'i8' && q
              ? referenceSpmvInt8(q.weights, q.scales, x, layer)
              : referenceSpmv(exact, x, layer);
          const got = new Float32Array(m.memory.buffer, place.y, tokens * rows);
          // A step of 7 bits is 1 / 63, of activations from -1 to 1.
          const error = bits === 7 ? 1e-2 : 1e-5;
          const i = got.findIndex((g, j) => !(Math.abs(g - want[j]) <= error * Math.sqrt(cols) + 1e-6));
          if (i >= 0) throw new Error(`${name} ${rows}x${cols}: output ${i} is ${got[i]}, expected ${want[i]}`);
          cases.push({ name, run, packed });
        }
        // One after the other: in turn, they would push each other's weights out of the cache, those of dense first.
        const times = cases.flatMap((c) => clock.measure([c], ms));
        times.forEach((t, i) => {
          const { packed } = cases[i];
          if (!packed && zeros !== Number(list('zeros', '0.7')[0])) return;
          const bytes = packed?.bytes ?? d.bytes;
          const nonzeros = packed?.nonzeros ?? rows * cols;
          console.log(
            `${rows}x${cols}`.padEnd(10),
            `${tokens} tok`,
            `${packed ? (100 * zeros).toFixed(0) : 0} %`.padStart(5),
            t.name.padEnd(15),
            `${(t.median / 1e3).toFixed(1).padStart(8)} us${t.kept < 3 ? '~' : ' '}`,
            `${((2 * tokens * nonzeros) / t.median).toFixed(1).padStart(6)} GFLOP/s on nonzeros`,
            `${((2 * tokens * rows * cols) / t.median).toFixed(1).padStart(6)} as if dense`,
            `${(bytes / t.median).toFixed(1).padStart(6)} of ${readBandwidth(isa, clock, layers * bytes, 20)
              .toFixed(0)
              .padStart(3)} GB/s`,
            `${(bytes / rows / cols).toFixed(2)} B/weight`,
            `${(times[0].median / t.median).toFixed(2).padStart(6)}x dense`,
          );
        });
      }
    }
  }
  console.log();
}
