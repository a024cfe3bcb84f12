import { describe, expect, test } from 'vitest';
import { OutOfMemoryError } from '../src/errors.ts';
import { type Calibrated, calibrate, DEFAULT_COSTS, measure, predict, tempered } from '../src/kernel/cost.ts';
import { chooseFormat } from '../src/kernel/select.ts';
import { SPMM } from '../src/kernel/tiles.ts';
import { countSpmm } from '../src/pack/spmm.ts';
import { Bench, ISAS, rng } from './support/kernels.ts';

/** An engine whose kernels take a nanosecond for each byte of weights and tile of 16 columns, by a clock of its own. */
function simulated(tickMs: number) {
  let ns = 0;
  const live = new Set<number>();
  let top = 64;
  const kernels = Object.fromEntries(
    SPMM.map((v) => [v.name, (...args: number[]) => void (ns += (args[7] - args[6]) * (args[5] / 16))]),
  );
  const engine: Calibrated = {
    info: { isa: 'simd128' },
    kernels,
    arena: {
      alloc(bytes) {
        const at = top;
        top += bytes;
        live.add(at);
        return at;
      },
      release: (at) => void live.delete(at),
      view: (_, __, length) => new Uint8Array(length),
    },
  };
  const now = () => {
    ns += 30; // reading a clock takes time too
    return tickMs ? Math.floor(ns / 1e6 / tickMs) * tickMs : 0;
  };
  return { engine, now, live };
}

describe('calibrate', () => {
  test.each([1e-6, 0.005, 0.1])('finds what the kernels take, with a clock of %s ms', (tick) => {
    const { engine, now, live } = simulated(tick);
    const { costs, settled } = measure(engine, undefined, now, tick > 0.01 ? 200 : 20)!;
    // They cost the same from the beginning: nothing was optimised.
    expect(settled).toBe(false);
    // csr: 8 bytes a row and 6 a nonzero; two panels a tile of 32 lanes.
    const csr = costs.get('f32_csr_spmm_32x1')!;
    expect(csr.perIndex).toBeCloseTo(12, tick > 0.01 ? -0.5 : 0);
    // group4, 8 lanes: 18 bytes an index, half a panel.
    expect(costs.get('f32_group4_spmm_8x4')!.perIndex).toBeCloseTo(9, tick > 0.01 ? -0.5 : 0);
    expect(costs.size).toBe(SPMM.length);
    expect(live.size).toBe(0);
  });

  test('a clock that stands still, or is too coarse, gives the built-in costs', () => {
    for (const tick of [0, 1]) {
      const { engine, now, live } = simulated(tick);
      expect(calibrate(engine, undefined, now).costs).toBe(DEFAULT_COSTS.simd128);
      expect(live.size).toBe(0);
    }
  });

  /** The simulated kernels, so many times slower until so many of 20 ms have passed. */
  const becoming = (slow: (name: string, ms: number) => number) => {
    const { engine, now } = simulated(1e-6);
    const kernels = Object.fromEntries(
      Object.entries(engine.kernels).map(([name, f]) => [
        name,
        (...args: number[]) => {
          for (let i = slow(name, now()); i > 0; i--) f(...args);
        },
      ]),
    );
    return { engine: { ...engine, kernels }, now };
  };

  test.each([
    ['optimised in time', true, (_: string, ms: number) => (ms < 8 ? 3 : 1)],
    ['never optimised', false, () => 3],
    ['optimised near the end', false, (_: string, ms: number) => (ms < 18 ? 3 : 1)],
    ['optimised in part', false, (name: string, ms: number) => (ms < 8 || name.includes('dense') ? 3 : 1)],
  ])('kernels %s', (name, settled, slow) => {
    const { engine, now } = becoming(slow);
    expect(measure(engine, undefined, now, 20)!.settled).toBe(settled);
    const again = becoming(slow);
    const first = calibrate(again.engine, undefined, again.now, 20);
    expect(first.costs !== undefined).toBe(settled);
    // Optimised by now: the next try knows how slow they were.
    if (name !== 'never optimised')
      expect(calibrate(simulated(1e-6).engine, first.early, again.now, 20).costs).toBeDefined();
  });

  test('memory that has no room for it: the built-in costs, for now, and nothing is kept', () => {
    for (let blocks = 0; blocks < 12; blocks++) {
      const { engine, now, live } = simulated(1e-6);
      let n = 0;
      const { alloc } = engine.arena;
      engine.arena.alloc = (bytes: number) => {
        if (n++ === blocks) throw new OutOfMemoryError(1, 1);
        return alloc(bytes);
      };
      expect(calibrate(engine, undefined, now).costs).toBeUndefined();
      expect(live.size).toBe(0);
    }
  });

  test.each(ISAS)('%s: real kernels get positive costs and touch nothing but their blocks', (isa) => {
    const bench = new Bench(isa);
    const arena = {
      alloc: (n: number) => bench.alloc(n),
      release: () => {},
      view: (_: 'uint8', at: number, n: number) => new Uint8Array(bench.memory.buffer, at, n),
    };
    const { costs } = measure({ info: { isa }, kernels: bench.exports, arena }, undefined, undefined, 5)!;
    for (const v of SPMM) expect(costs.get(v.name)!.perIndex).toBeGreaterThan(0);
    bench.check();
  });
});

test('every SpMM variant has built-in costs', () => {
  for (const table of Object.values(DEFAULT_COSTS)) {
    expect([...table.keys()].sort()).toEqual(SPMM.map((v) => v.name).sort());
  }
});

test('predictions grow with nonzeros, rows and columns, and prefer what the matrix is made for', () => {
  const costs = DEFAULT_COSTS.relaxed;
  const best = (w: Float32Array, rows: number, cols: number) =>
    SPMM.map((v) => ({ v, ns: predict(costs.get(v.name)!, v, countSpmm(w, rows, cols), 196) })).reduce((a, b) =>
      b.ns < a.ns ? b : a,
    ).v.format;
  const pattern = (rows: number, cols: number, keep: (r: number, k: number) => boolean) =>
    Float32Array.from({ length: rows * cols }, (_, i) => Number(keep(Math.floor(i / cols), i % cols)));
  expect(
    best(
      pattern(64, 64, () => true),
      64,
      64,
    ),
  ).toBe('dense');
  expect(
    best(
      pattern(64, 64, (r, k) => (k * 7 + r * 5) % 10 === 0),
      64,
      64,
    ),
  ).toBe('csr');
  expect(
    best(
      pattern(64, 64, (r, k) => (k * 7 + (r >> 2)) % 10 < 7),
      64,
      64,
    ),
  ).toMatch(/^group[24]$/);
  const [v] = SPMM;
  const ns = (w: Float32Array, columns: number) => predict(costs.get(v.name)!, v, countSpmm(w, 64, 64), columns);
  const sparse = pattern(64, 64, (r, k) => (k + r) % 8 === 0);
  expect(
    ns(
      pattern(64, 64, (r, k) => (k + r) % 4 === 0),
      196,
    ),
  ).toBeGreaterThan(ns(sparse, 196));
  expect(ns(sparse, 392)).toBeGreaterThan(1.9 * ns(sparse, 196));
});

test('a kernel measured absurdly slow or fast is brought back to the pace of the others', () => {
  for (const costs of Object.values(DEFAULT_COSTS)) {
    const odd = new Map(
      [...costs].map(([name, c]) => [name, { ...c, perRow: 3 * c.perRow, perIndex: 3 * c.perIndex }]),
    );
    const [first, second] = [...costs.keys()];
    odd.set(first, { ...costs.get(first)!, perIndex: 100 * costs.get(first)!.perIndex });
    odd.set(second, { ...costs.get(second)!, perIndex: 0 });
    const kept = tempered(odd, costs);
    for (const [name, { perIndex, perRow }] of kept) {
      const usual = costs.get(name)!;
      expect(perIndex / usual.perIndex / 3).toBeGreaterThan(0.58);
      expect(perIndex / usual.perIndex / 3).toBeLessThan(1.71);
      expect(perRow / usual.perRow).toBeLessThan(5.2);
    }
    expect(kept.get([...costs.keys()][3])).toEqual(odd.get([...costs.keys()][3]));
  }
});

/** For the shapes below in turn. A change of the costs that moves a pick shows here. */
const PICKS = {
  simd128: {
    dense: 'dense_16x2 dense_16x2 dense_8x4 dense_8x4 dense_8x4',
    'u-30': 'csr_32x1 csr_32x1 csr_32x1 csr_32x1 csr_32x1',
    'u-50': 'csr_32x1 csr_32x1 csr_32x1 csr_32x1 csr_32x1',
    'u-80': 'csr_32x1 csr_32x1 csr_32x1 csr_32x1 csr_32x1',
    'g2-80': 'group2_16x2 group2_16x2 group2_16x2 group2_16x2 group2_16x2',
    'g4-30': 'group2_16x2 group2_16x2 group4_8x4 group4_8x4 group2_16x2',
    'g4-80': 'group2_16x2 group2_16x2 group2_16x2 group4_8x4 group2_16x2',
  },
  relaxed: {
    dense: 'dense_8x6 dense_8x6 dense_8x6 dense_8x6 dense_8x6',
    'u-30': 'csr_32x1 csr_32x1 csr_32x1 csr_32x1 csr_32x1',
    'u-50': 'csr_32x1 csr_32x1 csr_32x1 csr_32x1 csr_32x1',
    'u-80': 'csr_32x1 csr_32x1 csr_32x1 csr_32x1 csr_32x1',
    'g2-80': 'group2_24x2 group2_16x2 group2_24x2 group2_24x2 group2_24x2',
    'g4-30': 'group2_24x2 group2_24x2 group2_24x2 group4_8x4 group2_24x2',
    'g4-80': 'group2_24x2 group2_16x2 group2_24x2 group4_8x4 group2_24x2',
  },
};

describe('the kernels picked for real layers, by the built-in costs', () => {
  const SHAPES = ['64x32x12544', '96x16x12544', '512x512x196', '960x160x49', '768x768x128'];
  const PATTERNS: Record<string, [group: number, density: number]> = {
    dense: [1, 1],
    'u-30': [1, 0.7],
    'u-50': [1, 0.5],
    'u-80': [1, 0.2],
    'g2-80': [2, 0.2],
    'g4-30': [4, 0.7],
    'g4-80': [4, 0.2],
  };
  const pick = (isa: 'simd128' | 'relaxed', shape: string, [group, density]: [number, number]) => {
    const [rows, cols, columns] = shape.split('x').map(Number);
    const r = rng(5);
    const keep = Array.from({ length: Math.ceil(rows / group) * cols }, () => (r() + 1) / 2 < density);
    const weights = Float32Array.from({ length: rows * cols }, (_, i) =>
      Number(keep[Math.floor(i / cols / group) * cols + (i % cols)]),
    );
    const engine = { info: { isa, deterministic: true }, kernels: {}, arena: {} as never };
    return chooseFormat(engine, 'all', weights, rows, cols, columns).variant.slice(4).replace('_spmm', '');
  };

  test.each(Object.entries(PICKS))('%s', (isa, picks) => {
    const got = Object.fromEntries(
      Object.entries(PATTERNS).map(([name, p]) => [name, SHAPES.map((s) => pick(isa as 'relaxed', s, p)).join(' ')]),
    );
    expect(got).toEqual(picks);
  });
});
