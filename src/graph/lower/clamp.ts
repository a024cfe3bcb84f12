import type { Node } from '../ir.ts';
import type { Clamp, LowerContext } from './types.ts';

/** What a Relu or a Clip with known limits does to its f32 input. */
export function clampOf(node: Node, ctx: LowerContext): Clamp | undefined {
  if (ctx.known(node.inputs[0]).type !== 'float32') return undefined;
  if (node.op === 'Relu') return { min: 0, max: Number.POSITIVE_INFINITY };
  if (node.op !== 'Clip') return undefined;
  const limit = (name: string | undefined, none: number) => (name ? ctx.known(name).value?.data[0] : none);
  const min = limit(node.inputs[1], Number.NEGATIVE_INFINITY);
  const max = limit(node.inputs[2], Number.POSITIVE_INFINITY);
  return min === undefined || max === undefined || !(min <= max) ? undefined : { min: Number(min), max: Number(max) };
}
