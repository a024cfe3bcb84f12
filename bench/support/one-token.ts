/** Our kernels as an engine of bench/peers/one-token.mjs. */
import { gemvCalls } from '../../src/kernel/dense.ts';
import { chooseInt8 } from '../../src/kernel/select-int8.ts';
import { spmvCalls, spmvScratch } from '../../src/kernel/spmv.ts';
import { packGemv } from '../../src/pack/dense.ts';
import { quantizeWeights } from '../../src/pack/quantize.ts';
import { packSpmv, type SpmvFormat } from '../../src/pack/spmv.ts';
import { packSpmvInt8 } from '../../src/pack/spmv-int8.ts';
import { type Isa, Machine } from './machine.ts';

const OPEN = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };

export function open(isa: Isa) {
  return {
    name: `sparsimd ${isa}`,
    load(weights: Float32Array, rows: number, cols: number, format: SpmvFormat | 'dense' | 'int8' | 'uint7') {
      const m = new Machine(isa);
      const io = { x: m.alloc(4 * cols), y: m.alloc(4 * rows), tokens: 1, ...OPEN };
      let calls: ReturnType<typeof spmvCalls>;
      if (format === 'dense') {
        const p = packGemv(weights, rows, cols);
        calls = gemvCalls(p, m.put(p.data), io);
      } else {
        const integers = format === 'int8' || format === 'uint7';
        const bits = format === 'uint7' ? 7 : 8;
        const int8 = () => {
          const q = quantizeWeights(weights, rows, cols);
          const { windows } = chooseInt8(isa, bits === 7 ? 'u7' : 'i16', q.weights, rows, cols, 1, true);
          return packSpmvInt8(q, rows, cols, undefined, windows);
        };
        const p = integers ? int8() : packSpmv(weights, rows, cols, format);
        const at = m.put(p.data);
        const input = { per: 'token', range: 'extremes', bits } as const;
        calls = spmvCalls(p, at, { ...io, scratch: m.alloc(spmvScratch(p, 1)), input });
      }
      const run = m.bind(calls);
      const [x, y] = [new Float32Array(m.memory.buffer, io.x, cols), new Float32Array(m.memory.buffer, io.y, rows)];
      return (input: Float32Array) => {
        x.set(input);
        run();
        return y; // a view: the answer stays in memory, as for the layer after it
      };
    },
  };
}
