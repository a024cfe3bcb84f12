/** What lowering turns a node into, and what a lowering rule may ask. */
import type { KernelCall } from '../../kernel/call.ts';
import type { FewChoice } from '../../kernel/few.ts';
import type { Choice } from '../../kernel/select.ts';
import type { Known, OpTable } from '../../ops/types.ts';
import type { DataOf, DType, Tensor } from '../../tensor.ts';
import type { Node } from '../ir.ts';
import type { Layout, Place } from '../place.ts';

/** A value as a rule reads or writes it: in one layout. */
export interface Slot {
  readonly name: string;
  readonly layout: Layout;
}

/** Facts about a step, for profiles and `sparsimd inspect`. */
export interface StepFacts {
  /** The kernel that does most of the work, or `host` where the scalar evaluation runs. */
  kernel: string;
  /** Weight format, for layers that have weights. */
  format?: string;
  /** Multiply-adds times two on the stored nonzeros, and as if dense. */
  flops?: number;
  denseFlops?: number;
  /** Share of zeros in the weights, 0 to 1. */
  sparsity?: number;
  /** Bytes of the packed weights. */
  weightBytes?: number;
  /** Time the cost model predicts, and predicts for the dense format; ms. */
  predictedMs?: number;
  predictedDenseMs?: number;
  /** Of the best kernel of each format, and of the best one if as many zeros lay in groups of `groupSize` output channels; ms. */
  predictedFormatsMs?: Readonly<Record<string, number>>;
  predictedGroupedMs?: number;
  groupSize?: 4 | 16;
}

/** A lowered node: which slots it reads and writes, and how to make its kernel calls once addresses are known. */
export interface Lowered extends StepFacts {
  reads: Slot[];
  writes: Slot[];
  /** Bytes of scratch memory alive during this step only. */
  scratch?: number;
  /** The first write may take the buffer of the first read when nobody needs that afterwards. */
  inPlace?: boolean;
  /** The kernel calls, or a function for work done on the host. Places come in the order of `reads` and `writes`. */
  emit(reads: readonly Place[], writes: readonly Place[], scratch: number): readonly KernelCall[] | (() => void);
}

/** Limits fused from a following Relu or Clip, and the value that the fused pair writes. */
export interface Clamp {
  readonly min: number;
  readonly max: number;
}

export interface LowerContext {
  /** Type, shape and, where known, value: of this plan, unless it is one of the model's constants. */
  known(name: string): Known;
  /** The value of one of the model's constants. Only these may stay in memory longer than a plan lives. */
  constantOf(name: string): Tensor | undefined;
  /** The layout a value has now. */
  layoutOf(name: string): Layout;
  /** The layout that readers of a value would like best. */
  wanted(name: string): Layout;
  /** One of the model's constants in memory; uploaded once per model. Returns its address. */
  constant(data: ArrayBufferView): number;
  /**
   * Packed weights in memory, made once per model: `make` runs only the first time. The key says what of the model's constants
   * is packed (`idOf`), and how.
   */
  packed<T extends { data: Uint8Array }>(
    key: string,
    make: () => T,
  ): { at: number; packed: Omit<T, 'data'> & { data: Uint8Array } };
  /** The memory at the time of the call; a view is valid until the memory grows. */
  view<T extends DType>(type: T, at: number, length: number): DataOf<T>;
  /** Bytes of the whole memory now. */
  memoryBytes(): number;
  /** The operators' definitions. */
  readonly ops: OpTable;
  /** Lowers to the scalar definition. */
  host(node: Node, ctx: LowerContext): Lowered;
  readonly weights: WeightChooser;
}

/** Chooses the weight format and kernel of a layer. */
export interface WeightChooser {
  choose(key: string, weights: Float32Array, rows: number, cols: number, columns: number): Choice;
  /** The best sparse kernel for `runs` products of `columns` each; undefined where the model must run dense. */
  chooseSparse(
    key: string,
    weights: Float32Array,
    rows: number,
    cols: number,
    columns: number,
    runs: number,
  ): Choice | undefined;
  /** For one to eight tokens; dense where the model must run dense. */
  chooseFew(key: string, weights: Float32Array, rows: number, cols: number, tokens: number): FewChoice;
  /** Whether `key` is packed already, or fewer than `most` keys are that start with `family`. */
  room(family: string, key: string, most: number): boolean;
}

/**
 * A rule lowers one node to kernels, or returns undefined to leave it to the next rule and in the end to the host.
 * `clamp` is present when a following Relu or Clip was fused: a rule that cannot apply it returns undefined.
 */
export type Rule = (node: Node, out: string, clamp: Clamp | undefined, ctx: LowerContext) => Lowered | undefined;

/** The value of an input that must be one of the model's own f32 tensors, or undefined. */
export function f32Constant(ctx: LowerContext, name: string | undefined): Tensor<'float32'> | undefined {
  const value = name ? ctx.constantOf(name) : undefined;
  return value?.type === 'float32' ? (value as Tensor<'float32'>) : undefined;
}

const ids = new WeakMap<object, number>();
let nextId = 0;

/** A short name for a constant, for the keys of weights in memory. Names in the model do not do: branches use them again. */
export function idOf(constant: Tensor | undefined): string {
  if (!constant) return '';
  let id = ids.get(constant);
  if (id === undefined) ids.set(constant, (id = nextId++));
  return `${id}`;
}

/** No limits. */
export const OPEN: Clamp = { min: Number.NEGATIVE_INFINITY, max: Number.POSITIVE_INFINITY };

/** A list for one or two spatial dimensions as one for two: one dimension is seen as a picture of height 1. */
export const two = (list: readonly number[], fill: number): [number, number] =>
  list.length === 1 ? [fill, list[0]] : [list[0], list[1]];
