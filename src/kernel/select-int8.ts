/** The kernel of an int8 matrix by quantised activations: a fixed rule from measured times, the same on every machine. */
import type { Int8Activations, Int8Format } from '../pack/int8.ts';
import { type Int8Windows, MAX_PRODUCTS, stepBytes, WINDOWS } from '../pack/spmv-int8.ts';
import type { Isa } from './isa.ts';

export interface Int8Choice {
  /** Outputs in lanes: `window`. Columns in lanes: the others. */
  readonly format: Int8Format | 'window';
  /** The fastest layout of `window`, where that may be chosen. */
  readonly windows?: Int8Windows;
  /** Predicted time of each format, ns. */
  readonly formats: Readonly<Partial<Record<Int8Format | 'window', number>>>;
}

/**
 * ns a tile of 8 columns: of a group (a row, of csr) and of an input in its list. Measured from 30 to 99 % zeros on 768x768,
 * 192x2304 and 768x96 by 64 columns, Zen 4, Node 20 and 24, whose times are the same within 5 %; medians. The dense kernel of
 * i16, then 0.69, was made 7 % faster on Zen 5. So unstructured zeros pay from 52 % (csr), groups of 4 from 23 %, and csr beats
 * groups whose rows share few inputs: at 80 % unstructured zeros, 768x768 by 64, csr takes 335 us and groups of 4 500. One panel
 * alone costs csr a quarter more. Whole operators, 384x3072x768 at 80 %: 12.4 ms, where groups of 4 took 15.8; one token of
 * 3072x768 at 70 %, in windows: 50 us, was 396; with relaxed SIMD 37, and 28 on activations of 7 bits.
 */
const TILE = {
  i16: { dense: [6, 0.64], group4: [7.3, 0.83], csr: [5.5, 0.335], alone: 1.25 },
  u7: { dense: [5.4, 0.62], group4: [9, 0.69], csr: [6.3, 0.295], alone: 1.17 },
} as const;
/** ns to store the outputs of a group of 4 one by one, where there are fewer than 8 columns. */
const RAGGED = 26;
/** ns a token of a block, whatever it holds. Quantising is the same for all and left out. */
const BLOCK: Readonly<Record<Int8Windows, number>> = { pairs: 8, bytes: 8, signs: 6, quads: 6 };
/** Bytes of weights that a cache is sure to hold. Beyond, `bytes` and `signs`, a third larger, are no faster: 4096x4096 at 70 %. */
const CACHED = 2 ** 23;
/** ns a token of a step of 16 products. Relaxed SIMD also has a swizzle of one instruction. */
const STEP: Readonly<Record<Isa, Readonly<Partial<Record<Int8Windows, number>>>>> = {
  simd128: { pairs: 1, bytes: 0.9 },
  relaxed: { pairs: 0.88, bytes: 0.79, signs: 0.53, quads: 0.48 },
};
const ofPairs = (d: number): number => (d < 0.04 ? 0.23 * d ** 0.405 : 0.042 + 0.456 * d);
/** Steps of a block, a share of the inputs; fitted to packed random matrices, 1 to 100 % of nonzeros, to 6 %. */
export const STEPS: Readonly<Record<Int8Windows, (density: number) => number>> = {
  pairs: ofPairs,
  bytes: ofPairs,
  signs: (d) => (d < 0.04 ? 0.25 * Math.sqrt(d) : 0.043 + 0.232 * d),
  quads: (d) => (d < 0.04 ? 0.25 * Math.sqrt(d) : 0.041 + 0.16 * d + 0.05 * d * d),
};

/**
 * @param weights [rows][cols]
 * @param lanes outputs may lie in lanes: 1 to 8 tokens, row-major
 */
export function chooseInt8(
  isa: Isa,
  activations: Int8Activations,
  weights: Int8Array,
  rows: number,
  cols: number,
  columns: number,
  lanes: boolean,
): Int8Choice {
  let nonzeros = 0;
  let most = 0;
  let positive = 0;
  let shared = 0;
  const used = new Uint8Array(cols);
  for (let r = 0; r < rows; r++) {
    if (r % 4 === 0) used.fill(0);
    let n = 0;
    for (let k = 0, at = r * cols; k < cols; k++, at++) {
      if (weights[at] === 0) continue;
      n++;
      if (weights[at] > 0) positive++;
      shared += 1 - used[k];
      used[k] = 1;
    }
    nonzeros += n;
    most = Math.max(most, n);
  }
  const cost = TILE[activations];
  const tiles = Math.ceil(columns / 8);
  const groups = Math.ceil(rows / 4);
  const ragged = columns % 8 ? groups * RAGGED : 0;
  const time = ([group, input]: readonly [number, number], n: number, inputs: number) => n * group + inputs * input;
  const formats: Partial<Record<Int8Format | 'window', number>> = {
    dense: tiles * time(cost.dense, groups, groups * cols) + ragged,
    group4: tiles * time(cost.group4, groups, shared) + ragged,
    csr: (tiles + (tiles % 2) * (cost.alone - 1)) * time(cost.csr, rows, nonzeros),
  };
  let windows: Int8Windows | undefined;
  if (lanes && most <= MAX_PRODUCTS) {
    for (const [name, step] of Object.entries(STEP[isa]) as [Int8Windows, number][]) {
      if (name === 'quads' && activations !== 'u7') continue;
      const { height, signs, bytes } = WINDOWS[name];
      // Lists of one sign wait for those of the other.
      const stored = signs ? 2 * Math.max(positive, nonzeros - positive) : nonzeros;
      const blocks = Math.ceil(rows / height);
      const steps = cols * STEPS[name](rows * cols ? stored / (rows * cols) : 0);
      if ((signs || bytes) && stepBytes(WINDOWS[name]) * steps * blocks > CACHED) continue;
      const ns = columns * blocks * (BLOCK[name] + step * steps);
      if (ns < (formats.window ?? Infinity)) [formats.window, windows] = [ns, name];
    }
  }
  const names = Object.keys(formats) as (keyof typeof formats)[];
  return { format: names.reduce((a, b) => (formats[b]! < formats[a]! ? b : a)), windows, formats };
}
