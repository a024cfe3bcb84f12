/**
 * Rewrites that hold for every input shape, run once when a model is loaded: constant folding, batch norms and constant
 * per-channel scales and shifts into the convolution before them, gates (x * sigmoid(x)) into one operator, dead code.
 * Each is exact up to rounding; the interpreter on the unoptimised graph is the oracle.
 */

import { SparsimdError } from '../errors.ts';
import { float } from '../ops/attrs.ts';
import type { OpTable } from '../ops/types.ts';
import { sizeOf, Tensor } from '../tensor.ts';
import { evalNode, inferNode } from './infer.ts';
import { branchesOf, type Graph, type Node } from './ir.ts';
import { Rewriter, removeDead } from './rewrite.ts';

/** Results of more elements than this stay computed at run time (an Expand of a scalar to a whole feature map). */
const FOLD_LIMIT = 2 ** 24;

/** Optimises in place and returns the graph. */
export function optimise(graph: Graph, ops: OpTable): Graph {
  foldConstants(graph, ops);
  dropIdentities(graph);
  removeDead(graph);
  foldScales(graph);
  fuseGates(graph);
  removeDead(graph);
  return graph;
}

/** Evaluates nodes that read constants only, those of branches too. `around`: the constants of the graph a branch lies in. */
function foldConstants(graph: Graph, ops: OpTable, around: ReadonlyMap<string, Tensor> = new Map()): void {
  const constantOf = (name: string) => graph.constants.get(name) ?? around.get(name);
  graph.nodes = graph.nodes.filter((node) => {
    for (const branch of branchesOf(node)) foldConstants(branch, ops, new Map([...around, ...graph.constants]));
    if (!Object.hasOwn(ops, node.op) || !node.inputs.every((n) => !n || constantOf(n))) return true;
    const op = ops[node.op];
    const inputs = node.inputs.map(constantOf);
    let outputs: Tensor[];
    try {
      const known = inputs.map((t) => t && { type: t.type, dims: t.dims, value: t });
      const types = inferNode(op, node, known, (i) => inputs[i]!);
      if (types.some((t) => sizeOf(t.dims) > FOLD_LIMIT)) return true;
      outputs = evalNode(op, node, inputs, types);
    } catch (error) {
      // What is wrong with a node is said when it is planned; anything but a refusal is a mistake of ours.
      if (error instanceof SparsimdError) return true;
      throw error;
    }
    node.outputs.forEach((name, i) => {
      if (name) graph.constants.set(name, outputs[i]);
    });
    return false;
  });
}

function dropIdentities(graph: Graph): void {
  const rw = new Rewriter(graph);
  for (const node of [...graph.nodes]) {
    const idle = node.op === 'Identity' || (node.op === 'Dropout' && !node.outputs[1] && !node.inputs[2]);
    if (idle && rw.redirect(node.outputs[0], node.inputs[0])) rw.remove([node]);
  }
}

/** The per-channel scale and shift that a node following a convolution with `channels` outputs applies, if it is one. */
function affine(
  node: Node,
  rw: Rewriter,
  value: string,
  channels: number,
  rank: number,
): { scale?: Float64Array; shift?: Float64Array } | undefined {
  if (node.op === 'BatchNormalization') {
    const [scale, bias, mean, variance] = node.inputs.slice(1).map((n) => rw.constant(n));
    if (!scale || !bias || !mean || !variance || node.outputs.slice(1).some(Boolean)) return undefined;
    if (Number(node.attrs.training_mode ?? 0) || node.inputs[0] !== value) return undefined;
    const epsilon = float(node, 'epsilon', 1e-5);
    const k = Float64Array.from(
      scale.data as Float32Array,
      (s, i) => s / Math.sqrt(Number(variance.data[i]) + epsilon),
    );
    return { scale: k, shift: k.map((s, i) => Number(bias.data[i]) - Number(mean.data[i]) * s) };
  }
  if (!['Add', 'Sub', 'Mul', 'Div'].includes(node.op) || node.inputs[0] === node.inputs[1]) return undefined;
  const flipped = node.inputs[1] === value;
  if (flipped && (node.op === 'Sub' || node.op === 'Div')) return undefined;
  const other = rw.constant(node.inputs[flipped ? 0 : 1]);
  if (other?.type !== 'float32') return undefined;
  const { dims, size, data } = other;
  // [C,1,…] or [1,C,1,…] against [N,C,…], or one number
  const axis = dims.length - rank + 1;
  if (dims.length > rank || (size !== 1 && !(size === channels && dims[axis] === channels))) return undefined;
  const at = (i: number) => Number(data[size === 1 ? 0 : i]);
  const v = Float64Array.from({ length: channels }, (_, i) => at(i));
  if (node.op === 'Add') return { shift: v };
  if (node.op === 'Sub') return { shift: v.map((x) => -x) };
  return { scale: node.op === 'Mul' ? v : v.map((x) => 1 / x) };
}

/** Conv or ConvTranspose followed by BatchNormalization or a constant per-channel Add, Sub, Mul, Div. */
function foldScales(graph: Graph): void {
  const rw = new Rewriter(graph);
  for (const conv of graph.nodes) {
    if (conv.op !== 'Conv' && conv.op !== 'ConvTranspose') continue;
    for (;;) {
      const next = rw.onlyReader(conv.outputs[0]);
      const weight = rw.constant(conv.inputs[1]);
      const bias = rw.constant(conv.inputs[2]);
      if (!next || weight?.type !== 'float32' || weight.dims.length < 3 || (conv.inputs[2] && !bias)) break;
      const group = Number(conv.attrs.group ?? 1);
      const transposed = conv.op === 'ConvTranspose';
      const channels = transposed ? weight.dims[1] * group : weight.dims[0];
      const f = affine(next, rw, conv.outputs[0], channels, weight.dims.length);
      if (!f) break;
      const { scale, shift } = f;
      if (scale) {
        const data = Float32Array.from(weight.data as Float32Array);
        const kernel = weight.dims.slice(2).reduce((a, b) => a * b, 1);
        for (let i = 0; i < data.length; i++) {
          const q = Math.floor(i / kernel);
          const [inChannel, outInGroup] = [Math.floor(q / weight.dims[1]), q % weight.dims[1]];
          const c = transposed
            ? Math.floor(inChannel / (weight.dims[0] / group)) * weight.dims[1] + outInGroup
            : inChannel;
          // A pruned weight stays pruned whatever the scale, infinite and NaN included.
          if (data[i] !== 0) data[i] *= scale[c];
        }
        conv.inputs[1] = rw.addConstant(`${conv.inputs[1]}.scaled`, new Tensor('float32', data, weight.dims));
      }
      const b = Float32Array.from(
        { length: channels },
        (_, c) => Number(bias?.data[c] ?? 0) * (scale?.[c] ?? 1) + (shift?.[c] ?? 0),
      );
      conv.inputs[2] = rw.addConstant(`${conv.name}.bias`, new Tensor('float32', b, [channels]));
      rw.absorb(conv, next);
    }
  }
}

/** x * Sigmoid(x) is Swish; x * HardSigmoid(x, 1/6, 1/2) and x * Clip(x + 3, 0, 6) / 6 are HardSwish. */
function fuseGates(graph: Graph): void {
  const rw = new Rewriter(graph);
  for (const mul of [...graph.nodes]) {
    if (mul.op !== 'Mul') continue;
    for (const [x, gated] of [mul.inputs, [...mul.inputs].reverse()]) {
      const gate = rw.writer(gated);
      if (!gate || rw.onlyReader(gated) !== mul) continue;
      const clipped = gate.op === 'Clip' ? clippedGate(gate, x, mul, rw) : undefined;
      const simple = gate.inputs[0] === x && (gate.op === 'Sigmoid' || isHardSigmoid(gate));
      if (!clipped && !simple) continue;
      mul.op = gate.op === 'Sigmoid' ? 'Swish' : 'HardSwish';
      mul.inputs = [x];
      mul.attrs = {};
      if (clipped) rw.absorb(mul, clipped.div);
      rw.remove([gate, ...(clipped ? [clipped.add] : [])]);
      break;
    }
  }
}

const isHardSigmoid = (gate: Node): boolean =>
  gate.op === 'HardSigmoid' &&
  Math.abs(float(gate, 'alpha', 0.2) - 1 / 6) < 1e-6 &&
  Math.abs(float(gate, 'beta', 0.5) - 0.5) < 1e-6;

/** The rest of x * Clip(x + 3, 0, 6) / 6 around its Clip, as paddle exports it. */
function clippedGate(clip: Node, x: string, mul: Node, rw: Rewriter): { add: Node; div: Node } | undefined {
  // Constants of more dimensions than x would give the result theirs. What a convolution writes has three at least.
  const rank = /^Conv/.test(rw.writer(x)?.op ?? '') ? 3 : 0;
  const is = (name: string | undefined, value: number) => {
    const t = rw.constant(name);
    return t?.type === 'float32' && t.size === 1 && t.dims.length <= rank && t.data[0] === value;
  };
  const add = rw.writer(clip.inputs[0]);
  const div = rw.onlyReader(mul.outputs[0]);
  const fits =
    is(clip.inputs[1], 0) &&
    is(clip.inputs[2], 6) &&
    add?.op === 'Add' &&
    rw.onlyReader(add.outputs[0]) === clip &&
    add.inputs.includes(x) &&
    is(
      add.inputs.find((n) => n !== x),
      3,
    ) &&
    div?.op === 'Div' &&
    div.inputs[0] === mul.outputs[0] &&
    is(div.inputs[1], 6);
  return fits ? { add, div } : undefined;
}
