// The one place that asks which instruction set the module is compiled for. `ASC_FEATURE_RELAXED_SIMD` folds in the front
// end, so each module holds one of the two forms only.

/** acc + a * b, fused where the relaxed module runs on an engine that fuses. */
// @ts-expect-error: decorator
@inline export function madd(acc: v128, a: v128, b: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, acc);
  return f32x4.add(acc, f32x4.mul(a, b));
}

/** x limited to [lo, hi]. With x first, pmax/pmin are one instruction each and a NaN in x stays NaN. */
// @ts-expect-error: decorator
@inline export function clamp(x: v128, lo: v128, hi: v128): v128 {
  return f32x4.pmin(f32x4.pmax(x, lo), hi);
}
