/** Reads packed weights of the kernels for few tokens back, with every offset checked (layout: spmv.ts). */
import { SparseFormatError } from '../errors.ts';
import { HALF_BITS, HALF_SCALE, HEIGHT, halfPlace, headOf, LIST, NONE, type PackedSpmv } from './spmv.ts';
import { type Int8Matrix, MAX_PRODUCTS, placesOf, stepBytes, WINDOWS } from './spmv-int8.ts';
import { WINDOW } from './window.ts';

interface Reader {
  weight(row: number, col: number, value: number): void;
  /** A row of int8 weights. */
  scale(row: number, value: number): void;
}

function read(p: PackedSpmv, to: Reader): void {
  const { rows, cols, format, data } = p;
  const int8 = p.type === 'i8' ? Object.values(WINDOWS).find((w) => w.kernel === p.kernel) : undefined;
  const kernel =
    int8?.kernel ?? { f32: `f32_${format}_spmv`, f16: 'f16_group16_spmv', i8f32: 'i8_window_f32spmv', i8: '' }[p.type];
  if (p.kernel !== kernel || (p.type === 'f16' ? format !== 'group16' : p.type !== 'f32' && format !== 'window')) {
    throw new SparseFormatError(`expected packed weights, got kernel ${p.kernel} for ${p.type} ${format}`);
  }
  const wide = p.type === 'i8f32';
  const half = p.type === 'f16';
  const window = format === 'window';
  const height = int8?.height ?? HEIGHT[format];
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const wrong = (at: number, text: string) => new SparseFormatError(`byte ${at} of packed weights: ${text}`);
  let at = 0;
  const need = (n: number): number => {
    const from = at;
    at += n;
    if (at > data.length) throw wrong(from, `expected ${n} more bytes, got ${data.length - from}`);
    return from;
  };
  if (int8) {
    const masks = need(32);
    for (let i = 0; i < 16; i++) {
      const [mask, got] = [i < 8 ? 0x0f0f : int8.second[i & 1], view.getUint16(masks + 2 * i, true)];
      if (got !== mask) throw wrong(masks + 2 * i, `expected ${mask}, got ${got}`);
    }
  }
  if (half) {
    const constants = need(32);
    for (let i = 0; i < 4; i++) {
      const [bits, scale] = [view.getUint32(constants + 4 * i, true), view.getFloat32(constants + 16 + 4 * i, true)];
      if (bits !== HALF_BITS || scale !== HALF_SCALE) throw wrong(constants + 4 * i, 'expected the constants of f16');
    }
  }
  const known = new Uint8Array(rows);
  const seen = new Uint8Array(height * Math.min(cols, LIST));
  const mine: number[] = [];
  const sums = new Int32Array(height);
  const counts = new Int32Array(height);
  const put = (where: number, i: number, col: number, value: number, limit: number): void => {
    if (col >= limit) throw wrong(where, `expected an input below ${limit}, got ${col}`);
    if (i >= mine.length) {
      if (value !== 0) throw wrong(where, `expected zeros past the last output, got ${value}`);
      return;
    }
    if (value === 0) return;
    const key = i * Math.min(cols, LIST) + (col % LIST);
    if (seen[key]) throw wrong(where, `expected each weight once, got output ${mine[i]}, input ${col} again`);
    seen[key] = 1;
    sums[i] += value;
    if (++counts[i] > MAX_PRODUCTS && int8) throw wrong(where, `expected at most ${MAX_PRODUCTS} weights of an output`);
    to.weight(mine[i], col, value);
  };
  for (let r0 = 0; r0 < rows; r0 += height) {
    const block = need(int8 ? 16 * height : wide ? 192 : window ? 128 : 4 * height);
    mine.length = 0;
    sums.fill(0);
    counts.fill(0);
    for (let i = 0; i < Math.min(height, rows - r0); i++) {
      const where = block + (wide ? 128 : int8 ? 12 * height : 64) + 4 * i;
      const row = window ? view.getUint32(where, true) / 4 : r0 + i;
      if (!(row < rows) || !Number.isInteger(row) || known[row]) {
        throw wrong(where, `expected the offset of an output not seen before, got ${4 * row}`);
      }
      known[row] = 1;
      mine.push(row);
      if (int8 || wide) {
        const scale = view.getFloat32(block + 4 * i, true);
        if (!Number.isFinite(scale)) throw wrong(block + 4 * i, `expected a finite scale, got ${scale}`);
        to.scale(row, scale);
      }
    }
    for (let k0 = 0; k0 === 0 || k0 < cols; k0 += LIST) {
      seen.fill(0);
      const limit = Math.min(cols, k0 + LIST);
      const head = need(16);
      const n = view.getUint32(head, true);
      if (n > LIST * 16 || (int8 && n & 1)) throw wrong(head, `expected ${int8 ? 'an even' : 'a'} count, got ${n}`);
      need(headOf(n) - 16);
      const body = need(n * (int8 ? stepBytes(int8) : wide ? 32 : window ? 80 : half ? 2 * height : 4 * height));
      for (let i = 0; i < n; i++) {
        const where = head + 4 + 2 * i;
        const base = k0 + view.getUint16(where, true);
        // A window is read even when none of its inputs is used.
        if (base >= Math.max(limit, k0 + 1)) throw wrong(where, `expected an input below ${limit}, got ${base}`);
        if (int8) {
          for (let lane = 0; lane < 16; lane++) {
            const [weight, indices, bit] = placesOf(int8, i, lane);
            const [from, place] = [body + weight, body + indices];
            const stored = view.getInt8(from);
            if (stored === -128) throw wrong(from, 'expected an integer from -127 to 127, got -128');
            if (int8.signs && stored < 0) throw wrong(from, `expected a magnitude, got ${stored}`);
            const value = int8.signs && lane & 2 ? -stored : stored;
            const index = int8.bytes ? data[place] : (data[place] >> bit) & 15;
            if (index >= WINDOW) throw wrong(place, `expected an index below 16, got ${index}`);
            if (value) put(place, Math.floor((lane * height) / 16), base + index, value, limit);
          }
        } else if (window) {
          const step = body + (wide ? 32 : 80) * i;
          for (let r = 0; r < 16; r++) {
            const index = data[step + r];
            const value = wide ? view.getInt8(step + 16 + r) : view.getFloat32(step + 16 + 4 * r, true);
            if (index < WINDOW) put(step + r, r, base + index, value, limit);
            else if (index !== NONE || value !== 0) {
              throw wrong(step + r, `expected an index below 16, or 128 and a weight of 0, got ${index} and ${value}`);
            }
          }
        } else if (half) {
          for (let r = 0; r < height; r++) {
            const weight = body + 2 * (height * i + halfPlace(r));
            const bits = view.getUint16(weight, true);
            if ((bits & 0x7c00) === 0x7c00) throw wrong(weight, `expected a finite half, got bits ${bits}`);
            put(weight, r, base, bits, limit);
          }
        } else {
          for (let r = 0; r < height; r++) {
            const weight = body + 4 * (height * i + r);
            put(weight, r, base, view.getFloat32(weight, true), limit);
          }
        }
      }
    }
    for (let i = 0; int8 && i < mine.length; i++) {
      const sum = view.getInt32(block + 8 * height + 4 * i, true);
      if (sum !== sums[i])
        throw wrong(block + 8 * height + 4 * i, `expected the sum of weights ${sums[i]}, got ${sum}`);
    }
  }
  if (at !== data.length) throw wrong(at, `expected the end, got ${data.length - at} more bytes`);
}

/**
 * Checks packed weights whole, before they are given to a kernel: every count, input, output and length.
 * @throws SparseFormatError that names the byte, what was expected and what came
 */
export function validateSpmv(p: PackedSpmv): void {
  read(p, { weight() {}, scale() {} });
}

/**
 * The f32 matrix back, [rows][cols].
 * @throws SparseFormatError
 */
export function unpackSpmv(p: PackedSpmv): Float32Array {
  if (p.type !== 'f32') throw new SparseFormatError(`expected f32 weights, got ${p.type}`);
  const out = new Float32Array(p.rows * p.cols);
  read(p, {
    weight(row, col, value) {
      out[row * p.cols + col] = value;
    },
    scale() {},
  });
  return out;
}

/**
 * The binary16 bits back, [rows][cols].
 * @throws SparseFormatError
 */
export function unpackSpmvHalf(p: PackedSpmv): Uint16Array {
  if (p.type !== 'f16') throw new SparseFormatError(`expected f16 weights, got ${p.type}`);
  const out = new Uint16Array(p.rows * p.cols);
  read(p, {
    weight(row, col, value) {
      out[row * p.cols + col] = value;
    },
    scale() {},
  });
  return out;
}

/**
 * The int8 matrix back.
 * @throws SparseFormatError
 */
export function unpackSpmvInt8(p: PackedSpmv): Int8Matrix {
  if (p.type !== 'i8' && p.type !== 'i8f32') throw new SparseFormatError(`expected int8 weights, got ${p.type}`);
  const weights = new Int8Array(p.rows * p.cols);
  const scales = new Float32Array(p.rows);
  read(p, {
    weight(row, col, value) {
      weights[row * p.cols + col] = value;
    },
    scale(row, value) {
      scales[row] = value;
    },
  });
  return { weights, scales };
}
