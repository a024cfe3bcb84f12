/** How a layer for one to eight tokens runs: a fixed rule from measured times, the same on every machine. */

import { countSpmm } from '../pack/spmm.ts';
import { countSpmv, type SpmvFormat } from '../pack/spmv.ts';
import { DEFAULT_COSTS, predict } from './cost.ts';
import type { Isa } from './isa.ts';
import { SPMM } from './tiles.ts';

/** From this many tokens on a panel of 8 lanes is full: the dense kernels then take the same time (3072x768: 860 us). */
export const FEW_TOKENS = 8;

export interface FewChoice {
  /** Outputs in lanes: dense or a format of the spmv family. Tokens in lanes: `panels`, whose kernel is chosen as for many. */
  readonly format: SpmvFormat | 'dense' | 'panels';
  /** Weights stay in half precision; `format` is group16. */
  readonly half?: boolean;
  /** Weights stay int8 and are made floats by the kernel; `format` is window. */
  readonly int8?: boolean;
  /** Predicted time of the choice, of the dense kernel, and of as many zeros in groups of 16 outputs; ns. */
  readonly ns: number;
  readonly denseNs: number;
  readonly groupedNs: number;
  /** The least predicted for each format that was considered, ns. */
  readonly formats: Readonly<Record<string, number>>;
  /** Zeros in the matrix. */
  readonly zeros: number;
}

/**
 * ns of a record (an input of a block, a step of a window) for one token and for two. Measured on 3072x768 at 80 %, Zen 4,
 * Node 20 and 24 (simd128) and Node 24 (relaxed); only their ratios count.
 */
const RECORD: Readonly<
  Record<Isa, Readonly<Record<SpmvFormat | 'dense' | 'half' | 'int8', readonly [one: number, two: number]>>>
> = {
  simd128: {
    dense: [0.9, 1.5],
    half: [1.9, 2.9],
    group16: [1.03, 1.57],
    group8: [0.61, 0.95],
    group4: [0.42, 0.67],
    window: [2.75, 5.6],
    int8: [3.5, 7],
  },
  relaxed: {
    dense: [0.78, 1.2],
    half: [1.4, 1.9],
    group16: [0.9, 1.36],
    group8: [0.57, 0.8],
    group4: [0.43, 0.58],
    window: [2.15, 4.1],
    int8: [2.8, 5.6],
  },
};
/** ns of a block: list heads, the end of the loop, clamp and store. */
const BLOCK = 5;
/** What does not stay in a cache: dense weights and groups arrive at 30 GB/s; ns a byte. */
const CACHE = 24e6;
const MEMORY = 0.033;
/**
 * The short steps of windows stay in half of a cache of 32 MB, and arrive at 20 GB/s. 4096x4096, one token, Node 20 / 24 / 24
 * relaxed: 32 MB of f32 at 70 % zeros 1.9 / 1.8 / 1.8 ms and the 13 MB of its int8 1.6 / 1.9 / 1.4; at 80 % 2.0 / 1.5 / 1.4 and
 * 1.1 / 1.3 / 0.8; at 90 % (15 MB) 0.9 / 1.4 / 0.9 and 0.7. 4096x2304 at 80 % (13 MB): 0.50 / 0.52 / 0.35 and 0.56 / 0.55 / 0.45.
 */
const WINDOW_CACHE = 14e6;
const WINDOW_MEMORY = 0.05;
/** Rows of csr, whose every input is an index: 4096x4096 at 70 %, 31 MB in 5.5 ms for one token as for four. */
const PANEL_MEMORY = 0.18;
/** Of the time predicted for csr with one to four tokens: 3072x768 at 70 %, 292 us were 517 / 463 / 439. */
const NARROW = 1.6;
/** ns to bring a number into panels, or an output back. */
const LAYOUT = 0.9;

/**
 * @param denseOnly leaves the sparse formats out; without a zero they are out anyway
 * @param tokens 1 to {@link FEW_TOKENS}
 * @param stored `int8`: with a scale a row. `float16`: finite halves; groups of 16 may keep them so, where a sparse format wins. Who
 *   stores halves has more weights than caches hold, so all formats are taken to come from memory (3072x768, one token, 100
 *   layers in turn, simd128: f32 72 us, f16 58 at 80 %, relaxed 72 and 44; 137 and 126 at 70 %; 278 and 285 at 50 %, in half the bytes; without zeros
 *   423 and 440, relaxed 320 and 390. The same layer again and again, at 80 %: 30 and 55)
 */
export function chooseFew(
  isa: Isa,
  denseOnly: boolean,
  weights: Float32Array,
  rows: number,
  cols: number,
  tokens: number,
  stored?: 'float16' | 'int8',
): FewChoice {
  const half = stored === 'float16';
  const { nonzeros, records } = countSpmv(weights, rows, cols);
  const zeros = rows * cols - nonzeros;
  const time = <F extends SpmvFormat | 'dense' | 'half' | 'int8'>(
    format: F,
    height: number,
    count: number,
    recordBytes: number,
  ) => {
    const [one, two] = RECORD[isa][format];
    const blocks = Math.ceil(rows / height);
    const compute = (tokens >> 1) * (BLOCK * blocks + two * count) + (tokens & 1) * (BLOCK * blocks + one * count);
    const bytes = count * recordBytes;
    const windows = !half && (format === 'window' || format === 'int8');
    const [cache, memory] = windows ? [WINDOW_CACHE, WINDOW_MEMORY] : [CACHE, MEMORY];
    return { format, ns: half || bytes > cache ? Math.max(compute, bytes * memory) : compute };
  };
  const dense = time('dense', 16, Math.ceil(rows / 16) * cols, 64);
  const list: Pick<FewChoice, 'format' | 'half' | 'int8' | 'ns'>[] = [dense];
  if (zeros > 0 && !denseOnly) {
    list.push(time('group16', 16, records.group16, 66), time('group8', 8, records.group8, 34));
    list.push(time('group4', 4, records.group4, 18), time('window', 16, records.window, 82));
    if (stored === 'int8') list.push({ ...time('int8', 16, records.window, 34), format: 'window', int8: true });
    const counts = countSpmm(weights, rows, cols);
    const layout = LAYOUT * tokens * (rows + cols);
    const lanes = Math.ceil(tokens / 4) * 4; // a vector of one token takes as long as one of four
    for (const v of SPMM) {
      if (v.op !== 'spmm' || v.format === 'dense') continue;
      const narrow = v.format === 'csr' && lanes === 4 ? NARROW : 1;
      const ns = narrow * predict(DEFAULT_COSTS[isa].get(v.name)!, v, counts, lanes);
      const { stored, indices } = counts[v.format as 'csr'];
      const bytes = 4 * stored + 2 * indices;
      list.push({ format: 'panels', ns: layout + (bytes > CACHE ? Math.max(ns, bytes * PANEL_MEMORY) : ns) });
    }
  }
  let best = list.reduce((a, b) => (b.ns < a.ns ? b : a));
  if (half && best.format !== 'dense') {
    const kept = time('half', 16, records.group16, 34);
    if (kept.ns < best.ns) best = { format: 'group16', half, ns: kept.ns };
  }
  const formats: Record<string, number> = {};
  for (const { format, ns } of list) formats[format] = Math.min(ns, formats[format] ?? ns);
  const groupedNs = time('group16', 16, nonzeros / 16, 66).ns;
  return { ...best, denseNs: dense.ns, groupedNs, formats, zeros };
}
