/** A layer's weight matrix: format chosen, packed and uploaded. Shared by convolutions and linear layers. */

import type { Choice } from '../../kernel/select.ts';
import { SPMM } from '../../kernel/tiles.ts';
import { type PackedSpmm, packSpmm } from '../../pack/spmm.ts';
import type { LowerContext, StepFacts } from './types.ts';

export interface MatrixSource {
  /** Identifies weights and bias. */
  key: string;
  /** [rows][cols] */
  weights: Float32Array;
  bias: Float32Array | undefined;
  rows: number;
  cols: number;
  /** Pixels or tokens it is multiplied with. */
  columns: number;
  /** Takes this choice instead of making one. */
  like?: Choice;
}

export interface Matrix extends MatrixSource {
  readonly choice: Choice;
  /** Packed when first asked for. */
  readonly packed: PackedSpmm;
  readonly at: number;
}

const NAMED = new Map(SPMM.map((v) => [v.name, v]));

export function matrix(ctx: LowerContext, source: MatrixSource): Matrix {
  const { key, weights, rows, cols, columns, bias } = source;
  const choice = source.like ?? ctx.weights.choose(key, weights, rows, cols, columns);
  const entry = () =>
    ctx.packed(`${key}|${choice.variant}`, () => packSpmm(weights, rows, cols, NAMED.get(choice.variant)!, bias));
  return {
    ...source,
    choice,
    get packed() {
      return entry().packed;
    },
    get at() {
      return entry().at;
    },
  };
}

/** What profiles and `inspect` say of a layer with such weights, applied `times` times. */
export function chosenFacts(
  m: Pick<Matrix, 'choice' | 'rows' | 'cols' | 'columns'> & { packed: Pick<PackedSpmm, 'bytes' | 'variant'> },
  times: number,
): StepFacts {
  const { choice, rows, cols, columns, packed } = m;
  return {
    kernel: packed.variant,
    format: choice.format,
    weightBytes: packed.bytes,
    groupSize: 4,
    ...choiceFacts(choice, rows, cols, columns, times),
  };
}

/** Work and predicted times of a choice for a matrix [rows][cols] by so many columns, applied `times` times. */
export function choiceFacts(
  choice: Pick<Choice, 'zeros' | 'ns' | 'denseNs' | 'groupedNs'> & {
    readonly formats: Readonly<Record<string, number>>;
  },
  rows: number,
  cols: number,
  columns: number,
  times = 1,
): Omit<StepFacts, 'kernel'> {
  const work = 2 * columns * times;
  const ms = (ns: number) => (ns * times) / 1e6;
  return {
    flops: work * (rows * cols - choice.zeros),
    denseFlops: work * rows * cols,
    sparsity: rows * cols ? choice.zeros / (rows * cols) : 0,
    predictedMs: ms(choice.ns),
    predictedDenseMs: ms(choice.denseNs),
    predictedFormatsMs: Object.fromEntries(Object.entries(choice.formats).map(([format, ns]) => [format, ms(ns)])),
    predictedGroupedMs: ms(choice.groupedNs),
  };
}
