/** RNN, GRU and LSTM: forward, reverse and bidirectional, with per-sequence lengths. */
import type { Node } from '../graph/ir.ts';
import type { Tensor } from '../tensor.ts';
import { arg, bad, float, has, int, only, refuse, str, strs } from './attrs.ts';
import { doubles, FLOATS, store } from './half.ts';
import type { Known, OpDef, OpTable } from './types.ts';

type Activation = (x: number) => number;

const ACTIVATIONS: Record<string, Activation> = {
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  relu: (x) => Math.max(0, x),
  softsign: (x) => x / (1 + Math.abs(x)),
  softplus: (x) => Math.max(0, x) + Math.log1p(Math.exp(-Math.abs(x))),
};

/** One direction of one node, with its weights as doubles. `h` and `c` are a sequence's state, updated in place. */
interface Cell {
  readonly hidden: number;
  readonly activations: readonly Activation[];
  readonly clip: (x: number) => number;
  /** W·x + its bias, and R·h + its bias: one value a gate and unit, gate after gate. */
  readonly fromInput: Float64Array;
  readonly fromState: Float64Array;
  /** R·v + its bias of gate `g`, into fromState. */
  readonly recur: (g: number, v: Float64Array) => void;
  readonly peephole: Float64Array | undefined;
  readonly h: Float64Array;
  readonly c: Float64Array;
}

interface Kind {
  readonly gates: number;
  readonly activations: readonly string[];
  readonly step: (node: Node) => (cell: Cell) => void;
}

const KINDS: Record<string, Kind> = {
  RNN: {
    gates: 1,
    activations: ['Tanh'],
    step:
      () =>
      ({ hidden, activations: [f], clip, fromInput, fromState, h }) => {
        for (let j = 0; j < hidden; j++) h[j] = f(clip(fromInput[j] + fromState[j]));
      },
  },
  /** Gates z, r, h. */
  GRU: {
    gates: 3,
    activations: ['Sigmoid', 'Tanh'],
    step(node) {
      const late = int(node, 'linear_before_reset', 0);
      return ({ hidden: n, activations: [f, g], clip, fromInput, fromState, recur, h }) => {
        const gate = (at: number) => f(clip(fromInput[at] + fromState[at]));
        const reset = h.map((_, j) => gate(n + j));
        if (late) for (let j = 0; j < n; j++) fromState[2 * n + j] *= reset[j];
        else
          recur(
            2,
            h.map((v, j) => v * reset[j]),
          );
        for (let j = 0; j < n; j++) {
          const z = gate(j);
          h[j] = (1 - z) * g(clip(fromInput[2 * n + j] + fromState[2 * n + j])) + z * h[j];
        }
      };
    },
  },
  /** Gates i, o, f, c; peepholes i, o, f. */
  LSTM: {
    gates: 4,
    activations: ['Sigmoid', 'Tanh', 'Tanh'],
    step(node) {
      const coupled = int(node, 'input_forget', 0);
      return ({ hidden: n, activations: [f, g, out], clip, fromInput, fromState, peephole: p, h, c }) => {
        for (let j = 0; j < n; j++) {
          const gate = (k: number, cell: number) =>
            clip(fromInput[k * n + j] + fromState[k * n + j] + (p && cell ? p[k * n + j] * cell : 0));
          const i = f(gate(0, c[j]));
          const forget = coupled ? 1 - i : f(gate(2, c[j]));
          c[j] = forget * c[j] + i * g(gate(3, 0));
          h[j] = f(gate(1, c[j])) * out(c[j]);
        }
      };
    },
  },
};

/** y = M·x + bias, for rows `from` up to `to` of a matrix that begins at `at`. */
function affine(
  y: Float64Array,
  matrix: Float64Array,
  at: number,
  bias: Float64Array | undefined,
  biasAt: number,
  x: Float64Array,
  from: number,
  to: number,
): void {
  const n = x.length;
  for (let r = from; r < to; r++) {
    let sum = bias ? bias[biasAt + r] : 0;
    for (let i = 0, m = at + r * n; i < n; i++) sum += matrix[m + i] * x[i];
    y[r] = sum;
  }
}

function shapeOf(node: Node, inputs: readonly ({ dims: readonly number[] } | undefined)[]) {
  const { gates } = KINDS[node.op];
  const x = arg(node, inputs, 0).dims;
  const w = arg(node, inputs, 1).dims;
  const r = arg(node, inputs, 2).dims;
  if (x.length !== 3) throw bad(node, `input expected three dimensions, got [${x}]`);
  const batchFirst = int(node, 'layout', 0) !== 0;
  const [length, batch] = batchFirst ? [x[1], x[0]] : x;
  const direction = str(node, 'direction', 'forward', ['forward', 'reverse', 'bidirectional']);
  const directions = direction === 'bidirectional' ? 2 : 1;
  const hidden = r.at(-1)!;
  const state = batchFirst ? [batch, directions, hidden] : [directions, batch, hidden];
  const expected: (readonly number[] | undefined)[] = [
    undefined,
    [directions, gates * hidden, x[2]],
    [directions, gates * hidden, hidden],
    [directions, 2 * gates * hidden],
    [batch],
    state,
    state,
    [directions, 3 * hidden],
  ];
  expected.forEach((want, i) => {
    const got = inputs[i]?.dims;
    if (want && got && `${got}` !== `${want}`) throw bad(node, `input ${i} expected shape [${want}], got [${got}]`);
  });
  if (int(node, 'hidden_size', hidden) !== hidden) throw bad(node, `hidden_size differs from weights [${w}]`);
  return { batchFirst, length, batch, width: x[2], hidden, direction, directions, state };
}

function activationsOf(node: Node, directions: number): Activation[] {
  const { activations } = KINDS[node.op];
  const names = strs(node, 'activations') ?? [...activations, ...activations].slice(0, activations.length * directions);
  if (names.length !== activations.length * directions) {
    throw bad(node, `${activations.length * directions} activations expected, got ${names.length}`);
  }
  return names.map((name) => {
    const f = ACTIVATIONS[name.toLowerCase()];
    if (!f) throw refuse(node, `activation ${name} is not supported, only ${Object.keys(ACTIVATIONS).join(', ')}`);
    return f;
  });
}

const recurrent: OpDef = {
  infer(node, inputs: readonly (Known | undefined)[]) {
    const { type } = arg(node, inputs, 0);
    only(node, type, FLOATS);
    const { batchFirst, length, batch, directions, hidden, state } = shapeOf(node, inputs);
    activationsOf(node, directions);
    const dims = batchFirst ? [batch, length, directions, hidden] : [length, directions, batch, hidden];
    const types = [
      { type, dims },
      { type, dims: state },
    ];
    if (node.op === 'LSTM') types.push({ type, dims: state });
    return types;
  },
  eval(node, inputs, outputs) {
    const { batchFirst, length, batch, width, hidden, direction, directions } = shapeOf(node, inputs);
    const [x, w, r, bias, lengths, h0, c0, peepholes] = inputs.map((t: Tensor | undefined) => t && doubles(t));
    const kind = KINDS[node.op];
    const step = kind.step(node);
    const rows = kind.gates * hidden;
    const all = activationsOf(node, directions);
    const limit = has(node, 'clip') ? float(node, 'clip') : Number.POSITIVE_INFINITY;
    const [y, yh, yc] = outputs.map((t) => new Float64Array(t.size));
    for (let d = 0; d < directions; d++) {
      const recurrence = d * rows * hidden;
      const h = new Float64Array(hidden);
      const fromState = new Float64Array(rows);
      const recur = (g: number, v: Float64Array) =>
        affine(fromState, r!, recurrence, bias, (2 * d + 1) * rows, v, g * hidden, (g + 1) * hidden);
      const cell: Cell = {
        hidden,
        activations: all.slice(d * kind.activations.length),
        clip: (v) => Math.min(limit, Math.max(-limit, v)),
        fromInput: new Float64Array(rows),
        fromState,
        recur,
        peephole: peepholes?.subarray(d * 3 * hidden, (d + 1) * 3 * hidden),
        h,
        c: new Float64Array(hidden),
      };
      for (let b = 0; b < batch; b++) {
        const stateAt = (batchFirst ? b * directions + d : d * batch + b) * hidden;
        for (const [to, from] of [
          [h, h0],
          [cell.c, c0],
        ] as const) {
          if (from) to.set(from.subarray(stateAt, stateAt + hidden));
          else to.fill(0);
        }
        const count = lengths ? Math.min(length, lengths[b]) : length;
        for (let s = 0; s < count; s++) {
          const t = direction === 'reverse' || d === 1 ? count - 1 - s : s;
          const at = (batchFirst ? b * length + t : t * batch + b) * width;
          const now = x!.subarray(at, at + width);
          affine(cell.fromInput, w!, d * rows * width, bias, 2 * d * rows, now, 0, rows);
          for (let g = 0; g < kind.gates; g++) recur(g, h);
          step(cell);
          y.set(h, (batchFirst ? (b * length + t) * directions + d : (t * directions + d) * batch + b) * hidden);
        }
        yh?.set(h, stateAt);
        yc?.set(cell.c, stateAt);
      }
    }
    [y, yh, yc].forEach((values, i) => {
      if (outputs[i]) store(outputs[i], values);
    });
  },
};

export const recurrents: OpTable = { RNN: recurrent, GRU: recurrent, LSTM: recurrent };
