import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { halfToNumber, numberToHalf } from '../src/half.ts';
import { chooseFew } from '../src/kernel/few.ts';
import { spmvCalls, spmvScratch } from '../src/kernel/spmv.ts';
import { type Dynamic, quantizeWeights } from '../src/pack/quantize.ts';
import { countSpmv, type PackedSpmv, packSpmv, packSpmvHalf, type SpmvFormat } from '../src/pack/spmv.ts';
import { type Int8Windows, packSpmvInt8, packSpmvInt8Wide } from '../src/pack/spmv-int8.ts';
import { unpackSpmv, unpackSpmvHalf, unpackSpmvInt8, validateSpmv } from '../src/pack/spmv-read.ts';
import { referenceInt8, referenceQuantized, referenceRange, referenceSums } from '../src/reference/int8.ts';
import { type Layer, referenceQuantize, referenceSpmv, referenceSpmvInt8 } from '../src/reference/spmv.ts';
import { Bench, ISAS, randf, rng } from './support/kernels.ts';
import { expectClose, tolerance } from './support/spmm.ts';

const FORMATS: SpmvFormat[] = ['group16', 'group8', 'group4', 'window'];

/** [rows][cols] with a random share of nonzeros. */
function pruned(rows: number, cols: number, density: number, seed: number): Float32Array {
  const [keep, value] = [rng(seed), rng(seed + 50)];
  return Float32Array.from({ length: rows * cols }, () => ((keep() + 1) / 2 < density ? value() || 0.5 : 0));
}

const integers = (w: Float32Array): Int8Array => Int8Array.from(w, (v) => (v && Math.trunc(v * 127)) || Math.sign(v));

/** Byte for byte; vitest's own comparison takes seconds for so many. */
const same = (a: Float32Array | Int8Array, b: Float32Array | Int8Array): boolean =>
  Buffer.from(a.buffer).equals(Buffer.from(b.buffer));

/** Y[tokens][rows]. Throws when a kernel touched bytes it does not own. */
function run(bench: Bench, p: PackedSpmv, x: Float32Array, layer: Layer, input?: Dynamic) {
  const { tokens, min = -Infinity, max = Infinity } = layer;
  bench.reset();
  const at = bench.put(p.data, 'weights');
  const io = { x: bench.put(x, 'X'), y: bench.alloc(tokens * p.rows * 4, 'Y'), tokens, min, max };
  const scratch = bench.alloc(spmvScratch(p, tokens), 'scratch');
  // What a window reads past the last input must not matter.
  new Uint8Array(bench.memory.buffer, scratch, spmvScratch(p, tokens)).fill(0xff);
  for (const { kernel, args } of spmvCalls(p, at, { ...io, scratch, input })) bench.exports[kernel](...args);
  bench.check();
  return bench.f32(io.y, tokens * p.rows).slice();
}

/** As DynamicQuantizeLinear, in 7 bits for the kernel that wants them. */
const inputFor = (windows: Int8Windows): Dynamic => ({
  ...{ per: 'token', range: 'extremes' },
  bits: windows === 'quads' ? 7 : 8,
});

const SIZES = fc.record({
  rows: fc.integer({ min: 0, max: 40 }),
  cols: fc.integer({ min: 0, max: 70 }),
  tokens: fc.integer({ min: 1, max: 9 }),
  density: fc.constantFrom(0, 0.02, 0.1, 0.3, 0.6, 1),
  seed: fc.integer({ min: 1, max: 1000 }),
});

describe.each(ISAS)('%s', (isa) => {
  const bench = new Bench(isa);
  const layouts: Int8Windows[] = isa === 'relaxed' ? ['pairs', 'bytes', 'signs', 'quads'] : ['pairs', 'bytes'];
  const exact8 = layouts.filter((windows) => windows !== 'quads');

  test.each(FORMATS)('f32 %s: ragged sizes, any density, one to nine tokens, bias and clamp', (format) => {
    fc.assert(
      fc.property(SIZES, ({ rows, cols, tokens, density, seed }) => {
        const w = pruned(rows, cols, density, seed);
        const x = randf(tokens * cols, seed + 1);
        const layer = { rows, cols, tokens, bias: randf(rows, seed + 2), min: -1, max: 1.5 };
        const packed = packSpmv(w, rows, cols, format, layer.bias);
        validateSpmv(packed);
        expect(unpackSpmv(packed)).toEqual(w);
        expectClose(run(bench, packed, x, layer), referenceSpmv(w, x, layer), tolerance(cols));
      }),
      { numRuns: 150 },
    );
  });

  test('f16: ragged sizes, any density, one to nine tokens', () => {
    fc.assert(
      fc.property(SIZES, ({ rows, cols, tokens, density, seed }) => {
        const halves = Uint16Array.from(pruned(rows, cols, density, seed), numberToHalf);
        const w = Float32Array.from(halves, halfToNumber);
        const x = randf(tokens * cols, seed + 1);
        const layer = { rows, cols, tokens, bias: randf(rows, seed + 2), min: -1, max: 1.5 };
        const packed = packSpmvHalf(halves, rows, cols, layer.bias);
        validateSpmv(packed);
        expect(unpackSpmvHalf(packed)).toEqual(halves);
        expectClose(run(bench, packed, x, layer), referenceSpmv(w, x, layer), tolerance(cols));
      }),
      { numRuns: 60 },
    );
  });

  test('f16: every finite half is exact, subnormal ones too', () => {
    const halves = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((h) => (h & 0x7c00) !== 0x7c00);
    const packed = packSpmvHalf(halves, halves.length, 1);
    const y = run(bench, packed, new Float32Array([1]), { rows: halves.length, cols: 1, tokens: 1 });
    halves.forEach((h, i) => {
      if (y[i] !== halfToNumber(h)) throw new Error(`0x${h.toString(16)} is ${y[i]}`);
    });
    expect(y.length).toBe(2 * 31 * 1024);
  });

  test.each(layouts)('int8 %s: exact integers', (windows) => {
    fc.assert(
      fc.property(SIZES, ({ rows, cols, tokens, density, seed }) => {
        const w = integers(pruned(rows, cols, density, seed));
        // Steps of 1 from -50 to 205, or 77: scale 1, zero point 50, and products whose sums are exact in f32.
        const next = rng(seed);
        const top = windows === 'quads' ? 77 : 205;
        const x = Float32Array.from({ length: tokens * cols }, (_, i) =>
          i % cols === 0 ? -50 : i % cols === 1 ? top : Math.trunc(next() * (i % 3 ? 50 : top)),
        ).map((v) => Math.max(v, -50));
        const scales = new Float32Array(rows).fill(0.5);
        const layer = {
          rows,
          cols,
          tokens,
          bias: randf(rows, 3).map((v) => Math.round(v * 64)),
          min: -5000,
          max: 90000,
        };
        const packed = packSpmvInt8({ weights: w, scales }, rows, cols, layer.bias, windows);
        validateSpmv(packed);
        expect(unpackSpmvInt8(packed)).toEqual({ weights: w, scales });
        const got = run(bench, packed, x, layer, inputFor(windows));
        if (cols < 2) return;
        const dequantized = referenceSpmv(
          w,
          x.map((v) => v / 2),
          layer,
        );
        expect(got).toEqual(dequantized);
      }),
      { numRuns: 200 },
    );
  });

  test.each(exact8)('int8 %s: activations of any range, scales a row', (windows) => {
    for (let seed = 1; seed < 40; seed++) {
      const [rows, cols, tokens] = [1 + (seed % 19), 1 + seed * 3, 1 + (seed % 4)];
      const { weights, scales } = quantizeWeights(pruned(rows, cols, 0.4, seed), rows, cols);
      const range = 10 ** ((seed % 9) - 4);
      const x = randf(tokens * cols, seed).map((v) => (v + (seed % 3) - 1) * range);
      const layer = { rows, cols, tokens, bias: randf(rows, seed) };
      const want = referenceSpmvInt8(weights, scales, x, layer);
      const got = run(bench, packSpmvInt8({ weights, scales }, rows, cols, layer.bias, windows), x, layer);
      expectClose(got, want, 1e-6 * (1 + Math.max(...want.map(Math.abs))), `seed ${seed}`);
    }
  });

  test('i8_window_quantize: the definition, byte for byte', () => {
    const extremes = [0, 1e-40, 1e38, 3.4e38, -3.4e38, Number.NaN, Number.POSITIVE_INFINITY];
    for (let cols = 0; cols < 40; cols++) {
      bench.reset();
      const x = randf(2 * cols, cols + 1).map((v) => v * 10 ** (cols % 7) + (cols % 5) - 2);
      if (cols % 4 === 3) x[cols >> 1] = extremes[cols % 7];
      const stride = 16 + ((cols + 31) & ~15);
      const q = bench.alloc(2 * stride, 'Q');
      // As they are, or all less 128.
      const less = cols & 1 ? 128 : 0;
      bench.exports.i8_window_quantize(bench.put(x, 'X'), q, stride, 2, cols, 255, -1, (less * 0x1010101) | 0);
      bench.check();
      for (let t = 0; t < 2; t++) {
        const want = referenceQuantize(x.subarray(t * cols, (t + 1) * cols));
        expect(bench.f32(q + t * stride, 1)[0]).toBe(want.scale);
        if (Number.isNaN(want.scale)) continue;
        const got = new Uint8Array(bench.memory.buffer, q + t * stride, stride);
        expect(new Int32Array(bench.memory.buffer, q + t * stride + 4, 1)[0]).toBe(want.zero - less);
        expect(got.slice(16, 16 + cols)).toEqual(want.q.map((v) => v - less));
        expect(got[16 + cols]).toBe(0xc5);
      }
    }
  });

  test.each(FORMATS)('f32 %s: NaN and infinities, of weights and of inputs', (format) => {
    const [rows, cols] = [19, 21];
    const w = new Float32Array(rows * cols);
    // One nonzero a row, at an input of its own but for the rows of a group, which share it.
    for (let r = 0; r < rows; r++) w[r * cols + (r >> 4)] = r + 1;
    w[0] = Number.NaN;
    w[cols] = Number.POSITIVE_INFINITY;
    w[2 * cols] = -0;
    const x = randf(cols, 1).map((v) => v + 2);
    x[1] = Number.NEGATIVE_INFINITY;
    x.fill(Number.NaN, 2);
    const packed = packSpmv(w, rows, cols, format);
    w[2 * cols] = 0;
    expect(unpackSpmv(packed)).toEqual(w);
    expect(packed.nonzeros).toBe(rows - 1);
    const want = referenceSpmv(w, x, { rows, cols, tokens: 1 });
    expectClose(run(bench, packed, x, { rows, cols, tokens: 1 }), want, 1e-4, format);
    // A clamp keeps NaN.
    const clamped = run(bench, packed, x, { rows, cols, tokens: 1, min: 0, max: 6 });
    expect([clamped[0], clamped[1], clamped[18]]).toEqual([Number.NaN, 6, 0]);
  });

  test('window: an unstructured nonzero does not meet the inputs of its neighbours', () => {
    const [rows, cols] = [16, 40];
    const w = new Float32Array(rows * cols);
    for (let r = 0; r < rows; r++) w[r * cols + r + 8] = 1;
    for (let bad = 0; bad < cols; bad++) {
      const x = new Float32Array(cols).fill(1);
      x[bad] = Number.NaN;
      const y = run(bench, packSpmv(w, rows, cols, 'window'), x, { rows, cols, tokens: 1 });
      y.forEach((v, r) => {
        expect(v, `output ${r}, input ${bad}`).toBe(r + 8 === bad ? Number.NaN : 1);
      });
    }
  });

  test('int8 by f32: ragged sizes, any density, one to nine tokens, bias and clamp', () => {
    fc.assert(
      fc.property(SIZES, ({ rows, cols, tokens, density, seed }) => {
        const weights = integers(pruned(rows, cols, density, seed));
        const scales = randf(rows, seed + 3).map((v) => Math.abs(v) / 127);
        if (rows > 2) scales[2] = 0;
        const x = randf(tokens * cols, seed + 1);
        const layer = { rows, cols, tokens, bias: randf(rows, seed + 2), min: -1, max: 1.5 };
        const packed = packSpmvInt8Wide({ weights, scales }, rows, cols, layer.bias);
        validateSpmv(packed);
        expect(unpackSpmvInt8(packed)).toEqual({ weights, scales });
        const exact = Float64Array.from(weights, (v, i) => v * scales[Math.floor(i / cols)]);
        expectClose(run(bench, packed, x, layer), referenceSpmv(exact, x, layer), tolerance(cols));
      }),
      { numRuns: 150 },
    );
  });

  test('int8 by f32: a pruned weight meets no NaN and no infinity, a stored one does', () => {
    const [rows, cols] = [20, 40];
    const weights = new Int8Array(rows * cols);
    for (let r = 0; r < rows; r++) weights[r * cols + r + 8] = 1;
    const packed = packSpmvInt8Wide({ weights, scales: new Float32Array(rows).fill(1) }, rows, cols);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      for (let k = 0; k < cols; k++) {
        const x = new Float32Array(cols).fill(1);
        x[k] = bad;
        const y = run(bench, packed, x, { rows, cols, tokens: 1 });
        expect(y).toEqual(new Float32Array(rows).map((_, r) => (r + 8 === k ? bad : 1)));
      }
    }
  });

  test('int8: ranges by magnitude and from end to end, 8 and 7 bits, as the kernels for many columns quantise', () => {
    for (const range of ['magnitude', 'extremes'] as const) {
      for (const bits of [8, 7] as const) {
        for (let seed = 1; seed < 30; seed++) {
          const [rows, cols, tokens] = [1 + (seed % 19), 1 + seed * 3, 1 + (seed % 8)];
          const { weights, scales } = quantizeWeights(pruned(rows, cols, 0.4, seed), rows, cols);
          const x = randf(tokens * cols, seed).map((v) => (v + (seed % 3) - 1) * 10 ** ((seed % 9) - 4));
          if (seed % 5 === 0) x.fill(0, 0, cols);
          if (seed % 7 === 0) x.fill(1e-45, 0, cols);
          // Steps of a subnormal scale are few: quotients of 143 are limited.
          if (seed % 7 === 4) for (let k = 0; k < cols; k++) x[k] = k % 2 ? 2e-43 : -2e-43;
          if (seed % 7 === 1) x[0] = Number.POSITIVE_INFINITY;
          if (seed % 7 === 2) x[0] = Number.NaN;
          if (seed % 7 === 3) x.set([3.4e38, -3.4e38], 0);
          const bias = randf(rows, seed);
          const input = { per: 'token', range, bits } as const;
          const layer = { rows, cols, tokens };
          const columns = Float32Array.from(x, (_, i) => x[(i % tokens) * cols + Math.floor(i / tokens)]);
          const steps = (range === 'magnitude' ? 0 : 2 ** (bits - 1)) + 2 ** (bits - 1) - 1;
          const by = referenceRange(columns, tokens, 'token', steps, range === 'magnitude' ? 0 : undefined);
          const q = referenceQuantized(columns, by, range === 'magnitude' ? -steps : 0, steps);
          const sums = referenceSums(weights, q, by, rows);
          const open = { min: -Infinity, max: Infinity };
          const want = referenceInt8(sums, scales, by, false, bias, open);
          for (const windows of bits === 7 ? layouts : exact8) {
            const got = run(bench, packSpmvInt8({ weights, scales }, rows, cols, bias, windows), x, layer, input);
            // Equal bits: the same integers, and the same steps of rounding.
            expect(Float32Array.from(got, (_, i) => got[(i % tokens) * rows + Math.floor(i / tokens)])).toEqual(want);
          }
        }
      }
    }
  });

  test.each(layouts)('int8 %s: a NaN or an infinite input makes its token NaN and no other', (windows) => {
    const { weights, scales } = quantizeWeights(pruned(9, 20, 0.5, 1), 9, 20);
    const packed = packSpmvInt8({ weights, scales }, 9, 20, undefined, windows);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const x = randf(60, 2);
      x[27] = bad;
      const y = run(bench, packed, x, { rows: 9, cols: 20, tokens: 3, min: 0, max: 6 }, inputFor(windows));
      expect(y.map((v) => Number(Number.isNaN(v)))).toEqual(new Float32Array(27).fill(1, 9, 18).fill(0, 18));
    }
  });

  test('more inputs than 16 bits count', () => {
    const [rows, cols, tokens] = [3, 65536 * 2 + 40, 3];
    const w = new Float32Array(rows * cols);
    for (const k of [0, 65535, 65536, 65551, 131071, 131072, cols - 1])
      for (let r = 0; r < rows; r++) w[r * cols + k] = k / cols - r;
    const x = randf(tokens * cols, 5);
    const layer = { rows, cols, tokens };
    const want = referenceSpmv(w, x, layer);
    for (const format of FORMATS) {
      const packed = packSpmv(w, rows, cols, format);
      expect(same(unpackSpmv(packed), w)).toBe(true);
      expectClose(run(bench, packed, x, layer), want, 1e-4, format);
    }
    const q = quantizeWeights(w, rows, cols);
    const wide = packSpmvInt8Wide(q, rows, cols);
    const exact = Float64Array.from(q.weights, (v, i) => v * q.scales[Math.floor(i / cols)]);
    expectClose(run(bench, wide, x, layer), referenceSpmv(exact, x, layer), 1e-4, 'int8 by f32');
    for (const windows of layouts) {
      const packed = packSpmvInt8(q, rows, cols, undefined, windows);
      expect(same(unpackSpmvInt8(packed).weights, q.weights)).toBe(true);
      const want8 = referenceSpmvInt8(q.weights, q.scales, x, layer);
      // 7 bits: half as fine.
      const limit = windows === 'quads' ? 0.05 : 1e-5;
      expectClose(run(bench, packed, x, layer, inputFor(windows)), want8, limit, windows);
    }
  });

  test.each(exact8)('int8 %s: the largest sums, and the largest products of a pair', (windows) => {
    const cols = 40000;
    const layer = { rows: 2, cols, tokens: 2 };
    const weights = new Int8Array(2 * cols).fill(127, 0, cols).fill(-127, cols);
    const packed = packSpmvInt8({ weights, scales: new Float32Array([1, 1]) }, 2, cols, undefined, windows);
    // All of them 255; all but one 0, which is -128 where bytes have a sign.
    const x = new Float32Array(2 * cols).fill(255, 0, cols + 1);
    const most = Math.fround(127 * 255 * cols);
    expect(run(bench, packed, x, layer)).toEqual(new Float32Array([most, -most, 127 * 255, -127 * 255]));
  });

  test.runIf(isa === 'relaxed')('int8 quads: the largest products of four', () => {
    const cols = 4000;
    const layer = { rows: 2, cols, tokens: 1 };
    const weights = new Int8Array(2 * cols).fill(127, 0, cols).fill(-127, cols);
    const packed = packSpmvInt8({ weights, scales: new Float32Array([1, 1]) }, 2, cols, undefined, 'quads');
    const x = new Float32Array(cols).fill(127);
    expect(run(bench, packed, x, layer, inputFor('quads'))).toEqual(
      new Float32Array([127 * 127 * cols, -127 * 127 * cols]),
    );
    expect(() => run(bench, packed, x, layer, inputFor('signs'))).toThrow(/"bits" expected 7/);
  });
});

test('density and bytes are told', () => {
  const w = pruned(64, 96, 0.2, 3);
  const nonzeros = w.filter((v) => v !== 0).length;
  for (const format of FORMATS) {
    const p = packSpmv(w, 64, 96, format);
    expect(p.nonzeros).toBe(nonzeros);
    expect(p.stored).toBeGreaterThan(nonzeros);
    expect(p.bytes).toBe(p.data.length);
  }
  // At 30 % a window keeps 80 % of its lanes busy: 1.2 values a weight of nonzeros.
  const busy = packSpmv(pruned(160, 800, 0.3, 3), 160, 800, 'window');
  expect(busy.nonzeros / busy.stored).toBeGreaterThan(0.77);
  expect(packSpmv(new Float32Array(64 * 96), 64, 96, 'group16').stored).toBe(0);
});

test('countSpmv: groups exact, windows to 6 %', () => {
  /** n of every m at random places; the rows of `part` have one more. */
  const nm = (rows: number, cols: number, n: number, m: number, part = 0) => {
    const r = rng(3);
    const w = new Float32Array(rows * cols);
    for (let at = 0; at < w.length; at += m) {
      const count = n + Number(at / cols < part);
      for (let i = 0; i < count; ) {
        const k = at + Math.floor(((r() + 1) / 2) * m);
        if (w[k] === 0) i++;
        w[k] = 1;
      }
    }
    return w;
  };
  for (const [rows, cols, density] of [
    [70, 300, 0.02],
    [64, 300, 0.3],
    [160, 768, 0.1],
    [33, 768, 0.7],
    [5, 9, 0],
    [16, 50, 1],
    // N:M; the last: some rows keep one more.
    [192, 768, [1, 16]],
    [192, 768, [1, 32]],
    [192, 768, [2, 8]],
    [192, 768, [1, 16, 96]],
  ] as const) {
    const [n, m, part] = Array.isArray(density) ? density : [];
    const w = n ? nm(rows, cols, n, m, part) : pruned(rows, cols, density as number, 8);
    const { nonzeros, records } = countSpmv(w, rows, cols);
    expect(nonzeros).toBe(w.filter((v) => v !== 0).length);
    for (const format of FORMATS) {
      const height = format === 'window' ? 16 : Number(format.slice(5));
      const packed = packSpmv(w, rows, cols, format).stored / height;
      if (format === 'window') expect(Math.abs(records.window - packed)).toBeLessThanOrEqual(0.06 * packed + 8);
      else expect(records[format]).toBe(packed);
    }
  }
});

describe('chooseFew', () => {
  const shared = (rows: number, cols: number, zeros: number, group: number) => {
    const lists = pruned(Math.ceil(rows / group), cols, 1 - zeros, 6);
    const values = randf(rows * cols, 7);
    return values.map((v, i) => (lists[Math.floor(Math.floor(i / cols) / group) * cols + (i % cols)] ? v : 0));
  };
  test.each([
    [1, 16, 0.3, 'group16'],
    [8, 16, 0.8, 'group16'],
    [1, 8, 0.8, 'group8'],
    [2, 4, 0.8, 'group4'],
    [8, 4, 0.8, 'panels'],
    [1, 1, 0.5, 'dense'],
    [1, 1, 0.9, 'window'],
    [8, 1, 0.9, 'panels'],
    [8, 1, 0.3, 'dense'],
  ] as const)('%i tokens, groups of %i, %f zeros: %s', (tokens, group, zeros, format) => {
    const w = shared(512, 384, zeros, group);
    for (const isa of ['simd128', 'relaxed'] as const) {
      const choice = chooseFew(isa, false, w, 512, 384, tokens);
      expect(choice.format).toBe(format);
      expect(choice.ns).toBeLessThanOrEqual(choice.denseNs);
      expect(chooseFew(isa, true, w, 512, 384, tokens)).toMatchObject({ format: 'dense', ns: choice.denseNs });
    }
  });

  // Random weights of that density take groups of 4 with simd128; those of N:M keep the lanes of windows busy.
  test.each([16, 32])('1:%i, one token: windows', (m) => {
    const r = rng(1);
    const w = new Float32Array(256 * 768);
    for (let at = 0; at < w.length; at += m) w[at + Math.floor(((r() + 1) / 2) * m)] = 1;
    for (const isa of ['simd128', 'relaxed'] as const) {
      expect(chooseFew(isa, false, w, 256, 768, 1).format).toBe('window');
    }
    expect(chooseFew('simd128', false, pruned(256, 768, 1 / 32, 1), 256, 768, 1).format).toBe('group4');
  });

  test('no zero, no sparse format; nothing, no trouble', () => {
    expect(chooseFew('simd128', false, new Float32Array(64 * 64).fill(1), 64, 64, 1).format).toBe('dense');
    expect(chooseFew('simd128', false, new Float32Array(0), 0, 5, 1)).toMatchObject({ format: 'dense', zeros: 0 });
  });

  test('weights beyond the caches count by their bytes', () => {
    const w = shared(4096, 2048, 0.62, 1);
    expect(chooseFew('simd128', false, w.subarray(0, 512 * 2048), 512, 2048, 1).format).toBe('dense');
    expect(chooseFew('simd128', false, w, 4096, 2048, 1).format).toBe('window');
  });
});

test('quantizeWeights: an error of half a scale at most, empty rows, large and tiny numbers', () => {
  const w = pruned(6, 50, 0.5, 9).map((v, i) => v * 10 ** (Math.floor(i / 50) * 8 - 30));
  w.fill(0, 50, 100);
  const { weights, scales } = quantizeWeights(w, 6, 50);
  w.forEach((v, i) => {
    const scale = scales[Math.floor(i / 50)];
    expect(Math.abs(v - weights[i] * scale)).toBeLessThanOrEqual(0.5001 * scale);
  });
  expect(weights.subarray(50, 100).every((v) => v === 0)).toBe(true);
});

describe('bad input', () => {
  const w = new Float32Array(6).fill(1);
  const int8 = { weights: new Int8Array(6).fill(1), scales: new Float32Array([1, 1, 1]) };

  test('sizes and numbers', () => {
    expect(() => packSpmv(w, 2, 2, 'window')).toThrow(/"weights" expected 2 \* 2 = 4 values/);
    expect(() => packSpmv(w, 3, 2, 'window', new Float32Array(2))).toThrow(/"bias" expected 3 values/);
    expect(() => packSpmv(w, -1, 2, 'window')).toThrow(/"rows"/);
    expect(() => packSpmv(w, 3, 0.5, 'window')).toThrow(/"cols"/);
    expect(() => packSpmv(w, 3, 2, 'group3' as never)).toThrow(/"format" expected group16, group8, group4, window/);
    expect(() => packSpmvInt8({ ...int8, scales: new Float32Array(2) }, 3, 2)).toThrow(/"scales" expected 3 values/);
    expect(() => packSpmvInt8({ ...int8, scales: new Float32Array([1, Number.NaN, 1]) }, 3, 2)).toThrow(/finite/);
    expect(() => packSpmvInt8({ ...int8, weights: new Int8Array(6).fill(-128) }, 3, 2)).toThrow(/-127 to 127/);
    const long = new Int8Array(70000).fill(1);
    expect(() => packSpmvInt8({ weights: long, scales: new Float32Array([1]) }, 1, 70000)).toThrow(/at most 66311/);
    expect(() => packSpmvHalf(new Uint16Array([0, 0xfc00]), 2, 1)).toThrow(/"weights" expected finite numbers/);
    expect(() => packSpmvHalf(new Uint16Array(3), 2, 1)).toThrow(/"weights" expected 2 \* 1 = 2 values/);
    expect(() => unpackSpmvHalf(packSpmv(w, 3, 2, 'group16'))).toThrow(/expected f16 weights/);
    expect(() => quantizeWeights(new Float32Array([Number.NaN]), 1, 1)).toThrow(/"weights" expected finite/);
    const least = packSpmvInt8Wide({ ...int8, weights: new Int8Array(6).fill(-128) }, 3, 2);
    expect(unpackSpmvInt8(least).weights).toEqual(new Int8Array(6).fill(-128));
    expect(() => packSpmvInt8Wide(int8, 3, 2, new Float32Array(2))).toThrow(/"bias" expected 3 values/);
    expect(() => unpackSpmv(packSpmvInt8(int8, 3, 2))).toThrow(/expected f32 weights/);
    expect(() => unpackSpmvInt8(packSpmv(w, 3, 2, 'window'))).toThrow(/expected int8 weights/);
  });

  test('packed weights whose labels or integers are not what a packer makes', () => {
    const i8 = packSpmvInt8(int8, 3, 2);
    const f32 = packSpmv(w, 3, 2, 'group16');
    for (const p of [
      { ...i8, format: 'group16' as const },
      { ...i8, kernel: 'f32_window_spmv' },
      { ...i8, type: 'i8f32' as const },
      { ...f32, kernel: 'f32_group4_spmv' },
      { ...f32, kernel: 'f32_window_spmv' },
      { ...f32, type: 'f16' as const },
    ]) {
      expect(() => validateSpmv(p)).toThrow(/expected packed weights, got kernel/);
    }
    const changed = (at: number, byte: number) => ({ ...i8, data: i8.data.slice().fill(byte, at, at + 1) });
    // Masks, a block of 8 outputs, a list of one count and bases, indices: then the integers.
    expect(() => validateSpmv(changed(32 + 128 + 16 + 16, 0x80))).toThrow(/-127 to 127, got -128/);
    expect(() => validateSpmv(changed(32 + 2, 0xff))).not.toThrow();
    expect(() =>
      validateSpmv({ ...changed(32 + 3, 0x7f), data: changed(32 + 3, 0x7f).data.fill(0xff, 34, 35) }),
    ).toThrow(/expected a finite scale, got NaN/);
  });

  // Layouts of relaxed SIMD are run where it is; where it is not, they are only read.
  test.each([...FORMATS, 'int8 pairs', 'int8 bytes', 'int8 signs', 'int8 quads', 'int8 by f32', 'f16'] as const)(
    '%s: every byte of a packed matrix changed, truncated, extended',
    (format) => {
      const [rows, cols] = [18, 23];
      const dense = pruned(rows, cols, 0.3, 4);
      const bias = randf(rows, 1);
      const integers = () => quantizeWeights(dense, rows, cols);
      const pack = (): PackedSpmv => {
        if (format === 'int8 by f32') return packSpmvInt8Wide(integers(), rows, cols, bias);
        if (format === 'f16') return packSpmvHalf(Uint16Array.from(dense, numberToHalf), rows, cols, bias);
        const [, windows] = format.split('int8 ');
        if (windows) return packSpmvInt8(integers(), rows, cols, bias, windows as Int8Windows);
        return packSpmv(dense, rows, cols, format as SpmvFormat, bias);
      };
      const good = pack();
      const named = (data: Uint8Array) => {
        try {
          validateSpmv({ ...good, data });
          return false;
        } catch (error) {
          expect((error as { code: string }).code).toBe('SPARSE_FORMAT');
          return true;
        }
      };
      expect(named(good.data)).toBe(false);
      expect(named(good.data.slice(0, -16))).toBe(true);
      expect(named(Uint8Array.from([...good.data, 0]))).toBe(true);
      // Whatever passes must be safe to run: canaries, and a read of X past its end would trap on a memory that ends there.
      const bench = new Bench(ISAS[ISAS.length - 1]);
      const runs = bench.exports[good.kernel] !== undefined;
      const input = format === 'int8 quads' ? inputFor('quads') : undefined;
      const x = randf(2 * cols, 3);
      let caught = 0;
      for (let i = 0; i < good.data.length; i++) {
        const data = good.data.slice();
        data[i] ^= 0xff;
        if (named(data)) caught++;
        else if (runs) run(bench, { ...good, data }, x, { rows, cols, tokens: 2 }, input);
      }
      expect(caught).toBeGreaterThan(20);
    },
  );
});

test('no tokens, no calls; groups need no scratch', () => {
  const p = packSpmv(new Float32Array(6), 3, 2, 'group16');
  expect(spmvCalls(p, 64, { x: 0, y: 0, tokens: 0, min: 0, max: 1, scratch: 0 })).toEqual([]);
  expect(spmvScratch(p, 8)).toBe(0);
});
