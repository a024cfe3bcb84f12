/** Typed reading of node attributes and inputs. All throw ModelFormatError where the model is not what ONNX says. */
import { describe, ModelFormatError, UnsupportedOpError } from '../errors.ts';
import type { Node } from '../graph/ir.ts';
import type { DType } from '../tensor.ts';

/** How messages name a node. */
export const where = (node: Node): string => `node "${node.name}" (${node.op})`;

/** A model that contradicts itself or ONNX: `throw bad(node, 'why')`. */
export const bad = (node: Node, message: string): ModelFormatError => new ModelFormatError(where(node), message);

/** An operator, attribute or type that is not implemented: `throw refuse(node, 'why')`. */
export const refuse = (node: Node, reason: string): UnsupportedOpError =>
  new UnsupportedOpError(node.op, node.name, reason);

function get<T>(node: Node, name: string, kind: string, is: (v: unknown) => boolean, fallback?: T): T {
  const value = node.attrs[name];
  if (value === undefined) {
    if (fallback === undefined) throw bad(node, `attribute "${name}" is missing`);
    return fallback;
  }
  if (!is(value)) throw bad(node, `attribute "${name}" expected ${kind}, got ${describe(value)}`);
  return value as T;
}

const isNumber = (v: unknown) => typeof v === 'number';
const isString = (v: unknown) => typeof v === 'string';
const listOf = (is: (v: unknown) => boolean) => (v: unknown) => Array.isArray(v) && v.every(is);

/** An integer attribute; required when no fallback is given. */
export const int = (node: Node, name: string, fallback?: number): number =>
  get(node, name, 'an integer', Number.isInteger, fallback);

/** A float attribute; required when no fallback is given. */
export const float = (node: Node, name: string, fallback?: number): number =>
  get(node, name, 'a number', isNumber, fallback);

/** A string attribute; required when no fallback is given. With `allowed`, any other value is a ModelFormatError. */
export function str(node: Node, name: string, fallback?: string, allowed?: readonly string[]): string {
  const value = get(node, name, 'a string', isString, fallback);
  if (allowed && !allowed.includes(value)) {
    throw bad(node, `attribute "${name}" expected ${allowed.join(', ')}, got "${value}"`);
  }
  return value;
}

/** Whether the node carries the attribute. */
export const has = (node: Node, name: string): boolean => node.attrs[name] !== undefined;

/** A list of integers, or undefined when the node does not carry it. */
export const ints = (node: Node, name: string): readonly number[] | undefined =>
  has(node, name) ? get(node, name, 'integers', listOf(Number.isInteger)) : undefined;

/** A list of floats, or undefined when the node does not carry it. */
export const floats = (node: Node, name: string): readonly number[] | undefined =>
  has(node, name) ? get(node, name, 'numbers', listOf(isNumber)) : undefined;

/** A list of strings, or undefined when the node does not carry it. */
export const strs = (node: Node, name: string): readonly string[] | undefined =>
  has(node, name) ? get(node, name, 'strings', listOf(isString)) : undefined;

/** An axis in -rank … rank-1, counted from the front. */
export function axisOf(axis: number, rank: number, node: Node): number {
  if (!(Number.isInteger(axis) && axis >= -rank && axis < rank))
    throw bad(node, `axis ${axis} is out of range for rank ${rank}`);
  return axis < 0 ? axis + rank : axis;
}

/** Input `i`, which the operator cannot do without. */
export function arg<T>(node: Node, inputs: readonly (T | undefined)[], i: number): T {
  const input = inputs[i];
  if (input === undefined) throw bad(node, `input ${i} is missing`);
  return input;
}

/** Refuses by name a type that is not in the list. */
export function only(node: Node, type: DType, types: readonly DType[]): void {
  if (!types.includes(type)) throw refuse(node, `type ${type} is not supported, only ${types.join(', ')}`);
}

/** Checks that the inputs given share their first one's type. @throws ModelFormatError */
export function sameType(node: Node, inputs: readonly ({ readonly type: DType } | undefined)[]): void {
  for (const t of inputs) {
    if (t && t.type !== inputs[0]?.type) throw bad(node, `inputs of ${inputs[0]?.type} and ${t.type} do not mix`);
  }
}

/** Whether the node lists output `i`, be it as left out. Output 0 always is. */
export const wants = (node: Node, i: number): boolean => i < Math.max(1, node.outputs.length);

/** The value of input `i`, or undefined where it is left out. */
export const optional = <T>(inputs: readonly unknown[], need: (i: number) => T, i: number): T | undefined =>
  inputs[i] ? need(i) : undefined;

/** Axes counted from the front. @throws ModelFormatError when one is out of range or there twice */
export function axesOf(node: Node, axes: readonly number[], rank: number): number[] {
  const out = axes.map((a) => axisOf(a, rank, node));
  if (new Set(out).size < out.length) throw bad(node, `axes [${axes}] name one twice`);
  return out;
}
