// Elementwise operators. One loop a shape of operator; the operator is a literal that folds.
import { clamp, madd } from './isa';
import {
  C2, C3, C4, C5, C6, E0, E1, E2, E3, E4, E5, E6, E7, ERF_ONE, EXP_HIGH, EXP_LOW, L0, L1, L2, LN2_HIGH, LN2_LOW, LOG2E,
  MAGIC, MAGIC_HALF, MANTISSA, ROOT_HALF, SMALLEST, exp, expm1, loadPart, log, pin, pinIf, storePart,
} from './math';

// Operators of one or two instructions, then those around exp, those around expm1, and log.
// @ts-expect-error: decorator
@inline const CLAMP: i32 = 0;
// @ts-expect-error: decorator
@inline const HARDSWISH: i32 = 1;
// @ts-expect-error: decorator
@inline const HARDSIGMOID: i32 = 2;
// @ts-expect-error: decorator
@inline const LEAKYRELU: i32 = 3;
// @ts-expect-error: decorator
@inline const SQRT: i32 = 4;
// @ts-expect-error: decorator
@inline const NEG: i32 = 5;
// @ts-expect-error: decorator
@inline const ABS: i32 = 6;
// @ts-expect-error: decorator
@inline const RECIPROCAL: i32 = 7;
// @ts-expect-error: decorator
@inline const EXP: i32 = 8;
// @ts-expect-error: decorator
@inline const SIGMOID: i32 = 9;
// @ts-expect-error: decorator
@inline const SWISH: i32 = 10;
// @ts-expect-error: decorator
@inline const GELUTANH: i32 = 11;
// @ts-expect-error: decorator
@inline const ELU: i32 = 12;
// @ts-expect-error: decorator
@inline const TANH: i32 = 13;
// @ts-expect-error: decorator
@inline const ERF: i32 = 14;
// @ts-expect-error: decorator
@inline const GELU: i32 = 15;
// @ts-expect-error: decorator
@inline const LOG: i32 = 16;

// @ts-expect-error: decorator
@inline function light(op: i32, v: v128, a: v128, b: v128, zero: v128, one: v128): v128 {
  if (op == CLAMP) return clamp(v, a, b);
  if (op == HARDSWISH) return f32x4.mul(v, clamp(madd(b, v, a), zero, one));
  if (op == HARDSIGMOID) return clamp(madd(b, v, a), zero, one);
  if (op == LEAKYRELU) return v128.bitselect(f32x4.mul(v, a), v, f32x4.lt(v, zero));
  if (op == SQRT) return f32x4.sqrt(v);
  if (op == NEG) return f32x4.neg(v);
  if (op == ABS) return f32x4.abs(v);
  return f32x4.div(one, v);
}

// @ts-expect-error: decorator
@inline function lightLoop(op: i32, x: usize, y: usize, n: i32, a: f32, b: f32): void {
  if (n <= 0) return;
  const saved = load<f32>(y);
  const zero = f32x4.splat(0);
  const one = pin(y, 1);
  const va = pin(y, a);
  const vb = pin(y, b);
  store<f32>(y, saved);
  for (; n >= 8; n -= 8, x += 32, y += 32) {
    const v = light(op, v128.load(x), va, vb, zero, one);
    const w = light(op, v128.load(x, 16), va, vb, zero, one);
    v128.store(y, v);
    v128.store(y, w, 16);
  }
  for (; n > 0; n -= 4, x += 16, y += 16) {
    if (n >= 4) v128.store(y, light(op, v128.load(x), va, vb, zero, one));
    else storePart(y, light(op, loadPart(x, n, zero), va, vb, zero, one), n);
  }
}

/**
 * The last vector overlaps the one before. It is loaded before that one is stored, so y may be x; and the operator's code
 * is there once, for whole vectors and for fewer than four floats.
 */
// @ts-expect-error: decorator
@inline function heavyLoop(op: i32, x: usize, y: usize, n: i32, a: f32): void {
  if (n <= 0) return;
  const saved = load<f32>(y);
  const viaExp = op <= GELUTANH;
  const viaErf = op == ERF || op == GELU;
  const one = pin(y, 1);
  const va = pin(y, op == GELUTANH ? -1.5957691216057308 : op == GELU ? 0.7071067811865476 : a);
  const vb = pin(y, op == GELUTANH ? -0.07135481627260025 : 0.5);
  const sign = pin(y, -0.0);
  const e = op != LOG;
  const low = pinIf(e, y, EXP_LOW);
  const high = pinIf(e, y, viaExp ? EXP_HIGH : op == TANH ? 9.2 : op == ELU ? 0 : ERF_ONE);
  const magic = pinIf(e, y, viaExp ? MAGIC_HALF : MAGIC);
  const log2e = pinIf(e, y, LOG2E);
  const ln2High = pin(y, e ? -LN2_HIGH : LN2_HIGH);
  const ln2Low = pin(y, e ? -LN2_LOW : LN2_LOW);
  const c2 = pinIf(e, y, C2);
  const c3 = pinIf(e, y, C3);
  const c4 = pinIf(e, y, C4);
  const c5 = pinIf(e, y, C5);
  const c6 = pinIf(e, y, C6);
  const e0 = pinIf(viaErf, y, -E0);
  const e1 = pinIf(viaErf, y, -E1);
  const e2 = pinIf(viaErf, y, -E2);
  const e3 = pinIf(viaErf, y, -E3);
  const e4 = pinIf(viaErf, y, -E4);
  const e5 = pinIf(viaErf, y, -E5);
  const e6 = pinIf(viaErf, y, -E6);
  const e7 = pinIf(viaErf, y, -E7);
  const two = pinIf(!e, y, 2);
  const smallest = pinIf(!e, y, SMALLEST);
  const rootHalf = pinIf(!e, y, ROOT_HALF);
  const mantissa = pinIf(!e, y, MANTISSA);
  const infinity = pinIf(!e, y, Infinity);
  const l0 = pinIf(!e, y, L0);
  const l1 = pinIf(!e, y, L1);
  const l2 = pinIf(!e, y, L2);
  store<f32>(y, saved);

  const last: usize = <usize>(n - 4) << 2;
  let at: usize = 0;
  let v = n < 4 ? loadPart(x, n, one) : v128.load(x);
  while (true) {
    let r: v128;
    if (op == LOG) r = log(v, one, two, smallest, rootHalf, mantissa, infinity, l0, l1, l2, ln2High, ln2Low);
    else if (viaExp) {
      // sigmoid(v) = 1 / (1 + e^-v); gelutanh(v) = v sigmoid(2 sqrt(2/pi) (v + 0.044715 v^3)).
      let u = v;
      if (op == GELUTANH) u = f32x4.mul(v, madd(va, f32x4.mul(v, v), vb));
      else if (op != EXP) u = f32x4.neg(v);
      r = exp(clamp(u, low, high), one, magic, log2e, ln2High, ln2Low, c2, c3, c4, c5, c6);
      if (op != EXP) r = f32x4.div(op == SIGMOID ? one : v, f32x4.add(one, r));
    } else if (op == ELU) {
      r = expm1(clamp(v, low, high), one, magic, log2e, ln2High, ln2Low, c2, c3, c4, c5, c6);
      r = v128.bitselect(f32x4.mul(va, r), v, f32x4.lt(v, high));
    } else if (op == TANH) {
      const u = f32x4.pmin(f32x4.abs(v), high);
      r = expm1(f32x4.add(u, u), one, magic, log2e, ln2High, ln2Low, c2, c3, c4, c5, c6);
      r = v128.bitselect(v, f32x4.div(r, f32x4.add(f32x4.add(r, one), one)), sign);
    } else {
      const s = op == GELU ? f32x4.mul(v, va) : v;
      const u = f32x4.pmin(f32x4.abs(s), high);
      let p = madd(e4, madd(e5, madd(e6, e7, u), u), u);
      p = madd(e0, madd(e1, madd(e2, madd(e3, p, u), u), u), u);
      r = expm1(f32x4.mul(u, p), one, magic, log2e, ln2High, ln2Low, c2, c3, c4, c5, c6);
      r = v128.bitselect(s, r, sign);
      if (op == GELU) {
        const half = f32x4.mul(v, vb);
        r = madd(half, half, r);
      }
    }
    if (n < 4) {
      storePart(y, r, n);
      return;
    }
    const next = min(at + 16, last);
    v = v128.load(x + next);
    v128.store(y + at, r);
    if (at == last) return;
    at = next;
  }
}

export function f32_plain_clamp(x: usize, y: usize, n: i32, a: f32, b: f32): void {
  lightLoop(CLAMP, x, y, n, a, b);
}
export function f32_plain_hardswish(x: usize, y: usize, n: i32, a: f32, b: f32): void {
  lightLoop(HARDSWISH, x, y, n, 0.16666666666666666, 0.5);
}
export function f32_plain_hardsigmoid(x: usize, y: usize, n: i32, a: f32, b: f32): void {
  lightLoop(HARDSIGMOID, x, y, n, a, b);
}
export function f32_plain_leakyrelu(x: usize, y: usize, n: i32, a: f32, b: f32): void {
  lightLoop(LEAKYRELU, x, y, n, a, b);
}
export function f32_plain_sqrt(x: usize, y: usize, n: i32, a: f32, b: f32): void {
  lightLoop(SQRT, x, y, n, a, b);
}
export function f32_plain_neg(x: usize, y: usize, n: i32, a: f32, b: f32): void {
  lightLoop(NEG, x, y, n, a, b);
}
export function f32_plain_abs(x: usize, y: usize, n: i32, a: f32, b: f32): void {
  lightLoop(ABS, x, y, n, a, b);
}
export function f32_plain_reciprocal(x: usize, y: usize, n: i32, a: f32, b: f32): void {
  lightLoop(RECIPROCAL, x, y, n, a, b);
}
export function f32_plain_exp(x: usize, y: usize, n: i32, a: f32, b: f32): void {
  heavyLoop(EXP, x, y, n, a);
}
export function f32_plain_sigmoid(x: usize, y: usize, n: i32, a: f32, b: f32): void {
  heavyLoop(SIGMOID, x, y, n, a);
}
export function f32_plain_swish(x: usize, y: usize, n: i32, a: f32, b: f32): void {
  heavyLoop(SWISH, x, y, n, a);
}
export function f32_plain_gelutanh(x: usize, y: usize, n: i32, a: f32, b: f32): void {
  heavyLoop(GELUTANH, x, y, n, a);
}
export function f32_plain_elu(x: usize, y: usize, n: i32, a: f32, b: f32): void {
  heavyLoop(ELU, x, y, n, a);
}
export function f32_plain_tanh(x: usize, y: usize, n: i32, a: f32, b: f32): void {
  heavyLoop(TANH, x, y, n, a);
}
export function f32_plain_erf(x: usize, y: usize, n: i32, a: f32, b: f32): void {
  heavyLoop(ERF, x, y, n, a);
}
export function f32_plain_gelu(x: usize, y: usize, n: i32, a: f32, b: f32): void {
  heavyLoop(GELU, x, y, n, a);
}
export function f32_plain_log(x: usize, y: usize, n: i32, a: f32, b: f32): void {
  heavyLoop(LOG, x, y, n, a);
}

// @ts-expect-error: decorator
@inline const ADD: i32 = 0;
// @ts-expect-error: decorator
@inline const SUB: i32 = 1;
// @ts-expect-error: decorator
@inline const MUL: i32 = 2;
// @ts-expect-error: decorator
@inline const DIV: i32 = 3;
// @ts-expect-error: decorator
@inline const MAX: i32 = 4;
// @ts-expect-error: decorator
@inline const MIN: i32 = 5;
// @ts-expect-error: decorator
@inline const PRELU: i32 = 6;
// b op a: for the operators that do not commute.
// @ts-expect-error: decorator
@inline const RSUB: i32 = 7;
// @ts-expect-error: decorator
@inline const RDIV: i32 = 8;

// @ts-expect-error: decorator
@inline function pair(op: i32, a: v128, b: v128, low: v128, high: v128): v128 {
  if (op == ADD) a = f32x4.add(a, b);
  else if (op == SUB) a = f32x4.sub(a, b);
  else if (op == RSUB) a = f32x4.sub(b, a);
  else if (op == MUL) a = f32x4.mul(a, b);
  else if (op == DIV) a = f32x4.div(a, b);
  else if (op == RDIV) a = f32x4.div(b, a);
  else if (op == MAX) a = f32x4.max(a, b);
  else if (op == MIN) a = f32x4.min(a, b);
  else a = v128.bitselect(f32x4.mul(a, b), a, f32x4.lt(a, f32x4.splat(0)));
  return clamp(a, low, high);
}

/**
 * Rows of `inner` floats of a, and y, in [outer][mid]; b is one number a row, bStride from one to the next within mid
 * (`splat`), or a row that meets every row.
 */
// @ts-expect-error: decorator
@inline function binary(
  op: i32, splat: bool, a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize,
  bStride: usize, low: f32, high: f32,
): void {
  if (outer <= 0 || mid <= 0 || inner <= 0) return;
  const saved = load<f32>(y);
  const lo = pin(y, low);
  const hi = pin(y, high);
  store<f32>(y, saved);
  for (; outer > 0; outer--, a += outerStride, y += outerStride) {
    let p = a;
    let r = y;
    let at = b;
    for (let m = mid; m > 0; m--, at += bStride) {
      let q = at;
      let v = splat ? v128.load32_splat(at) : lo;
      let n = inner;
      for (; n >= 8; n -= 8, p += 32, q += 32, r += 32) {
        const s = pair(op, v128.load(p), splat ? v : v128.load(q), lo, hi);
        const t = pair(op, v128.load(p, 16), splat ? v : v128.load(q, 16), lo, hi);
        v128.store(r, s);
        v128.store(r, t, 16);
      }
      for (; n > 0; n -= 4, p += 16, q += 16, r += 16) {
        if (n >= 4) v128.store(r, pair(op, v128.load(p), splat ? v : v128.load(q), lo, hi));
        else {
          storePart(r, pair(op, loadPart(p, n, lo), splat ? v : loadPart(q, n, lo), lo, hi), n);
          p += <usize>n << 2;
          r += <usize>n << 2;
          break;
        }
      }
    }
  }
}

export function f32_plain_add_row(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(ADD, false, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
export function f32_plain_sub_row(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(SUB, false, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
export function f32_plain_mul_row(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(MUL, false, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
export function f32_plain_div_row(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(DIV, false, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
export function f32_plain_max_row(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(MAX, false, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
export function f32_plain_min_row(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(MIN, false, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
export function f32_plain_prelu_row(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(PRELU, false, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
export function f32_plain_rsub_row(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(RSUB, false, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
export function f32_plain_rdiv_row(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(RDIV, false, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
export function f32_plain_add_splat(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(ADD, true, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
export function f32_plain_sub_splat(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(SUB, true, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
export function f32_plain_mul_splat(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(MUL, true, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
export function f32_plain_div_splat(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(DIV, true, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
export function f32_plain_max_splat(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(MAX, true, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
export function f32_plain_min_splat(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(MIN, true, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
export function f32_plain_prelu_splat(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(PRELU, true, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
export function f32_plain_rsub_splat(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(RSUB, true, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
export function f32_plain_rdiv_splat(
  a: usize, b: usize, y: usize, outer: i32, mid: i32, inner: i32, outerStride: usize, bStride: usize, low: f32, high: f32,
): void {
  binary(RDIV, true, a, b, y, outer, mid, inner, outerStride, bStride, low, high);
}
