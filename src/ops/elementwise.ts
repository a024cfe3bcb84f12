/** Operators that compute each output element from one element of every input, broadcast. */
import type { Node } from '../graph/ir.ts';
import type { DType, Tensor, TensorType } from '../tensor.ts';
import { arg, bad, float, int, only, str } from './attrs.ts';
import { as, broadcastDims, fill, isBig, max, min, scalarFor, spread, type Value, values } from './broadcast.ts';
import { FLOATS, rangeOf, roundEven } from './half.ts';
import type { OpDef, OpTable } from './types.ts';

const INTEGERS: readonly DType[] = ['int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64'];
const NUMBERS = [...INTEGERS, ...FLOATS];
const BOOL: readonly DType[] = ['bool'];

/** Makes the function of one element of each input, for a node and the type of its first input. */
type Make = (node: Node, type: TensorType) => (a: Value, b?: Value, c?: Value) => Value;

/**
 * @param arity number of inputs; 0: any number, the function gets a list
 * @param types allowed for the inputs, which must be of one type from input `same` on
 * @param result the output type, when it is not that of the last input
 */
function pointwise(arity: number, types: readonly DType[] | null, make: Make, result?: DType, same = 0): OpDef {
  const all = <T>(node: Node, inputs: readonly (T | undefined)[]) =>
    Array.from({ length: arity || Math.max(1, inputs.length) }, (_, i) => arg(node, inputs, i));
  return {
    infer(node, inputs) {
      const args = all(node, inputs);
      const { type } = args[args.length - 1];
      for (const a of args.slice(same)) {
        if (a.type !== type) throw bad(node, `input types ${args.map((x) => x.type).join(', ')} differ`);
      }
      if (types) only(node, type, types);
      return [
        {
          type: result ?? type,
          dims: broadcastDims(
            node,
            args.map((a) => a.dims),
          ),
        },
      ];
    },
    eval(node, inputs, [out]) {
      const args = all(node, inputs);
      const data = args.map(values);
      const at = args.map((a) => spread(node, a, out));
      const f = make(node, args[args.length - 1]);
      const [x, y = x, z = x] = data;
      const [i, j = i, k = i] = at;
      if (arity) fill(out, (n) => f(x[i[n]], y[j[n]], z[k[n]]));
      else fill(out, (n) => f(data.map((d, m) => d[at[m][n]])));
    },
  };
}

/** erf(x) = 2/√π · e^(-x²) · Σ 2ⁿ x^(2n+1) / (2n+1)!!: only positive terms, so nothing cancels. */
export function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 3; Math.abs(term) > 1e-17 * Math.abs(sum); n += 2) sum += term *= (2 * x * x) / n;
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const clamp = (x: Value, lo: Value, hi: Value) => {
  const y = x < lo ? lo : x;
  return y > hi ? hi : y;
};

type Unary = (x: Value) => Value;

/** Functions of a float, without attributes. */
const FUNCTIONS: Record<string, Unary> = {
  Erf: erf,
  Reciprocal: (x) => 1 / x,
  Round: roundEven,
  Softplus: softplus,
  Sigmoid: sigmoid,
  Softsign: (x) => x / (1 + Math.abs(x)),
  HardSwish: (x) => x * clamp(x / 6 + 0.5, 0, 1),
  Mish: (x) => x * Math.tanh(softplus(x)),
};
for (const f of 'sqrt exp log floor ceil sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh'.split(' ')) {
  FUNCTIONS[f[0].toUpperCase() + f.slice(1)] = Math[f as 'sin'];
}

/** Functions of a float with attributes: their defaults, then the function. */
const WITH: Record<string, [Record<string, number>, (a: number, b: number) => Unary]> = {
  LeakyRelu: [{ alpha: 0.01 }, (a) => (x) => (x < 0 ? a * x : x)],
  Elu: [{ alpha: 1 }, (a) => (x) => (x < 0 ? a * Math.expm1(x) : x)],
  Celu: [{ alpha: 1 }, (a) => (x) => Math.max(0, x) + Math.min(0, a * Math.expm1(x / a))],
  Selu: [
    { alpha: 1.6732632423543772, gamma: 1.0507009873554805 },
    (a, g) => (x) => g * (x > 0 ? x : a * Math.expm1(x)),
  ],
  ThresholdedRelu: [{ alpha: 1 }, (a) => (x) => (x > a || Number.isNaN(x) ? x : 0)],
  HardSigmoid: [{ alpha: 0.2, beta: 0.5 }, (a, b) => (x) => clamp(a * x + b, 0, 1)],
  Swish: [{ alpha: 1 }, (a) => (x) => x * sigmoid(a * x)],
  Shrink: [{ bias: 0, lambd: 0.5 }, (bias, l) => (x) => (x < -l ? x + bias : x > l ? x - bias : x * 0)],
};

const sum = (all: number[]) => all.reduce((a, b) => a + b);

/** The remainder with the divisor's sign, or the dividend's (C's fmod). */
const mod: Make = (node, t) => {
  const fmod = int(node, 'fmod', 0);
  return (a, b) => {
    if (isBig(t) && !b) return 0n;
    const r = a % b;
    return !fmod && r && r < 0 !== b < 0 ? r + b : r;
  };
};

/** Two numbers in integers of up to 32 bits wrap as they should when stored, but for products above 2^53. */
const mul: Make = (_node, { type }) => (type.endsWith('int32') ? Math.imul : (a, b) => a * b);

const div: Make = (_node, t) => {
  if (isBig(t)) return (a, b) => (b ? a / b : 0n);
  return FLOATS.includes(t.type) ? (a, b) => a / b : (a, b) => Math.trunc(a / b);
};

const shift: Make = (node, t) => {
  const left = str(node, 'direction', undefined, ['LEFT', 'RIGHT']) === 'LEFT';
  const bits = BigInt(t.type.slice(4));
  return (a, b) => {
    const by = BigInt(b);
    const y = by >= bits ? 0n : left ? BigInt.asUintN(Number(bits), BigInt(a) << by) : BigInt(a) >> by;
    return isBig(t) ? y : Number(y);
  };
};

export const elementwise: OpTable = {
  Add: pointwise(2, NUMBERS, () => (a, b) => a + b),
  Sub: pointwise(2, NUMBERS, () => (a, b) => a - b),
  Mul: pointwise(2, NUMBERS, mul),
  Div: pointwise(2, NUMBERS, div),
  Mod: pointwise(2, NUMBERS, mod),
  Max: pointwise(0, NUMBERS, () => (all) => all.reduce(max)),
  Min: pointwise(0, NUMBERS, () => (all) => all.reduce(min)),
  Sum: pointwise(0, FLOATS, () => sum),
  Mean: pointwise(0, FLOATS, () => (all) => sum(all) / all.length),
  And: pointwise(2, BOOL, () => (a, b) => a & b),
  Or: pointwise(2, BOOL, () => (a, b) => a | b),
  Xor: pointwise(2, BOOL, () => (a, b) => a ^ b),
  Not: pointwise(1, BOOL, () => (a) => a ^ 1),
  BitwiseAnd: pointwise(2, INTEGERS, () => (a, b) => a & b),
  BitwiseOr: pointwise(2, INTEGERS, () => (a, b) => a | b),
  BitwiseXor: pointwise(2, INTEGERS, () => (a, b) => a ^ b),
  BitwiseNot: pointwise(1, INTEGERS, () => (a) => ~a),
  BitShift: pointwise(2, ['uint8', 'uint16', 'uint32', 'uint64'], shift),
  Equal: pointwise(2, null, () => (a, b) => a === b, 'bool'),
  Less: pointwise(2, NUMBERS, () => (a, b) => a < b, 'bool'),
  Greater: pointwise(2, NUMBERS, () => (a, b) => a > b, 'bool'),
  LessOrEqual: pointwise(2, NUMBERS, () => (a, b) => a <= b, 'bool'),
  GreaterOrEqual: pointwise(2, NUMBERS, () => (a, b) => a >= b, 'bool'),
  IsNaN: pointwise(1, FLOATS, () => Number.isNaN, 'bool'),
  IsInf: pointwise(
    1,
    FLOATS,
    (node) => {
      const high = int(node, 'detect_positive', 1);
      const low = int(node, 'detect_negative', 1);
      return (a) => (a === Infinity && !!high) || (a === -Infinity && !!low);
    },
    'bool',
  ),
  Where: pointwise(3, null, () => (c, a, b) => (c ? a : b), undefined, 1),
  Abs: pointwise(1, NUMBERS, () => (a) => (a < 0 ? -a : Object.is(a, -0) ? 0 : a)),
  Neg: pointwise(1, NUMBERS, () => (a) => -a),
  Sign: pointwise(1, NUMBERS, (_node, t) => (a) => (a > 0 ? as(t, 1) : a < 0 ? as(t, -1) : a)),
  Relu: pointwise(1, NUMBERS, (_node, t) => {
    const zero = as(t, 0);
    return (a) => max(a, zero);
  }),
  PRelu: pointwise(2, NUMBERS, (_node, t) => {
    const zero = as(t, 0);
    return (a, slope) => (a < zero ? a * slope : a);
  }),
  Gelu: pointwise(1, FLOATS, (node) =>
    str(node, 'approximate', 'none', ['none', 'tanh']) === 'tanh'
      ? (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
      : (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  ),
};

for (const op in FUNCTIONS) elementwise[op] = pointwise(1, FLOATS, () => FUNCTIONS[op]);
for (const op in WITH) {
  const [defaults, make] = WITH[op];
  elementwise[op] = pointwise(1, FLOATS, (node) => {
    const [a, b] = Object.keys(defaults).map((name) => float(node, name, defaults[name]));
    return make(a, b);
  });
}

/** Base and exponent may differ in type; the result has the base's. Integer powers are exact. */
const power = pointwise(2, NUMBERS, () => (a) => a, undefined, 1);
elementwise.Pow = {
  infer(node, inputs, need) {
    const [{ dims }] = power.infer(node, inputs, need);
    const { type } = arg(node, inputs, 0);
    only(node, type, NUMBERS);
    return [{ type, dims }];
  },
  eval(node, inputs, [out]) {
    const a = arg(node, inputs, 0);
    const b = arg(node, inputs, 1);
    const [x, y] = [values(a), values(b)];
    const [i, j] = [spread(node, a, out), spread(node, b, out)];
    const exact = !FLOATS.includes(a.type);
    fill(out, (n) => {
      const base = x[i[n]];
      const exponent = y[j[n]];
      if (exact && exponent >= 0 && Number.isInteger(Number(exponent))) {
        const p = BigInt.asUintN(64, powWrapped(BigInt(base), BigInt(exponent)));
        return isBig(out) ? p : Number(BigInt.asIntN(32, p));
      }
      return as(out, Number(base) ** Number(exponent));
    });
  },
};

/** base^exponent modulo 2^64, in as many steps as the exponent has bits. */
function powWrapped(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  for (; exponent; exponent >>= 1n, base = BigInt.asUintN(64, base * base)) {
    if (exponent & 1n) result = BigInt.asUintN(64, result * base);
  }
  return result;
}

elementwise.Clip = {
  infer(node, inputs) {
    const x = arg(node, inputs, 0);
    only(node, x.type, NUMBERS);
    for (const bound of inputs.slice(1)) scalarFor(node, x, bound);
    return [x];
  },
  eval(_node, [x, lo, hi], [out]) {
    const data = values(x as Tensor);
    const [low, high] = rangeOf(out.type) ?? [-Infinity, Infinity];
    const from = lo ? values(lo)[0] : low;
    const to = hi ? values(hi)[0] : high;
    fill(out, (i) => clamp(data[i], from, to));
  },
};
