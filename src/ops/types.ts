/** What an operator's definition is: shape inference, and an exact scalar evaluation that works for every type it allows. */
import type { Node } from '../graph/ir.ts';
import type { Tensor, TensorType } from '../tensor.ts';

/** An input at planning time: its type and shape always, its value when it is known. */
export interface Known extends TensorType {
  readonly value?: Tensor;
}

export interface OpDef {
  /** The outputs follow from the types of the inputs alone: `eval` reads no input's `data`. */
  readonly shapeOnly?: true;
  /**
   * Types and shapes of the outputs.
   * Ask for the value of an input that decides a shape through `need(i)`; it throws a NeedsValue that the planner turns
   * into a plan specialised for that value.
   * @throws UnsupportedOpError, ModelFormatError
   */
  infer(node: Node, inputs: readonly (Known | undefined)[], need: (i: number) => Tensor): TensorType[];
  /**
   * Computes the outputs into tensors already allocated with the inferred types. The scalar truth that kernels are
   * tested against: f64 or exact integer arithmetic inside, one rounding at the store.
   * Inputs and outputs never share memory.
   */
  eval(node: Node, inputs: readonly (Tensor | undefined)[], outputs: readonly Tensor[]): void;
}

export type OpTable = Record<string, OpDef>;
