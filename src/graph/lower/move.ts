/** Operators that only move data. On bytes, so any type. */
import { transposeCalls } from '../../kernel/layout.ts';
import { axisOf, ints } from '../../ops/attrs.ts';
import { bytesOf, sizeOf } from '../../tensor.ts';
import type { Node } from '../ir.ts';
import type { LowerContext, Lowered, Rule } from './types.ts';

/** Reshape and its kin: the same bytes under other dims. Free when the buffer can be taken over. */
export const alias: Rule = (node, out, clamp, ctx) => {
  if (clamp || node.outputs.slice(1).some(Boolean)) return undefined;
  if (node.op === 'Dropout' && node.inputs[2]) return undefined;
  return {
    kernel: 'alias',
    reads: [{ name: node.inputs[0], layout: 0 }],
    writes: [{ name: out, layout: 0 }],
    inPlace: true,
    emit([from], [to]) {
      if (from.at === to.at) return [];
      return () => {
        ctx.view('uint8', to.at, to.bytes).set(ctx.view('uint8', from.at, to.bytes));
      };
    },
  };
};

/** Concat along any axis: one block copy for each input and outer index. */
export const concat: Rule = (node: Node, out, clamp, ctx: LowerContext): Lowered | undefined => {
  if (clamp) return undefined;
  const { dims, type } = ctx.known(out);
  const axis = axisOf(Number(node.attrs.axis), dims.length, node);
  const inner = bytesOf(type) * sizeOf(dims.slice(axis + 1));
  const outer = sizeOf(dims.slice(0, axis));
  const rows = node.inputs.map((n) => ctx.known(n).dims[axis] * inner);
  return {
    kernel: 'copy',
    reads: node.inputs.map((name) => ({ name, layout: 0 })),
    writes: [{ name: out, layout: 0 }],
    emit(from, [to]) {
      return () => {
        const memory = ctx.view('uint8', 0, ctx.memoryBytes());
        let at = to.at;
        for (let o = 0; o < outer; o++) {
          for (let i = 0; i < rows.length; i++) {
            const start = from[i].at + o * rows[i];
            memory.copyWithin(at, start, start + rows[i]);
            at += rows[i];
          }
        }
      };
    },
  };
};

/** A transposition of f32 that swaps two neighbouring groups of axes: batches of two-dimensional transposes. */
export const transpose: Rule = (node, out, clamp, ctx) => {
  const { dims, type } = ctx.known(node.inputs[0]);
  if (clamp || type !== 'float32') return undefined;
  const perm = ints(node, 'perm') ?? dims.map((_, i) => dims.length - 1 - i);
  // Axes of size 1 do not move data: leave them out and renumber the others.
  const axes = dims.map((_, i) => i).filter((i) => dims[i] !== 1);
  const moving = perm.filter((p) => dims[p] !== 1).map((p) => axes.indexOf(p));
  const still = moving.findIndex((p, i) => p !== i);
  if (still < 0) return alias({ ...node, inputs: node.inputs.slice(0, 1) }, out, clamp, ctx);
  // Leading axes that stay, then two runs of neighbours [A][B] -> [B][A].
  const rest = moving.slice(still);
  const pivot = rest.indexOf(still);
  const [b, a] = [rest.slice(0, pivot), rest.slice(pivot)];
  const run = (list: readonly number[]) => list.every((p, i) => i === 0 || p === list[i - 1] + 1);
  if (!run(a) || !run(b) || b[0] !== a[a.length - 1] + 1) return undefined;
  const size = (list: readonly number[]) => list.reduce((s, p) => s * dims[axes[p]], 1);
  const [batch, rows, cols] = [size(moving.slice(0, still)), size(a), size(b)];
  return {
    kernel: 'f32_transpose',
    reads: [{ name: node.inputs[0], layout: 0 }],
    writes: [{ name: out, layout: 0 }],
    emit: ([from], [to]) =>
      Array.from({ length: batch }, (_, i) => {
        const skip = 4 * i * rows * cols;
        return transposeCalls({ x: from.at + skip, y: to.at + skip, rows, cols });
      }).flat(),
  };
};
