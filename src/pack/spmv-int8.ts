/** Packs int8 weights for one to eight tokens. Layouts: spmv.ts. */
import { ArgumentRangeError } from '../errors.ts';
import { check, checkRows, LIST, nonzerosOf, type PackedSpmv, putWindows, Writer } from './spmv.ts';
import { arrange, bothSigns, listsOfRows, listsOfSigns, schedule, starts, stepsIn } from './window.ts';

/** A matrix of int8 weights with a scale for each row: weight = scale x integer. */
export interface Int8Matrix {
  /** [rows][cols], -127 to 127 */
  readonly weights: Int8Array;
  /** [rows], finite */
  readonly scales: Float32Array;
}

/** A sum of so many products of u8 and i8 fits 32 bits. */
export const MAX_PRODUCTS = Math.floor((2 ** 31 - 1) / (255 * 127));

/** How a step of 16 products is shared out; every layout gives the same integers. */
export type Int8Windows = 'pairs' | 'bytes' | 'signs' | 'quads';

interface Windows {
  readonly kernel: string;
  /** Outputs of a block. */
  readonly height: number;
  /** Next nonzeros of an output, or of one sign of it, that a step takes. */
  readonly each: number;
  /** Positive and negative weights of an output have lists of their own, and the magnitudes are stored. */
  readonly signs: boolean;
  /** The second constant before the blocks, a mask or factors: 16 bits each for even and odd places. */
  readonly second: readonly [number, number];
  /** Indices are bytes; else a pair of steps shares them, a nibble each. */
  readonly bytes?: boolean;
  /** Where the index of a weight lies. */
  index(lane: number): number;
  /** Where the weight lies. */
  weight(lane: number): number;
}

const inPlace = (lane: number) => lane;
/** Lanes 0 to 7 in even bytes, the others in odd ones. */
const halves = (lane: number) => (lane < 8 ? 2 * lane : 2 * lane - 15);

export const WINDOWS: Readonly<Record<Int8Windows, Windows>> = {
  // The two halves of 16 bits are taken apart by a mask and a shift.
  pairs: {
    ...{ kernel: 'i8_window_spmv', height: 8, each: 2, signs: false, second: [255, 255] },
    ...{ index: halves, weight: inPlace },
  },
  bytes: {
    ...{ kernel: 'i8_bytes_spmv', height: 8, each: 2, signs: false, second: [255, 255] },
    ...{ bytes: true, index: halves, weight: halves },
  },
  signs: {
    ...{ kernel: 'i8_signs_spmv', height: 4, each: 2, signs: true, second: [1, 0xffff] },
    ...{ index: inPlace, weight: inPlace },
  },
  quads: {
    ...{ kernel: 'i8_quads_q7spmv', height: 4, each: 4, signs: false, second: [0, 0] },
    ...{ index: inPlace, weight: inPlace },
  },
};

/** Bytes of a step. */
export const stepBytes = ({ bytes }: { readonly bytes?: boolean }): number => (bytes ? 32 : 24);

/** Where a weight lies, and its index: bytes after the first step, and the bit that the index begins at. */
export function placesOf(
  w: Windows,
  step: number,
  lane: number,
): readonly [weight: number, index: number, bit: number] {
  const odd = step & 1;
  const pair = stepBytes(w) * (step - odd);
  return [
    pair + 2 * stepBytes(w) - 32 + 16 * odd + w.weight(lane),
    pair + (w.bytes ? 16 * odd : 0) + w.index(lane),
    w.bytes ? 0 : 4 * odd,
  ];
}

function validate({ weights, scales }: Int8Matrix, rows: number, cols: number, bias?: Float32Array): void {
  check(weights, rows, cols);
  checkRows(scales, rows, 'scales');
  checkRows(bias, rows, 'bias');
  for (const s of scales) if (!Number.isFinite(s)) throw new ArgumentRangeError('scales', 'finite numbers', s);
}

/**
 * Packs int8 weights for activations that are quantised, in windows.
 * @param bias [rows]; left out, zeros
 * @param windows `pairs` and `bytes`, a third larger and faster in a cache, run everywhere; `signs` needs relaxed SIMD, `quads`
 * also activations of 7 bits
 * @param tries rows that are tried out as the next of a block: 1 packs three times as fast and makes 2 to 3 % more steps
 * @throws ArgumentRangeError when lengths do not fit, a scale is not finite, a weight is -128, or a row has more than 66311
 * nonzeros, whose products might not fit 32 bits
 */
export function packSpmvInt8(
  m: Int8Matrix,
  rows: number,
  cols: number,
  bias?: Float32Array,
  windows: Int8Windows = 'pairs',
  tries = 8,
): PackedSpmv {
  validate(m, rows, cols, bias);
  const { weights, scales } = m;
  if (weights.includes(-128)) throw new ArgumentRangeError('weights', 'integers from -127 to 127', -128);
  const layout = WINDOWS[windows];
  const { kernel, height, each, signs, second } = layout;
  const out = new Writer();
  const constants = out.take(32);
  for (let i = 0; i < 16; i++) out.u8(constants + i, 15);
  for (let i = 0; i < 8; i++) out.u16(constants + 16 + 2 * i, second[i & 1]);
  const byRow = listsOfRows(weights, rows, cols);
  const lists = signs ? listsOfSigns(weights, rows, cols, byRow.inputs.length) : byRow;
  const listsIn = (block: Uint32Array) => (signs ? bothSigns(block) : block);
  const order = arrange(byRow, rows, cols, height, tries, (block) => stepsIn(lists, listsIn(block), each));
  let stored = 0;
  for (let r0 = 0; r0 < rows; r0 += height) {
    const mine = order.subarray(r0, r0 + height);
    out.rows(scales, mine, height);
    out.rows(bias, mine, height);
    const sums = out.take(4 * height);
    for (const [i, r] of mine.entries()) {
      const row = weights.subarray(r * cols, (r + 1) * cols);
      if (cols > MAX_PRODUCTS && nonzerosOf(row) > MAX_PRODUCTS) {
        throw new ArgumentRangeError('weights', `at most ${MAX_PRODUCTS} nonzeros a row`, nonzerosOf(row));
      }
      let sum = 0;
      for (const v of row) sum += v;
      out.i32(sums + 4 * i, sum);
    }
    out.offsets(mine, height);
    const parts = listsIn(mine);
    const next = starts(lists, parts);
    for (let k0 = 0; k0 === 0 || k0 < cols; k0 += LIST) {
      const k1 = Math.min(cols, k0 + LIST);
      const steps = schedule(lists, parts, next.slice(), k1, each);
      const n = steps + (steps & 1);
      const bases = out.list(n);
      const at = out.take(stepBytes(layout) * n);
      schedule(lists, parts, next, k1, each, (step, base, part, slot, k) => {
        const [weight, index, bit] = placesOf(layout, step, each * part + slot);
        const value = weights[mine[signs ? part >> 1 : part] * cols + k];
        out.u16(bases + 2 * step, base - k0);
        out.or(at + index, (k - base) << bit);
        out.u8(at + weight, signs ? Math.abs(value) : value);
      });
      stored += 16 * n;
    }
  }
  const data = out.done();
  return {
    ...{ format: 'window', type: 'i8', kernel, rows, cols },
    ...{ nonzeros: nonzerosOf(weights), stored, bytes: data.length, data },
  };
}

/**
 * Packs int8 weights for f32 activations, in windows: a weight is its integer as a float, and the sum is multiplied by the scale,
 * so sums of integers x activations must be finite in f32, too.
 * @param bias [rows]; left out, zeros
 * @throws ArgumentRangeError when lengths do not fit or a scale is not finite
 */
export function packSpmvInt8Wide(m: Int8Matrix, rows: number, cols: number, bias?: Float32Array): PackedSpmv {
  validate(m, rows, cols, bias);
  const { weights, scales } = m;
  const out = new Writer();
  const stored = putWindows(out, weights, rows, cols, {
    bytes: 32,
    head(mine) {
      out.rows(scales, mine, 16);
      out.rows(bias, mine, 16);
    },
    weight: (at, lane, row, k) => out.u8(at + 16 + lane, weights[row * cols + k]),
  });
  return {
    ...{ format: 'window', type: 'i8f32', kernel: 'i8_window_f32spmv', rows, cols },
    ...{ nonzeros: nonzerosOf(weights), stored, bytes: out.at, data: out.done() },
  };
}
