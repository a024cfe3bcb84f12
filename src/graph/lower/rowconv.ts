/** Pruned k×k convolutions over padded rows, where that beats gathering every tap. */
import { rowConvCalls } from '../../kernel/rowconv.ts';
import { SPMM } from '../../kernel/tiles.ts';
import { packRowConv, rowLayout } from '../../pack/rowconv.ts';
import { sizeOf } from '../../tensor.ts';
import type { Node } from '../ir.ts';
import { type Conv2d, eachImage } from './conv.ts';
import { chosenFacts, type Matrix } from './matrix.ts';
import type { Clamp, LowerContext, Lowered } from './types.ts';

/** Nanoseconds a float: to gather a tap, and to copy an input into rows (bench conv and rowconv, Zen 4, both Nodes). */
const GATHER_NS = 0.22;
const ROWS_NS = 0.2;
/** Widths a layer's weights are packed for; pictures of still other widths gather taps. */
const WIDTHS = 4;
/** Of a call into WebAssembly. */
const CALL_NS = 40;

/**
 * @param gathered what the layer would do otherwise
 * @returns undefined where that is predicted to be as fast
 */
export function rowConvolution(
  node: Node,
  out: string,
  c: Conv2d,
  gathered: Matrix,
  clamp: Clamp,
  ctx: LowerContext,
): Lowered | undefined {
  const shape = { ...c, outHeight: c.out[0], outWidth: c.out[1] };
  const layout = gathered.choice.zeros > 0 ? rowLayout(shape) : undefined;
  if (!layout) return undefined;
  const { key, rows, cols, columns } = gathered;
  const choice = ctx.weights.chooseSparse(key, c.weights, rows, cols, c.out[1], c.out[0]);
  if (!choice) return undefined;
  const calls = c.out[0] * layout.blocks * CALL_NS;
  const ns = choice.ns + calls + (layout.bytes / 4) * ROWS_NS;
  if (ns > gathered.choice.ns + cols * sizeOf(c.out) * GATHER_NS) return undefined;
  const variant = SPMM.find((v) => v.name === choice.variant)!;
  // The packed offsets hold for one width of rows.
  const family = `${key}|rows|`;
  const packing = `${family}${layout.block}|${layout.columns}|${c.stride}|${c.dilation}|${choice.variant}`;
  if (!ctx.weights.room(family, packing, WIDTHS)) return undefined;
  const { at, packed } = ctx.packed(packing, () => packRowConv(c.weights, rows, shape, layout, variant, c.bias));
  return {
    ...chosenFacts(
      { rows, cols, columns, packed, choice: { ...choice, ns, denseNs: gathered.choice.denseNs } },
      c.images,
    ),
    reads: [{ name: node.inputs[0], layout: 0 }],
    writes: [{ name: out, layout: 0 }],
    scratch: layout.bytes,
    emit: ([x], [y], scratch) =>
      eachImage(c.images, (n) =>
        rowConvCalls(packed, at, shape, layout, {
          x: x.at + n * x.imageStride,
          y: y.at + n * y.imageStride,
          scratch,
          ...clamp,
        }),
      ),
  };
}
