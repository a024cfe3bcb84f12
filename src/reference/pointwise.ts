/** erf by its series, and by the continued fraction of erfc where that converges faster. */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (!(a < 3)) {
    if (Number.isNaN(x)) return x;
    let f = a;
    for (let k = 60; k > 0; k--) f = a + k / 2 / f;
    return Math.sign(x) * (a > 30 ? 1 : 1 - Math.exp(-a * a) / f / Math.sqrt(Math.PI));
  }
  let term = x;
  let sum = x;
  for (let k = 1; k < 80; k++) {
    term *= (-x * x) / k;
    sum += term / (2 * k + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

const limit = (x: number, lo: number, hi: number) => Math.max(lo, Math.min(x, hi));
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** The formulas of ONNX's operators, in f64. */
export const UNARY: Record<string, (x: number, a: number, b: number) => number> = {
  clamp: limit,
  hardswish: (x) => x * limit(x / 6 + 0.5, 0, 1),
  hardsigmoid: (x, a, b) => limit(a * x + b, 0, 1),
  leakyrelu: (x, a) => (x < 0 ? a * x : x),
  sqrt: Math.sqrt,
  neg: (x) => -x,
  abs: Math.abs,
  reciprocal: (x) => 1 / x,
  exp: Math.exp,
  sigmoid,
  swish: (x) => x * sigmoid(x),
  // 1 + tanh u = 2 sigmoid(2u), which does not cancel.
  gelutanh: (x) => x * sigmoid(2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)),
  elu: (x, a) => (x < 0 ? a * Math.expm1(x) : x),
  tanh: Math.tanh,
  erf,
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  log: Math.log,
};

export const BINARY: Record<string, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  max: Math.max,
  min: Math.min,
  prelu: (a, b) => (a < 0 ? a * b : a),
};
