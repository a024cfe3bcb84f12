// Elementary functions on four lanes: range reduction and a minimax polynomial (fitted with Lawson's reweighted least
// squares; the error quoted is that of the polynomial). NaN stays NaN throughout.
//
// Their constants are parameters, which a kernel loads once with `pin`: V8 builds a constant vector anew wherever it is
// used, or moves the work into the loop, and an exp loop then takes twice as long (2.1 against 1.1 ns a number, Node 20 to 24).
import { madd } from './isa';

/**
 * A constant vector that stays in a register: it takes the way through memory, which no compiler moves or repeats. `at` is
 * four bytes the kernel may write; it puts them back before it reads its input.
 */
// @ts-expect-error: decorator
@inline export function pin(at: usize, value: f32): v128 {
  store<f32>(at, value);
  return v128.load32_splat(at);
}

/** A pin where the operator needs the constant. */
// @ts-expect-error: decorator
@inline export function pinIf(needed: bool, at: usize, value: f32): v128 {
  return needed ? pin(at, value) : f32x4.splat(0);
}

function load3(p: usize, n: i32, fill: v128): v128 {
  fill = v128.load_lane<f32>(p, fill, 0);
  if (n > 1) fill = v128.load_lane<f32>(p, fill, 1, 4);
  if (n > 2) fill = v128.load_lane<f32>(p, fill, 2, 8);
  return fill;
}
function store3(p: usize, n: i32, v: v128): void {
  v128.store_lane<f32>(p, v, 0);
  if (n > 1) v128.store_lane<f32>(p, v, 1, 4);
  if (n > 2) v128.store_lane<f32>(p, v, 2, 8);
}
/** 1 to 3 floats from p, in the lanes of `fill`. A call, for the sake of size; asc warns of v128 in what a file exports. */
// @ts-expect-error: decorator
@inline export function loadPart(p: usize, n: i32, fill: v128): v128 {
  return load3(p, n, fill);
}
/** The first 1 to 3 lanes of v to p. */
// @ts-expect-error: decorator
@inline export function storePart(p: usize, v: v128, n: i32): void {
  store3(p, n, v);
}

// x = n ln 2 + r. Adding the magic number rounds x log2(e) to n in the low bits, biased so that a shift by 23 makes a power
// of two: 2^n from MAGIC, 2^(n-1) from MAGIC_HALF. ln 2 is split so that n times its high part is exact.
// @ts-expect-error: decorator
@inline export const MAGIC: f32 = 12582912 + 127;
// @ts-expect-error: decorator
@inline export const MAGIC_HALF: f32 = 12582912 + 126;
// @ts-expect-error: decorator
@inline export const LOG2E: f32 = 1.4426950408889634;
// @ts-expect-error: decorator
@inline export const LN2_HIGH: f32 = 0.693359375;
// @ts-expect-error: decorator
@inline export const LN2_LOW: f32 = -2.1219444005469058e-4;
// e^r - 1 = r + r^2 (C2 + C3 r + …) for |r| <= 0.347, to 1.3e-8 of itself.
// @ts-expect-error: decorator
@inline export const C2: f32 = 0.49999998141406937;
// @ts-expect-error: decorator
@inline export const C3: f32 = 0.16666543063011596;
// @ts-expect-error: decorator
@inline export const C4: f32 = 0.0416672023087389;
// @ts-expect-error: decorator
@inline export const C5: f32 = 0.008366595779042843;
// @ts-expect-error: decorator
@inline export const C6: f32 = 0.0013882504668205119;
/** Where exp becomes 0 and Infinity: limits of its argument. */
// @ts-expect-error: decorator
@inline export const EXP_LOW: f32 = -87.3;
// @ts-expect-error: decorator
@inline export const EXP_HIGH: f32 = 89;

/** e^r - 1 of the reduced argument, where t is x log2(e) + magic. */
// @ts-expect-error: decorator
@inline function reduced(
  x: v128, t: v128, magic: v128, ln2High: v128, ln2Low: v128, c2: v128, c3: v128, c4: v128, c5: v128, c6: v128,
): v128 {
  const n = f32x4.sub(t, magic);
  // The constants come in negated.
  const r = madd(madd(x, n, ln2High), n, ln2Low);
  const p = madd(c2, madd(c3, madd(c4, madd(c5, c6, r), r), r), r);
  return madd(r, f32x4.mul(r, r), p);
}

/**
 * e^x to 2 ulp for EXP_LOW <= x <= EXP_HIGH. Results below 2^-125.5 are 0. `magic` is MAGIC_HALF: doubling at the end lets
 * 2^128 overflow by itself.
 */
// @ts-expect-error: decorator
@inline export function exp(
  x: v128, one: v128, magic: v128, log2e: v128, ln2High: v128, ln2Low: v128,
  c2: v128, c3: v128, c4: v128, c5: v128, c6: v128,
): v128 {
  const t = madd(magic, x, log2e);
  const half = f32x4.mul(
    f32x4.add(one, reduced(x, t, magic, ln2High, ln2Low, c2, c3, c4, c5, c6)),
    i32x4.shl(t, 23),
  );
  return f32x4.add(half, half);
}

/** e^x - 1 for -87.3 <= x <= 88, to 3 ulp of itself however small. `magic` is MAGIC. */
// @ts-expect-error: decorator
@inline export function expm1(
  x: v128, one: v128, magic: v128, log2e: v128, ln2High: v128, ln2Low: v128,
  c2: v128, c3: v128, c4: v128, c5: v128, c6: v128,
): v128 {
  const t = madd(magic, x, log2e);
  const scale = i32x4.shl(t, 23);
  return madd(f32x4.sub(scale, one), scale, reduced(x, t, magic, ln2High, ln2Low, c2, c3, c4, c5, c6));
}

// log m = 2 atanh s, s = (m - 1) / (m + 1): 2s + s^3 (L0 + L1 s^2 + L2 s^4) for m in [sqrt 1/2, sqrt 2], to 8e-10.
// @ts-expect-error: decorator
@inline export const L0: f32 = 0.6666677642145393;
// @ts-expect-error: decorator
@inline export const L1: f32 = 0.39977527951285197;
// @ts-expect-error: decorator
@inline export const L2: f32 = 0.29872284911033115;

/** sqrt 1/2, and what selects the mantissa, as the floats of these bits. */
// @ts-expect-error: decorator
@inline export const ROOT_HALF: f32 = 0.7071067690849304;
// @ts-expect-error: decorator
@inline export const MANTISSA: f32 = 1.1754942106924411e-38;
// @ts-expect-error: decorator
@inline export const SMALLEST: f32 = 1.1754943508222875e-38;

/** log x to 3 ulp, denormals included; log 0 = -Infinity, negative numbers give NaN. */
// @ts-expect-error: decorator
@inline export function log(
  x: v128, one: v128, two: v128, smallest: v128, rootHalf: v128, mantissa: v128, infinity: v128,
  l0: v128, l1: v128, l2: v128, ln2High: v128, ln2Low: v128,
): v128 {
  const denormal = f32x4.lt(x, smallest);
  const i = i32x4.sub(f32x4.mul(x, v128.bitselect(f32x4.splat(8388608), one, denormal)), rootHalf);
  const k = f32x4.sub(f32x4.convert_i32x4_s(i32x4.shr_s(i, 23)), v128.and(denormal, f32x4.splat(23)));
  const f = f32x4.sub(i32x4.add(v128.and(i, mantissa), rootHalf), one);
  const s = f32x4.div(f, f32x4.add(two, f));
  const z = f32x4.mul(s, s);
  const m = f32x4.mul(s, madd(two, z, madd(l0, madd(l1, l2, z), z)));
  const y = madd(madd(m, k, ln2Low), k, ln2High);
  // Infinity and NaN are their own logarithms.
  const r = v128.bitselect(y, x, f32x4.lt(x, infinity));
  const zero = f32x4.splat(0);
  return v128.or(v128.bitselect(f32x4.neg(infinity), r, f32x4.eq(x, zero)), f32x4.lt(x, zero));
}

// -log(1 - erf a) = a (E0 + E1 a + …) for 0 <= a <= 3.95, so that erf a = -expm1(-a P(a)) to 3.5e-8 of itself.
// @ts-expect-error: decorator
@inline export const E0: f32 = 1.1283792070523864;
// @ts-expect-error: decorator
@inline export const E1: f32 = 0.6366164966993606;
// @ts-expect-error: decorator
@inline export const E2: f32 = 0.1028144110196221;
// @ts-expect-error: decorator
@inline export const E3: f32 = -0.01932171696662076;
// @ts-expect-error: decorator
@inline export const E4: f32 = 2.0571731423531443e-4;
// @ts-expect-error: decorator
@inline export const E5: f32 = 0.0012517457576705212;
// @ts-expect-error: decorator
@inline export const E6: f32 = -3.8100034781490187e-4;
// @ts-expect-error: decorator
@inline export const E7: f32 = 4.070788771713105e-5;
/** From here on erf is 1. */
// @ts-expect-error: decorator
@inline export const ERF_ONE: f32 = 3.95;
