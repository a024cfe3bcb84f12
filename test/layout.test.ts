import { describe, expect, test } from 'vitest';
import type { KernelCall } from '../src/kernel/call.ts';
import {
  packPanelsCalls,
  packTokensCalls,
  transposeCalls,
  unpackPanelsCalls,
  unpackTokensCalls,
} from '../src/kernel/layout.ts';
import { packPanels, transpose } from '../src/reference/layout.ts';
import { Bench, ISAS } from './support/kernels.ts';

const SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 19, 31, 32, 33, 40, 49];
const LANES = [8, 16, 32] as const;
const CHANNELS = [0, 1, 2, 3, 4, 7, 8, 9, 17];

const run = (bench: Bench, calls: KernelCall[]) => {
  for (const { kernel, args } of calls) bench.exports[kernel](...args);
  bench.check();
};
// Distinct values, so that an element in the wrong place cannot pass.
const iota = (n: number) => Float32Array.from({ length: n }, (_, i) => i + 1);
const strideOf = (channels: number, lanes: number) => Math.ceil((4 * lanes * channels) / 64) * 64 + 64;
const filled = (bench: Bench, floats: number) => {
  const at = bench.alloc(4 * floats, 'output');
  bench.f32(at, floats).fill(Number.NaN);
  return at;
};

describe.each(ISAS)('layout %s', (isa) => {
  test.each(LANES)('plain <-> panels of %i, dead lanes and padding untouched', (lanes) => {
    const bench = new Bench(isa);
    for (const channels of CHANNELS)
      for (const pixels of SIZES) {
        bench.reset();
        const plain = iota(channels * pixels);
        const panelStride = strideOf(channels, lanes);
        const expected = packPanels(plain, channels, pixels, lanes, panelStride / 4);
        const x = bench.put(plain, 'plain');
        const y = filled(bench, expected.length);
        run(bench, packPanelsCalls({ x, y, channels, pixels, lanes, panelStride }));
        expect(bench.f32(y, expected.length)).toEqual(Float32Array.from(expected));
        const z = filled(bench, plain.length);
        run(bench, unpackPanelsCalls({ x: y, y: z, channels, pixels, lanes, panelStride }));
        expect(bench.f32(z, plain.length)).toEqual(plain);
      }
  });

  test.each(LANES)('tokens <-> panels of %i', (lanes) => {
    const bench = new Bench(isa);
    for (const features of CHANNELS)
      for (const tokens of SIZES) {
        bench.reset();
        const rows = iota(tokens * features);
        const panelStride = strideOf(features, lanes);
        const expected = packPanels(transpose(rows, tokens, features), features, tokens, lanes, panelStride / 4);
        const x = bench.put(rows, 'rows');
        const y = filled(bench, expected.length);
        run(bench, packTokensCalls({ x, y, tokens, features, lanes, panelStride }));
        expect(bench.f32(y, expected.length)).toEqual(Float32Array.from(expected));
        const z = filled(bench, rows.length);
        run(bench, unpackTokensCalls({ x: y, y: z, tokens, features, lanes, panelStride }));
        expect(bench.f32(z, rows.length)).toEqual(rows);
      }
  });

  test('transpose', () => {
    const bench = new Bench(isa);
    for (const rows of SIZES)
      for (const cols of SIZES) {
        bench.reset();
        const data = iota(rows * cols);
        const x = bench.put(data);
        const y = filled(bench, data.length);
        run(bench, transposeCalls({ x, y, rows, cols }));
        expect(bench.f32(y, data.length)).toEqual(Float32Array.from(transpose(data, rows, cols)));
      }
  });
});
