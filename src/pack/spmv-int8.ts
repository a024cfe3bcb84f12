/** Packs int8 weights for one to eight tokens. Layouts: spmv.ts. */
import { ArgumentRangeError } from '../errors.ts';
import { check, checkRows, LIST, nonzerosOf, type PackedSpmv, putWindows, Writer } from './spmv.ts';
import { arrange, listsOfRows, schedule, starts } from './window.ts';

/** A matrix of int8 weights with a scale for each row: weight = scale x integer. */
export interface Int8Matrix {
  /** [rows][cols], -127 to 127 */
  readonly weights: Int8Array;
  /** [rows], finite */
  readonly scales: Float32Array;
}

/** A sum of so many products of u8 and i8 fits 32 bits. */
export const MAX_PRODUCTS = Math.floor((2 ** 31 - 1) / (255 * 127));

/** Where the index of an int8 weight lies: the two halves of 16 bits are taken apart by a mask and a shift. */
export const byteOf = (lane: number): number => (lane < 8 ? 2 * lane : 2 * lane - 15);

function validate({ weights, scales }: Int8Matrix, rows: number, cols: number, bias?: Float32Array): void {
  check(weights, rows, cols);
  checkRows(scales, rows, 'scales');
  checkRows(bias, rows, 'bias');
  for (const s of scales) if (!Number.isFinite(s)) throw new ArgumentRangeError('scales', 'finite numbers', s);
  if (weights.includes(-128)) throw new ArgumentRangeError('weights', 'integers from -127 to 127', -128);
}

/**
 * Packs int8 weights for activations that are quantised, in windows.
 * @param bias [rows]; left out, zeros
 * @param tries rows that are tried out as the next of a block: 1 packs three times as fast and makes 2 to 3 % more steps
 * @throws ArgumentRangeError when lengths do not fit, a scale is not finite, a weight is -128, or a row has more than 66311
 * nonzeros, whose products might not fit 32 bits
 */
export function packSpmvInt8(m: Int8Matrix, rows: number, cols: number, bias?: Float32Array, tries = 8): PackedSpmv {
  validate(m, rows, cols, bias);
  const { weights, scales } = m;
  const out = new Writer();
  const masks = out.take(32);
  for (let i = 0; i < 16; i++) out.u8(masks + i, 15);
  for (let i = 0; i < 8; i++) out.u16(masks + 16 + 2 * i, 255);
  const lists = listsOfRows(weights, rows, cols);
  const order = arrange(lists, rows, cols, 8, 2, tries);
  let stored = 0;
  for (let r0 = 0; r0 < rows; r0 += 8) {
    const mine = order.subarray(r0, r0 + 8);
    out.rows(scales, mine, 8);
    out.rows(bias, mine, 8);
    const sums = out.take(32);
    for (const [i, r] of mine.entries()) {
      const row = weights.subarray(r * cols, (r + 1) * cols);
      if (cols > MAX_PRODUCTS && nonzerosOf(row) > MAX_PRODUCTS) {
        throw new ArgumentRangeError('weights', `at most ${MAX_PRODUCTS} nonzeros a row`, nonzerosOf(row));
      }
      let sum = 0;
      for (const v of row) sum += v;
      out.i32(sums + 4 * i, sum);
    }
    out.offsets(mine, 8);
    const next = starts(lists, mine);
    for (let k0 = 0; k0 === 0 || k0 < cols; k0 += LIST) {
      const k1 = Math.min(cols, k0 + LIST);
      const steps = schedule(lists, mine, next.slice(), k1, 2);
      const n = steps + (steps & 1);
      const bases = out.list(n);
      const at = out.take(24 * n);
      schedule(lists, mine, next, k1, 2, (step, base, r, slot, k) => {
        const pair = at + 48 * (step >> 1);
        const lane = 2 * r + slot;
        out.u16(bases + 2 * step, base - k0);
        out.or(pair + byteOf(lane), (k - base) << (4 * (step & 1)));
        out.u8(pair + 16 + 16 * (step & 1) + lane, weights[mine[r] * cols + k]);
      });
      stored += 16 * n;
    }
  }
  const data = out.done();
  return {
    format: 'window',
    type: 'i8',
    kernel: 'i8_window_spmv',
    rows,
    cols,
    nonzeros: nonzerosOf(weights),
    stored,
    bytes: data.length,
    data,
  };
}

/**
 * Packs int8 weights for f32 activations, in windows: a weight is its integer as a float, and the sum is multiplied by the scale,
 * so sums of integers x activations must be finite in f32, too.
 * @param bias [rows]; left out, zeros
 * @throws ArgumentRangeError when lengths do not fit, a scale is not finite or a weight is -128
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
