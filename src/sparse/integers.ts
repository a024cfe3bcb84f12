/** Products in integers: an int8 matrix by activations that are quantised column by column. */

import { ArgumentRangeError } from '../errors.ts';
import type { KernelCall } from '../kernel/call.ts';
import { FEW_TOKENS } from '../kernel/few.ts';
import { int8Calls, int8Scratch } from '../kernel/int8.ts';
import type { Isa } from '../kernel/isa.ts';
import { chooseInt8 } from '../kernel/select-int8.ts';
import { spmvCalls, spmvScratch } from '../kernel/spmv.ts';
import { packInt8 } from '../pack/int8.ts';
import type { Dynamic, Int8Weights } from '../pack/quantize.ts';
import { packSpmvInt8 } from '../pack/spmv-int8.ts';
import { allocate } from './check.ts';
import { partsOf, type SparseMatrix } from './matrix.ts';
import type { Blocks } from './operator.ts';
import type { Limits } from './products.ts';

/** What runs, and of how much. */
export interface Product {
  readonly kernel: string;
  readonly format: string;
  readonly weightBytes: number;
  readonly calls: KernelCall[];
}

/** Addresses of X and Y, and memory for more. */
export interface IntegerPlaces {
  readonly columns: number;
  readonly layout: 'features' | 'tokens';
  readonly x: number;
  readonly y: number;
  readonly memory: Blocks;
}

interface Options extends Limits {
  readonly activations: 'int8' | 'uint7';
  readonly bias: Float32Array | undefined;
  /** See packSpmvInt8. */
  readonly tries?: number;
}

/** The least normal float32. */
const LEAST = 2 ** -126;

/** The integers of an int8 matrix, and its scales; a row of scale 0 is a row of zeros, whose bias no coarse step may round. */
export function integersOf(w: SparseMatrix): Int8Weights {
  const { pattern, values } = partsOf(w);
  const weights = allocate(Int8Array, w.rows * w.cols, 'w');
  pattern.visit((slot, row, col) => {
    if (values.scales![row] > 0) weights[row * w.cols + col] = values.data[slot];
  });
  return { weights, scales: values.scales!.map((s) => s || LEAST) };
}

/**
 * Sums have 32 bits.
 * @param largest magnitude of an activation
 * @throws ArgumentRangeError where a row's sum might not fit
 */
export function checkSums(weights: Int8Array, rows: number, cols: number, largest = 127, name = 'w'): void {
  const most = Math.floor((2 ** 31 - 1) / largest);
  for (let r = 0; r < rows && cols * 127 > most; r++) {
    let size = 0;
    for (let k = r * cols; k < (r + 1) * cols; k++) size += Math.abs(weights[k]);
    if (size > most) throw new ArgumentRangeError(name, `magnitudes of ${most} together in row ${r} at most`, size);
  }
}

/** f32 X and Y as int8 kernels read and write them, row-major in either layout. */
export function plainPlaces(
  at: Pick<IntegerPlaces, 'columns' | 'layout' | 'x' | 'y'> & { readonly rows: number; readonly cols: number },
  limits: Limits,
) {
  const { columns, x, y } = at;
  return at.layout === 'tokens'
    ? {
        from: { x, xTokenStride: 4 * at.cols },
        into: { into: 'tokens' as const, y, yTokenStride: 4 * at.rows, ...limits },
      }
    : {
        from: { x, xChannelStride: 4 * columns, xPanelStride: 64 },
        into: { into: 'f32' as const, y, yChannelStride: 4 * columns, yPanelStride: 64, ...limits },
      };
}

/**
 * Y = clamp(W Q + bias), Q being X in integers. Every kernel that may be chosen gives the same bits, so the choice is free: X is
 * quantised to the same integers, sums are exact, and each rounds (sum * (scale of W * scale of X)) + bias step by step.
 */
export function integerProduct(isa: Isa, w: SparseMatrix, at: IntegerPlaces, options: Options): Product {
  const { rows, cols } = w;
  const { columns, x, y } = at;
  const { activations, bias, min, max, tries } = options;
  const input: Dynamic =
    activations === 'int8' ? { per: 'token', range: 'magnitude' } : { per: 'token', range: 'extremes', bits: 7 };
  const weights = integersOf(w);
  checkSums(weights.weights, rows, cols);
  const kind = activations === 'uint7' && isa === 'relaxed' ? 'u7' : 'i16';
  const lanes = columns <= FEW_TOKENS && (at.layout === 'tokens' || columns === 1);
  const { format, windows } = chooseInt8(isa, kind, weights.weights, rows, cols, columns, lanes);
  if (format === 'window') {
    const packed = packSpmvInt8(weights, rows, cols, bias, windows, tries);
    const scratch = at.memory.alloc(spmvScratch(packed, columns));
    const calls = spmvCalls(packed, at.memory.put(packed), { x, y, tokens: columns, scratch, min, max, input });
    return { kernel: packed.kernel, format, weightBytes: packed.bytes, calls };
  }
  const packed = packInt8(weights, rows, cols, { format, activations: kind, input, bias });
  const need = int8Scratch(packed, columns);
  const scratch = at.memory.alloc(need.panels + need.lanes + need.sums);
  const { from, into } = plainPlaces({ ...at, rows, cols }, { min, max });
  const calls = int8Calls(packed, at.memory.put(packed), { ...from, ...into, columns, scratch });
  return { kernel: packed.kernel, format, weightBytes: packed.bytes, calls };
}
