// Products whose cuts follow packed weights: those of few tokens and those of integers. As in split.test.ts, chunks that run in
// reverse order must leave the bytes that the whole call leaves.
import { describe, expect, test } from 'vitest';
import { numberToHalf } from '../src/half.ts';
import type { KernelCall } from '../src/kernel/call.ts';
import { int8Calls, int8Scratch } from '../src/kernel/int8.ts';
import { splitCalls } from '../src/kernel/split.ts';
import { cutByBlocks } from '../src/kernel/split-packed.ts';
import { spmvCalls, spmvScratch } from '../src/kernel/spmv.ts';
import { VARIANTS } from '../src/kernel/variants.ts';
import { type Int8Format, packInt8 } from '../src/pack/int8.ts';
import { type Affine, type Dynamic, quantizeWeights } from '../src/pack/quantize.ts';
import { type PackedSpmv, packSpmv, packSpmvHalf } from '../src/pack/spmv.ts';
import { type Int8Windows, packSpmvInt8, packSpmvInt8Wide, WINDOWS } from '../src/pack/spmv-int8.ts';
import { Bench, ISAS, randf, rng } from './support/kernels.ts';
import { check, covered, scratchBlock } from './support/split.ts';

/** Weights of which the first rows have most: equal numbers of rows are not equal work. */
function uneven(rows: number, cols: number, density: number, seed = 1): Float32Array {
  const keep = rng(seed + 1);
  return randf(rows * cols, seed).map((v, i) => {
    const share = density * (i / cols < rows / 4 ? 2.5 : 0.5);
    return (keep() + 1) / 2 < share ? v : 0;
  });
}

type Packer = (w: Float32Array, rows: number, cols: number, bias: Float32Array) => PackedSpmv;
const PACKERS: Record<string, Packer> = {
  f32_group16_spmv: (w, rows, cols, bias) => packSpmv(w, rows, cols, 'group16', bias),
  f32_group8_spmv: (w, rows, cols, bias) => packSpmv(w, rows, cols, 'group8', bias),
  f32_group4_spmv: (w, rows, cols, bias) => packSpmv(w, rows, cols, 'group4', bias),
  f32_window_spmv: (w, rows, cols, bias) => packSpmv(w, rows, cols, 'window', bias),
  f16_group16_spmv: (w, rows, cols, bias) => packSpmvHalf(Uint16Array.from(w, numberToHalf), rows, cols, bias),
  i8_window_f32spmv: (w, rows, cols, bias) => packSpmvInt8Wide(quantizeWeights(w, rows, cols), rows, cols, bias),
  ...Object.fromEntries(
    (Object.keys(WINDOWS) as Int8Windows[]).map((windows): [string, Packer] => [
      WINDOWS[windows].kernel,
      (w, rows, cols, bias) => packSpmvInt8(quantizeWeights(w, rows, cols), rows, cols, bias, windows, 1),
    ]),
  ),
};
/** Those of which a module has the kernel. */
const packersOf = (isa: string) =>
  Object.keys(PACKERS).filter((kernel) => (VARIANTS.find((v) => v.name === kernel)!.isa ?? isa) === isa);

function fewCalls(b: Bench, packed: PackedSpmv, tokens: number): KernelCall[] {
  const { rows, cols } = packed;
  const at = b.put(packed.data);
  const x = b.put(randf(tokens * cols, 7));
  const scratch = scratchBlock(b, spmvScratch(packed, tokens));
  const input: Dynamic | undefined = packed.kernel.includes('q7') ? { ...PER_TOKEN, bits: 7 } : undefined;
  return spmvCalls(packed, at, { x, y: b.alloc(4 * tokens * rows), tokens, scratch, min: -1, max: 1, input });
}

const PER_TOKEN: Dynamic = { per: 'token', range: 'magnitude' };

interface Layer {
  rows: number;
  cols: number;
  columns: number;
  format?: Int8Format;
  activations?: 'i16' | 'u7';
  input?: Dynamic | Affine;
  output?: Affine;
  source?: 'plain' | 'panels' | 'tokens';
  into?: 'f32' | 'plain' | 'tokens' | 'panels' | 'bytes';
  scratch?: number;
  seed?: number;
}

function layerCalls(b: Bench, l: Layer): KernelCall[] {
  const { rows, cols, columns, format = 'group4', activations = 'i16', source = 'panels', into = 'f32' } = l;
  const q = quantizeWeights(uneven(rows, cols, 0.3, l.seed), rows, cols);
  const packed = packInt8(q, rows, cols, { format, activations, ...l, input: l.input ?? PER_TOKEN, bias: randf(rows) });
  const at = b.put(packed.data);
  const panels = Math.ceil(columns / 16);
  const x = b.put(randf(panels * 16 * cols, 3));
  const from = {
    plain: { x, xChannelStride: 4 * columns, xPanelStride: 64 },
    panels: { x, xChannelStride: 64, xPanelStride: 64 * cols },
    tokens: { x, xTokenStride: 4 * cols },
  }[source];
  const need = int8Scratch(packed, columns);
  const scratch = l.scratch ?? scratchBlock(b, need.panels + need.lanes + need.sums);
  const io = { ...from, columns, scratch };
  if (into === 'f32' || into === 'plain') {
    const plain = into === 'plain';
    const y = b.alloc(plain ? 4 * rows * columns : panels * rows * 64, 'Y');
    const to = plain
      ? { yPanelStride: 64, yChannelStride: 4 * columns }
      : { yPanelStride: 64 * rows, yChannelStride: 64 };
    return int8Calls(packed, at, { ...io, into: 'f32', y, ...to, min: -1, max: 1 });
  }
  if (into === 'tokens') {
    const y = b.alloc(4 * rows * columns, 'Y');
    return int8Calls(packed, at, { ...io, into, y, yTokenStride: 4 * rows, min: -1, max: 1 });
  }
  const size = into === 'panels' ? 16 : 8;
  const y = b.alloc(Math.ceil(columns / 8) * size * rows, 'Y');
  return int8Calls(packed, at, { ...io, into, y, yPanelStride: size * rows, yChannelStride: size });
}

describe.each(ISAS)('%s', (isa) => {
  test.each(packersOf(isa))('%s: blocks of outputs, ragged', (kernel) => {
    for (const [rows, cols, tokens] of [
      [1003, 700, 1],
      [517, 1300, 2],
      [260, 900, 5],
    ]) {
      // What threads get in each other's way at is cut from more work on.
      const height = kernel.includes('group') ? rows : /signs|quads/.test(kernel) ? 5 * rows : 3 * rows;
      const w = uneven(height, cols, 0.4);
      const packed = PACKERS[kernel](w, height, cols, randf(height, 5));
      for (const threads of [2, 3]) check(isa, (b) => fewCalls(b, packed, tokens), threads);
    }
    expect(covered).toContain(kernel);
  });

  test('more inputs than 16 bits count: a list for every 65536', () => {
    const [rows, cols] = [200, 65536 + 300];
    const w = uneven(rows, cols, 0.05);
    for (const kernel of packersOf(isa)) {
      check(isa, (b) => fewCalls(b, PACKERS[kernel](w, rows, cols, randf(rows, 5)), 1));
    }
  });

  test('many tokens: quantised and cut into planes by several threads', () => {
    const w = uneven(120, 2048, 0.1);
    for (const kernel of ['f32_window_spmv', 'i8_window_spmv']) {
      check(isa, (b) => fewCalls(b, PACKERS[kernel](w, 120, 2048, randf(120, 5)), 40), 2, 2);
    }
  });

  const kinds = isa === 'relaxed' ? (['i16', 'u7'] as const) : (['i16'] as const);
  const kernels = (['dense', 'csr', 'group4'] as const).flatMap((format) => kinds.map((k) => [format, k] as const));

  test.each(kernels)('int8 %s %s: columns, every layout of X and Y', (format, activations) => {
    for (const [rows, cols, columns] of [
      [65, 70, 500],
      [131, 257, 197],
      [66, 3300, 201],
    ]) {
      for (const source of ['plain', 'panels', 'tokens'] as const) {
        const into = source === 'panels' ? 'f32' : source;
        check(isa, (b) => layerCalls(b, { rows, cols, columns, format, activations, source, into }));
      }
      const output = { scale: 0.01, zeroPoint: 3, type: 's8' } as const;
      for (const into of ['panels', 'bytes'] as const) {
        check(isa, (b) => layerCalls(b, { rows, cols, columns, format, activations, output, into }));
      }
    }
  });

  test.each(kernels)('int8 %s %s: few columns, by output channels over all blocks of inputs', (format, activations) => {
    for (const [rows, cols, columns] of [
      [1027, 900, 5],
      [403, 4100, 17],
      [1030, 500, 35],
    ]) {
      for (const into of ['f32', 'plain', 'tokens'] as const) {
        check(isa, (b) => layerCalls(b, { rows, cols, columns, format, activations, into, source: 'plain' }), 2);
      }
      const output = { scale: 0.01, zeroPoint: 3, type: 's8' } as const;
      check(isa, (b) => layerCalls(b, { rows, cols, columns, format, activations, output, into: 'panels' }), 2);
    }
  });

  test('int8: ranges of each token and of the tensor, known scales', () => {
    const inputs = [
      ...(['token', 'tensor'] as const).flatMap((per) =>
        (['magnitude', 'extremes'] as const).map((range) => ({ per, range })),
      ),
      { scale: 0.01, zeroPoint: -3, type: 's8' } as const,
    ];
    for (const input of inputs) {
      for (const source of ['panels', 'tokens'] as const) {
        check(isa, (b) => layerCalls(b, { rows: 131, cols: 257, columns: 197, input, source }));
      }
    }
  });

  test('int8: a chain, and layers that use scratch memory again in another shape', () => {
    // What a chunk of one layer reads, a chunk of the next would overwrite: they are phases.
    const again = (b: Bench) => {
      const scratch = scratchBlock(b, 1 << 23);
      const columns = 200;
      return [
        ...layerCalls(b, { rows: 40, cols: 1700, columns, scratch, seed: 1 }),
        ...layerCalls(b, { rows: 90, cols: 3300, columns, scratch, seed: 2 }),
        ...layerCalls(b, { rows: 200, cols: 300, columns, scratch, seed: 3 }),
      ];
    };
    check(isa, again, 3, 3);
    // By output channels: the sums of one are not the other's, so they are two phases.
    const twice = (b: Bench) => {
      const scratch = scratchBlock(b, 1 << 22);
      const calls = [1, 2].flatMap((seed) => layerCalls(b, { rows: 400, cols: 3300, columns: 20, scratch, seed }));
      return calls.filter((c) => !/range|quantize/.test(c.kernel));
    };
    check(isa, twice, 3, 2);
    check(isa, (b) => {
      const [cols, mid, rows, columns] = [200, 400, 300, 203];
      const hidden = { scale: 0.01, zeroPoint: 3, type: 's8' } as const;
      const first = layerCalls(b, { rows: mid, cols, columns, output: hidden, into: 'panels' });
      const panels = first[first.length - 1].args[3];
      const second = layerCalls(b, { rows, cols: mid, columns, input: hidden });
      return [...first, ...second.slice(1).map((c) => ({ ...c, args: c.args.map((v, i) => (i === 0 ? panels : v)) }))];
    });
  });
});

test('every such kernel was cut', () => {
  const here = VARIANTS.filter((v) => !v.isa || ISAS.includes(v.isa));
  const names = here.filter((v) => v.op === 'qspmm' || v.op === 'spmv').map((v) => v.name);
  const quantizing = ['panels', 'tokens'].flatMap((k) => [`i8_${k}_range`, `i8_${k}_quantize`]);
  expect([...names, ...quantizing].filter((k) => !covered.has(k))).toEqual([]);
  expect(cutByBlocks().filter((k) => !covered.has(k) && names.includes(k))).toEqual([]);
  expect(cutByBlocks().filter((k) => !VARIANTS.some((v) => v.name === k))).toEqual([]);
});

test('int8: one layer is one phase, whatever its blocks of inputs', () => {
  for (const [rows, cols, columns] of [
    [66, 3300, 201],
    [403, 4100, 17],
  ]) {
    const b = new Bench('simd128');
    const view = (at: number, bytes: number) => new Uint8Array(b.memory.buffer, at, bytes);
    const calls = layerCalls(b, { rows, cols, columns }).filter((c) => !/range|quantize/.test(c.kernel));
    expect(calls.length).toBeGreaterThan(2);
    expect(splitCalls(calls, { threads: 2, view, scratch: () => 1 << 20 }).length).toBe(1);
  }
});

test('int8: who finds the ranges of a chunk has memory of its own', () => {
  for (const source of ['panels', 'tokens'] as const) {
    const b = new Bench('simd128');
    const view = (at: number, bytes: number) => new Uint8Array(b.memory.buffer, at, bytes);
    const calls = layerCalls(b, { rows: 131, cols: 257, columns: 800, source });
    const [phase] = splitCalls(calls, { threads: 3, view, scratch: () => 1 << 20 });
    const places = phase.map((chunk) => chunk[0].args[chunk[0].args.length - 1]);
    expect(phase.map((chunk) => chunk[0].kernel)).toEqual(places.map(() => `i8_${source}_range`));
    expect(places).toEqual(places.map((_, i) => (1 << 20) + 64 * i));
  }
});

test('calls that are not worth it, and weights that are not packed, stay whole', () => {
  const b = new Bench('simd128');
  const view = (at: number, bytes: number) => new Uint8Array(b.memory.buffer, at, bytes);
  const split = (calls: KernelCall[]) => splitCalls(calls, { threads: 4, view, scratch: () => 0 });
  const small = fewCalls(b, packSpmv(uneven(40, 40, 0.3), 40, 40, 'window'), 1);
  expect(split(small)).toEqual([[small]]);
  const packed = packSpmv(uneven(400, 900, 0.3), 400, 900, 'group4');
  const junk = fewCalls(b, packed, 1);
  view(junk[0].args[4], packed.bytes).fill(0xff);
  expect(split(junk)).toEqual([[junk]]);
  const layer = layerCalls(b, { rows: 130, cols: 600, columns: 9 });
  const product = layer[layer.length - 1];
  for (const fill of [0, 1, 0xff]) {
    view(product.args[8], product.args[9] - product.args[8]).fill(fill);
    expect(split(layer)).toEqual([[layer]]);
  }
});
