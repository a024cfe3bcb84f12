// Every way to cut a call, on one thread: chunks run in reverse order must leave the bytes that the whole call leaves. A
// chunk that writes too much, or reads what another one writes, shows.
import { describe, expect, test } from 'vitest';
import type { KernelCall } from '../src/kernel/call.ts';
import { col2imCalls, im2panelCalls, stemCalls, stemScratchBytes } from '../src/kernel/conv.ts';
import { gemvCalls, matmulCalls } from '../src/kernel/dense.ts';
import { depthwiseCalls, depthwiseScratchBytes } from '../src/kernel/depthwise.ts';
import { packPanelsCalls, packTokensCalls, unpackPanelsCalls, unpackTokensCalls } from '../src/kernel/layout.ts';
import {
  BINARY,
  type BinaryKind,
  broadcastCalls,
  preluCalls,
  softmaxCalls,
  UNARY,
  unaryCalls,
} from '../src/kernel/pointwise.ts';
import { globalPoolCalls, poolCalls, reduceCalls } from '../src/kernel/pool.ts';
import { rowConvCalls } from '../src/kernel/rowconv.ts';
import { splitCalls } from '../src/kernel/split.ts';
import { cuttable } from '../src/kernel/split-table.ts';
import { spmmCalls } from '../src/kernel/spmm.ts';
import { VARIANTS } from '../src/kernel/variants.ts';
import { packStem } from '../src/pack/conv.ts';
import { packGemv } from '../src/pack/dense.ts';
import { packRowConv, rowLayout } from '../src/pack/rowconv.ts';
import { PANEL_LANES, type PackedSpmm, packSpmm } from '../src/pack/spmm.ts';
import { Bench, ISAS, randf, rng } from './support/kernels.ts';
import { check, covered, scratchBlock } from './support/split.ts';
import { spmmVariants } from './support/spmm.ts';

function sparse(rows: number, cols: number, density: number, seed = 1): Float32Array {
  const keep = randf(rows * cols, seed + 1);
  return randf(rows * cols, seed).map((v, i) => (keep[i] < 2 * density - 1 ? v : 0));
}

function productCalls(
  b: Bench,
  variant: string,
  rows: number,
  cols: number,
  columns: number,
  plain: boolean,
  seed = 1,
) {
  const packed = packSpmm(sparse(rows, cols, 0.3, seed), rows, cols, spmmVariants().find((v) => v.name === variant)!);
  return packedCalls(b, packed, columns, plain, seed);
}

function packedCalls(b: Bench, packed: PackedSpmm, columns: number, plain: boolean, seed = 1) {
  const { rows, cols } = packed;
  const panels = Math.ceil(columns / PANEL_LANES);
  const at = b.put(packed.data);
  const x = b.put(randf(panels * cols * 16, seed + 2));
  const y = b.alloc(plain ? rows * columns * 4 : panels * rows * 64);
  const target = plain
    ? { yPanelStride: 64, yChannelStride: 4 * columns }
    : { yPanelStride: rows * 64, yChannelStride: 64 };
  return spmmCalls(packed, at, { x, xPanelStride: cols * 64, y, ...target, columns, min: -1, max: 1 });
}

describe.each(ISAS)('%s', (isa) => {
  const conv = { channels: 6, height: 23, width: 31, outHeight: 23, outWidth: 31 };

  test.each(spmmVariants().map((v) => v.name))('%s: ragged shapes, panels and plain', (variant) => {
    for (const [rows, cols, columns] of [
      [65, 70, 500],
      [131, 257, 197],
      [130, 600, 49],
      [1030, 100, 17],
      [203, 300, 33],
      [203, 300, 36],
      [103, 300, 101],
    ]) {
      for (const plain of [false, true]) check(isa, (b) => productCalls(b, variant, rows, cols, columns, plain));
    }
  });

  test('X and Y larger than a cache: what is read first', () => {
    for (const variant of ['f32_csr_spmm_32x1', 'f32_group2_spmm_24x2', 'f32_group4_spmm_8x4']) {
      const calls = (b: Bench) => productCalls(b, variant, 520, 1040, 260, false);
      expect(calls(new Bench(isa)).some(({ args }) => args[10] > 1)).toBe(true);
      check(isa, calls);
    }
  });

  test('short rows: cut by columns and by rows', () => {
    const variant = spmmVariants().find((v) => v.name === 'f32_csr_spmm_32x1')!;
    for (const [rows, cols, columns] of [
      [400, 24, 3300],
      [1500, 40, 1100],
      [3000, 90, 260],
    ]) {
      const keep = rng(rows);
      // Rows of 0 to 5 nonzeros, 2 on the average at most.
      const w = sparse(rows, cols, 1, 3).map((v, i) => {
        const most = Math.floor(i / cols) % 6;
        return (keep() + 1) / 2 < (most * 0.75) / cols ? v : 0;
      });
      const packed = packSpmm(w, rows, cols, variant, randf(rows, 4));
      expect(packed.segments[0].kernel).toBe('f32_csr_spmm_256x1');
      for (const plain of [false, true]) {
        for (const threads of [2, 3]) check(isa, (b) => packedCalls(b, packed, columns, plain), threads);
      }
    }
  });

  test('two images, each with its own products', () => {
    for (const columns of [49, 200]) {
      check(isa, (b) => [
        ...productCalls(b, 'f32_group4_spmm_8x4', 130, 600, columns, true),
        ...productCalls(b, 'f32_group4_spmm_8x4', 130, 600, columns, true, 9),
      ]);
    }
  });

  test('a product of a product, both of few columns', () => {
    check(
      isa,
      (b) => {
        const [rows, cols, columns] = [300, 300, 18];
        const at = [1, 2].map((seed) => packSpmm(sparse(rows, cols, 0.3, seed), rows, cols, VARIANTS[0]));
        const weights = at.map((p) => b.put(p.data));
        const x = b.put(randf(2 * cols * 16, 3));
        const [u, v] = [b.alloc(2 * rows * 64), b.alloc(2 * rows * 64)];
        const io = { xPanelStride: cols * 64, yPanelStride: rows * 64, yChannelStride: 64, columns, min: -9, max: 9 };
        return [
          ...spmmCalls(at[0], weights[0], { ...io, x, y: u }),
          ...spmmCalls(at[1], weights[1], { ...io, x: u, y: v }),
        ];
      },
      3,
      2,
    );
  });

  test('taps gathered, then multiplied, over the same scratch again', () => {
    for (const [height, width] of [
      [40, 40],
      [7, 7],
    ]) {
      check(isa, (b) => {
        const [channels, rows] = [40, 64];
        const cols = channels * 9;
        const packed = packSpmm(
          sparse(rows, cols, 0.3),
          rows,
          cols,
          VARIANTS.find((v) => v.name === 'f32_group2_spmm_16x2')!,
        );
        const at = b.put(packed.data);
        const x = b.put(randf(channels * height * width, 4));
        const panels = Math.ceil((height * width) / 16);
        const block = Math.min(panels, 50);
        const scratch = scratchBlock(b, block * cols * 64);
        const y = b.alloc(rows * height * width * 4);
        const calls: KernelCall[] = [];
        for (let first = 0; first < panels; first += block) {
          const count = Math.min(block, panels - first);
          calls.push(
            ...im2panelCalls({
              ...{ x, y: scratch, yPanelStride: cols * 64, lanes: 16, channels, height, width },
              ...{ outHeight: height, outWidth: width, kernel: [3, 3], stride: [1, 1], dilation: [1, 1], pad: [1, 1] },
              ...{ firstPanel: first, panels: count },
            }),
            ...spmmCalls(packed, at, {
              ...{ x: scratch, xPanelStride: cols * 64, y: y + first * 64, yPanelStride: 64 },
              ...{ yChannelStride: 4 * height * width, columns: Math.min(16 * count, height * width - 16 * first) },
              ...{ min: -9, max: 9 },
            }),
          );
        }
        return calls;
      });
    }
  });

  test('a linear layer: tokens to panels, product, and back', () => {
    for (const tokens of [13, 130]) {
      check(isa, (b) => {
        const [rows, cols] = [803, 300];
        const packed = packSpmm(sparse(rows, cols, 0.3), rows, cols, VARIANTS[0]);
        const panels = Math.ceil(tokens / 16);
        const at = b.put(packed.data);
        const x = b.put(randf(tokens * cols));
        const [px, py] = [scratchBlock(b, panels * cols * 64), scratchBlock(b, panels * rows * 64)];
        const y = b.alloc(tokens * rows * 4);
        const io = {
          x: px,
          xPanelStride: cols * 64,
          y: py,
          yPanelStride: rows * 64,
          yChannelStride: 64,
          columns: tokens,
        };
        return [
          ...packTokensCalls({ x, y: px, tokens, features: cols, lanes: 16, panelStride: cols * 64 }),
          ...spmmCalls(packed, at, { ...io, min: -9, max: 9 }),
          ...unpackTokensCalls({ x: py, y, tokens, features: rows, lanes: 16, panelStride: rows * 64 }),
        ];
      });
    }
  });

  test('a pruned convolution over padded rows: runs of output rows', () => {
    check(
      isa,
      (b) => {
        const shape = { channels: 96, height: 28, width: 28, outHeight: 28, outWidth: 28 };
        const window = { kernel: [3, 3], stride: [1, 1], dilation: [1, 1], pad: [1, 1] } as const;
        const c = { ...shape, ...window };
        const layout = rowLayout(c as never)!;
        const rows = 66;
        const w = sparse(rows, 96 * 9, 0.1);
        const packed = packRowConv(
          w,
          rows,
          c as never,
          layout,
          VARIANTS.find((v) => v.name === 'f32_group4_spmm_8x4')!,
          undefined,
        );
        const at = b.put(packed.data);
        const x = b.put(randf(96 * 28 * 28));
        const y = b.alloc(rows * 28 * 28 * 4);
        const scratch = b.alloc(layout.bytes, 'rows');
        return rowConvCalls(packed, at, c as never, layout, { x, y, scratch, min: -9, max: 9 });
      },
      2,
      2,
    );
  });

  test('depthwise', () => {
    for (const [kernel, stride, size, lanes] of [
      [3, 1, 30, 16],
      [3, 2, 31, 16],
      [3, 1, 29, 0],
      [3, 2, 28, 0],
      [3, 1, 3, 0],
      [5, 1, 20, 16],
      [5, 2, 21, 0],
    ]) {
      check(isa, (b) => {
        const channels = size < 4 ? 8001 : 401;
        const out = Math.ceil(size / stride);
        const pixels = out * out;
        const pad = kernel >> 1;
        const shape = {
          ...{ channels, height: size, width: size, outHeight: out, outWidth: out, kernel, stride },
          ...{ padTop: pad, padLeft: pad },
        };
        const x = b.put(randf(channels * size * size));
        const weights = b.put(randf(channels * (kernel * kernel + 1)));
        const panelStride = channels * lanes * 4;
        const y = b.alloc(lanes ? Math.ceil(pixels / lanes) * panelStride : channels * pixels * 4);
        const scratch = scratchBlock(b, depthwiseScratchBytes(shape));
        const to = { yChannelStride: lanes ? 4 * lanes : 4 * pixels, yPanelStride: panelStride, lanes };
        return depthwiseCalls({ ...shape, x, weights, y, ...to, min: -1, max: 1, scratch });
      });
    }
  });

  test('stem', () => {
    for (const [out, lanes] of [
      [56, 16],
      [45, 0],
      [45, 16],
      [30, 32],
    ]) {
      check(isa, (b) => {
        const [channels, rows, pixels] = [3, 33, out * out];
        const size = 2 * out;
        const x = b.put(randf(channels * size * size));
        const weights = b.put(packStem(randf(rows * 27), randf(rows), rows, channels));
        const panelStride = rows * lanes * 4;
        const y = b.alloc(lanes ? Math.ceil(pixels / lanes) * panelStride : rows * pixels * 4);
        return stemCalls({
          ...{ weights, x, y, lanes, channels, rows, height: size, width: size, outHeight: out, outWidth: out },
          ...{ yChannelStride: lanes ? 4 * lanes : 4 * pixels, yPanelStride: panelStride, padTop: 1, padLeft: 1 },
          ...{ min: -1, max: 1, scratch: scratchBlock(b, stemScratchBytes(channels)) },
        });
      });
    }
  });

  test('pools and reductions', () => {
    const channels = 203;
    const plane = conv.height * conv.width;
    for (const kind of ['max', 'average'] as const) {
      for (const stride of [1, 2]) {
        check(isa, (b) => {
          const [outHeight, outWidth] = [Math.ceil(conv.height / stride), Math.ceil(conv.width / stride)];
          const x = b.put(randf(channels * plane));
          const y = b.alloc(channels * outHeight * outWidth * 4);
          return poolCalls({
            ...{ kind, x, y, ...conv, channels, outHeight, outWidth, kernel: [3, 3], stride: [stride, stride] },
            ...{ dilation: [1, 1], pad: [1, 1], countIncludePad: false },
          });
        });
      }
      for (const lanes of [0, 16]) {
        check(isa, (b) => {
          const pixels = lanes ? Math.ceil(plane / lanes) * lanes : plane;
          const x = b.put(randf(1025 * pixels));
          const [xChannelStride, xPanelStride] = lanes ? [4 * lanes, 1025 * lanes * 4] : [4 * plane, 0];
          const y = b.alloc(1025 * 4);
          return globalPoolCalls({ kind, x, xChannelStride, xPanelStride, lanes, y, channels: 1025, pixels: plane });
        });
      }
    }
    for (const kind of ['sum', 'mean', 'max', 'min'] as const) {
      for (const inner of [1, 7]) {
        check(isa, (b) => {
          const x = b.put(randf(101 * 500 * inner * 7));
          return reduceCalls({ kind, x, y: b.alloc(707 * inner * 4), outer: 707, n: 500, inner });
        });
      }
    }
  });

  test('elementwise, in place too; broadcast along each axis', () => {
    for (const kind of UNARY) {
      for (const inPlace of [false, true]) {
        check(isa, (b) => {
          const n = kind === 'exp' || UNARY.indexOf(kind) > 8 ? 60_003 : 300_003;
          const x = b.put(randf(n));
          return unaryCalls(kind, { x, y: inPlace ? x : b.alloc(4 * n), n, a: 0.1, b: 0.5 });
        });
      }
    }
    for (const kind of BINARY) {
      for (const [form, outer, mid, inner] of [
        ['inner', 1, 1, 300_003],
        ['inner', 11, 5, 7001],
        ['inner', 1, 203, 1999],
        ['mid', 1, 203, 1999],
        ['mid', 9, 21, 1999],
        ['scalar', 1, 1, 300_003],
      ] as const) {
        if ((kind === 'prelu' && form !== 'mid') || (kind[0] === 'r' && form === 'scalar')) continue;
        check(isa, (b) => {
          const size = outer * mid * inner;
          const a = b.put(randf(size));
          const other = b.put(randf(form === 'inner' ? inner : mid, 4));
          const y = b.alloc(4 * size);
          if (kind === 'prelu') return preluCalls({ x: a, slope: other, y, outer, mid, inner });
          const swap = kind[0] === 'r';
          const op = (swap ? kind.slice(1) : kind) as BinaryKind;
          return broadcastCalls(op, { a, b: other, y, outer, mid, inner, form, swap, min: -0.9, max: 0.9 });
        });
      }
    }
    // The row form of prelu: one slope a column.
    check(isa, (b) =>
      preluCalls({
        x: b.put(randf(203 * 1999)),
        slope: b.put(randf(1999)),
        y: b.alloc(203 * 1999 * 4),
        outer: 203,
        mid: 1999,
        inner: 1,
      }),
    );
    for (const [n, inner] of [
      [197, 1],
      [33, 19],
    ]) {
      check(isa, (b) => {
        const x = b.put(randf(301 * n * inner));
        return softmaxCalls({ x, y: b.alloc(301 * n * inner * 4), outer: 301, n, inner });
      });
    }
  });

  test('layouts, row-major products, columns to images', () => {
    for (const lanes of [8, 16, 32] as const) {
      const [channels, pixels] = [203, 1001];
      const panels = Math.ceil(pixels / lanes);
      const shape = { channels, pixels, lanes, panelStride: channels * lanes * 4 };
      check(isa, (b) =>
        packPanelsCalls({ ...shape, x: b.put(randf(channels * pixels)), y: b.alloc(panels * channels * lanes * 4) }),
      );
      check(isa, (b) =>
        unpackPanelsCalls({ ...shape, x: b.put(randf(panels * channels * lanes)), y: b.alloc(channels * pixels * 4) }),
      );
    }
    for (const [m, n, k] of [
      [101, 50, 300],
      [3, 1001, 300],
    ]) {
      check(isa, (b) =>
        matmulCalls({ a: b.put(randf(m * k)), b: b.put(randf(k * n)), y: b.alloc(4 * m * n), m, n, k }),
      );
    }
    for (const tokens of [1, 3]) {
      check(isa, (b) => {
        const [rows, cols] = [1001, 300];
        const p = packGemv(randf(rows * cols), rows, cols, randf(rows));
        const at = b.put(p.data);
        return gemvCalls(p, at, {
          x: b.put(randf(tokens * cols)),
          y: b.alloc(tokens * rows * 4),
          tokens,
          min: -1,
          max: 1,
        });
      });
    }
    check(isa, (b) => {
      const c = {
        channels: 33,
        height: 20,
        width: 21,
        outHeight: 40,
        outWidth: 42,
        kernel: [3, 3],
        stride: [2, 2],
      } as const;
      return col2imCalls({
        ...{ ...c, dilation: [1, 1], pad: [0, 0], min: -1, max: 1, bias: b.put(randf(33)) },
        ...{ x: b.put(randf(33 * 9 * 420)), y: b.alloc(33 * 40 * 42 * 4) },
      });
    });
  });
});

test('every kernel that can be cut was', () => {
  // Those of few tokens: split-int8.test.ts.
  expect(cuttable().filter((k) => !covered.has(k) && !k.includes('window'))).toEqual([]);
  const elementwise = [...UNARY, ...BINARY.flatMap((kind) => [`${kind}_row`, `${kind}_splat`])].map(
    (k) => `f32_plain_${k}`,
  );
  expect(cuttable()).toEqual(expect.arrayContaining(elementwise));
});

describe('runs of columns', () => {
  /** Columns of each chunk of one product; 0.0125 ns a byte of weights and column. */
  const runs = (bytes: number, columns: number, threads: number): number[] => {
    const args = [0, 64, 0, 64, 64, columns, 0, bytes, -1, 1, 0];
    const context = { threads, view: () => new Uint8Array(0), scratch: () => 0 };
    const [phase] = splitCalls([{ kernel: 'f32_group4_spmm_8x4', args }], context);
    return phase.map(([call]) => call.args[5]);
  };
  test('are shares of the threads, and shrink towards what others may take', () => {
    expect(runs(400_000, 384, 2)).toEqual([128, 48, 16, 128, 48, 16]);
    expect(runs(400_000, 384, 4)).toEqual([64, 16, 16, 64, 16, 16, 64, 16, 16, 64, 16, 16]);
  });
  test('are no more than the work is worth, however many threads there are', () => {
    for (const threads of [8, 16, 64]) {
      const sqrt = (floats: number): KernelCall[] => [{ kernel: 'f32_plain_sqrt', args: [0, 0, floats, 0, 0] }];
      const context = { threads, view: () => new Uint8Array(0), scratch: () => 0 };
      expect(splitCalls(sqrt(210_000), context)[0].length).toBe(4);
      expect(splitCalls(sqrt(600_000), context)[0].length).toBeLessThanOrEqual(12);
    }
  });
  test('none takes longer than 20 ms, or half a tile more', () => {
    for (const columns of [16_000, 40_000, 160_000]) {
      const all = runs(400_000, columns, 2);
      expect(all.reduce((a, b) => a + b)).toBe(columns);
      expect(Math.max(...all)).toBeLessThanOrEqual(4000 + 16);
    }
  });
});

test('calls that are not worth it, and weights that are not packed, stay whole', () => {
  const b = new Bench('simd128');
  const view = (at: number, bytes: number) => new Uint8Array(b.memory.buffer, at, bytes);
  const split = (calls: KernelCall[]) => splitCalls(calls, { threads: 4, view, scratch: () => 0 });
  const small = productCalls(b, 'f32_csr_spmm_32x1', 8, 8, 49, false);
  expect(split(small)).toEqual([[small]]);
  const junk = productCalls(b, 'f32_csr_spmm_32x1', 130, 600, 30, false);
  for (const c of junk) view(c.args[6], c.args[7] - c.args[6]).fill(0);
  expect(split(junk)).toEqual([[junk]]);
  const unknown: KernelCall[] = [{ kernel: 'f32_plain_transpose', args: [64, 128, 1000, 1000] }];
  expect(split(unknown)).toEqual([[unknown]]);
});
