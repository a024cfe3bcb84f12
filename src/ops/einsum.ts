/** Einsum, and Det. */
import type { Node } from '../graph/ir.ts';
import { arg, bad, only, sameType, str } from './attrs.ts';
import { accumulator, exact, INTEGERS, storeExact } from './exact.ts';
import { doubles, FLOATS, store } from './half.ts';
import { axpy, eachRun } from './strided.ts';
import type { OpTable } from './types.ts';

/**
 * An Einsum equation against shapes: every label's size, output labels first, and the strides by which the operands and
 * the output (last) walk over them.
 */
function einsum(node: Node, shapes: readonly (readonly number[])[]) {
  const equation = str(node, 'equation').replaceAll(' ', '');
  const [inputs, output] = equation.split('->');
  const terms = inputs.split(',');
  if (terms.length !== shapes.length)
    throw bad(node, `"${equation}" has ${terms.length} terms for ${shapes.length} inputs`);
  // What an ellipsis covers gets the labels 9, 8, … from the right, so that operands line up on it.
  let dots = '';
  const labels = terms.map((term, t) => {
    const rest = shapes[t].length - term.replace('...', '').length;
    const covered = '0123456789'.slice(10 - rest);
    if (rest < 0 || rest > 10 || (rest && !term.includes('...'))) {
      throw bad(node, `term "${term}" does not fit shape [${shapes[t]}]`);
    }
    if (rest > dots.length) dots = covered;
    return term.replace('...', rest ? covered : '');
  });
  const all = labels.join('');
  const once = [...new Set(all)].filter((l) => l > '9' && all.indexOf(l) === all.lastIndexOf(l)).sort();
  const out = output?.replace('...', dots) ?? dots + once.join('');
  const order = [...new Set(out + all)];
  const size = new Map<string, number>();
  labels.forEach((term, t) => {
    [...term].forEach((l, i) => {
      const d = shapes[t][i];
      const seen = size.get(l) ?? 1;
      if (d !== seen && d !== 1 && seen !== 1)
        throw bad(node, `label "${l}" of "${equation}" is both ${seen} and ${d}`);
      size.set(l, d === 1 ? seen : d);
    });
  });
  if (new Set(out).size < out.length || [...out].some((l) => !size.has(l)))
    throw bad(node, `bad output in "${equation}"`);
  const dims = [...out].map((l) => size.get(l)!);
  const strides = [...labels, out].map((term, t) => {
    const shape = shapes[t] ?? dims;
    const steps = order.map(() => 0);
    // A label that repeats within a term walks the diagonal: its strides add up.
    for (let i = shape.length - 1, step = 1; i >= 0; step *= shape[i--]) {
      if (shape[i] !== 1) steps[order.indexOf(term[i])] += step;
    }
    return steps;
  });
  return { dims, sizes: order.map((l) => size.get(l)!), strides };
}

export const einsums: OpTable = {
  Einsum: {
    infer(node, inputs) {
      const operands = inputs.map((_, i) => arg(node, inputs, i));
      const { type } = arg(node, operands, 0);
      sameType(node, operands);
      only(node, type, [...FLOATS, ...INTEGERS]);
      return [
        {
          type,
          dims: einsum(
            node,
            operands.map((t) => t.dims),
          ).dims,
        },
      ];
    },
    eval(node, inputs, [y]) {
      const x = inputs.map((t) => exact(t!));
      const { sizes, strides } = einsum(
        node,
        inputs.map((t) => t!.dims),
      );
      const steps = strides.map((s) => s.at(-1) ?? 0);
      const out = accumulator(y.type, y.size);
      const count = x.length;
      eachRun(sizes, strides, (at, n) => {
        for (let i = 0; i < n; i++) {
          let term = x[0][at[0] + i * steps[0]];
          for (let t = 1; t < count; t++) term *= x[t][at[t] + i * steps[t]];
          out[at[count] + i * steps[count]] += term;
        }
      });
      storeExact(y, out);
    },
  },
  /** By elimination with row pivoting. */
  Det: {
    infer(node, inputs) {
      const { type, dims } = arg(node, inputs, 0);
      only(node, type, FLOATS);
      if (dims.length < 2 || dims.at(-1) !== dims.at(-2)) throw bad(node, `square matrices expected, got [${dims}]`);
      return [{ type, dims: dims.slice(0, -2) }];
    },
    eval(_node, [x], [y]) {
      const n = x!.dims.at(-1)!;
      const a = doubles(x!);
      const out = new Float64Array(y.size);
      for (let o = 0; o < out.length; o++) {
        const row = Array.from({ length: n }, (_, i) => a.subarray((o * n + i) * n, (o * n + i + 1) * n));
        let det = 1;
        for (let i = 0; i < n; i++) {
          let pivot = i;
          for (let j = i + 1; j < n; j++) if (Math.abs(row[j][i]) > Math.abs(row[pivot][i])) pivot = j;
          if (pivot !== i) {
            [row[i], row[pivot]] = [row[pivot], row[i]];
            det = -det;
          }
          det *= row[i][i];
          if (det === 0) break;
          for (let j = i + 1; j < n; j++) axpy(row[j], i, 1, row[i], i, 1, -row[j][i] / row[i][i], n - i);
        }
        out[o] = det;
      }
      store(y, out);
    },
  },
};
