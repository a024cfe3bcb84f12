// int8 products: groups of 4 with any inputs paired, and dense; verified in exact integers, then timed. Quantising the
// activations (dynamic, a scale for each token) is timed apart. --zeros 0.8,0.9
import { int8Calls, int8PanelBytes, int8ScaleBytes, quantizeCalls, scaleCalls } from '../src/kernel/int8.ts';
import { packInt8 } from '../src/pack/int8.ts';
import { referenceInt8, referenceQuantized, referenceScales } from '../src/reference/int8.ts';
import { ISAS, Machine, option, rng } from './support/machine.ts';
import { SHAPES } from './support/shapes.ts';
import { pruned } from './support/spmm.ts';
import { Clock, geomean } from './support/timing.ts';

const ms = Number(option('ms', '60'));
const levels = option('zeros', '0,0.8,0.9').split(',').map(Number);
const shapes = option('shapes', 'transformer,mobilenetv1')
  .split(',')
  .flatMap((s) => SHAPES[s]);

for (const isa of ISAS) {
  if (!option('isa', isa).includes(isa)) continue;
  const clock = new Clock(isa);
  const rates = new Map<number, number[]>();
  for (const [rows, cols, columns] of shapes) {
    const cells: string[] = [];
    for (const zeros of levels) {
      const machine = new Machine(isa);
      const w = pruned(rows, cols, 1 - zeros, 4);
      const weights = Int8Array.from(w, (v) => (v ? Math.round(v * 126) || 1 : 0));
      const scales = Float32Array.from({ length: rows }, (_, i) => (1 + (i % 7)) / 1000);
      const packed = packInt8({ weights, scales }, rows, cols, zeros ? 'group4' : 'dense');
      const r = rng(2);
      const x = Float32Array.from({ length: cols * columns }, r);
      // X in panels of 16, as a layer before would leave it.
      const stride = 64 * cols + 64;
      const panels16 = new Float32Array((stride / 4) * Math.ceil(columns / 16));
      x.forEach((v, i) => {
        const [k, p] = [Math.floor(i / columns), i % columns];
        panels16[(stride / 4) * (p >> 4) + 16 * k + (p & 15)] = v;
      });
      const a = { x: machine.put(panels16), xChannelStride: 64, xPanelStride: stride, channels: cols, columns };
      const at = machine.put(packed.data);
      const ys = 64 * rows + 64;
      const io = {
        scales: machine.alloc(int8ScaleBytes(columns)),
        panels: machine.alloc(int8PanelBytes(cols, columns)),
        y: machine.alloc(ys * Math.ceil(columns / 16)),
      };
      const quantize = machine.bind([
        ...scaleCalls(a, io.scales, 'token'),
        ...quantizeCalls(a, { ...io, pairs: !zeros }),
      ]);
      const to = { yPanelStride: ys, yChannelStride: 64, into: 'f32' as const, min: -1e30, max: 1e30 };
      const run = machine.bind(int8Calls(packed, at, { ...io, columns, ...to }));
      quantize();
      run();
      const s = referenceScales(x, cols, columns, 'token');
      const part = 8;
      const q = referenceQuantized(x, s, columns);
      const few = { weights: weights.subarray(0, part * cols), scales: scales.subarray(0, part) };
      const f32 = new Float32Array(machine.memory.buffer);
      referenceInt8(few, q, s, { rows: part, cols, columns }).forEach((want, i) => {
        const [row, p] = [Math.floor(i / columns), i % columns];
        const got = f32[(io.y + ys * (p >> 4) + 64 * row + 4 * (p & 15)) >> 2];
        if (got !== want) throw new Error(`Y[${row}][${p}] is ${got}, expected ${want}`);
      });
      const [t, u] = clock.measure(
        [
          { name: 'product', run },
          { name: 'quantise', run: quantize },
        ],
        ms,
      );
      const ops = 2 * packed.nonzeros * columns;
      rates.set(zeros, [...(rates.get(zeros) ?? []), ops / t.median]);
      cells.push(
        `${100 * zeros} %: ${(t.median / 1e6).toFixed(3)} ms ${(ops / t.median).toFixed(1)} GOP/s${t.kept < 3 ? '~' : ''} + ${(u.median / 1e6).toFixed(3)} ms`,
      );
    }
    console.log(`${rows}x${cols}x${columns}`.padEnd(16), cells.join(', '));
  }
  const line = levels.map((z) => `${100 * z} % ${geomean(rates.get(z)!).toFixed(1)}`).join(', ');
  console.log(`Node ${process.versions.node} ${isa}: geomean GOP/s on nonzeros, ${line}\n`);
}
