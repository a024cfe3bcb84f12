/** IEEE 754 binary16, and rounding to nearest even. */

/** The value of IEEE 754 binary16 bits. */
export function halfToNumber(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  const magnitude =
    exponent === 31
      ? mantissa
        ? Number.NaN
        : Number.POSITIVE_INFINITY
      : exponent
        ? (1024 + mantissa) * 2 ** (exponent - 25)
        : mantissa * 2 ** -24;
  return bits & 0x8000 ? -magnitude : magnitude;
}

/** IEEE 754 binary16 bits of a number: one rounding, to nearest even; overflow gives infinity, NaN is 0x7e00. */
export function numberToHalf(x: number): number {
  if (Number.isNaN(x)) return 0x7e00;
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const a = Math.abs(x);
  if (a >= 65520) return sign | 0x7c00;
  // The exponent of the unit in the last place: that of subnormals at least. Halves of it are exact in a double.
  let ulp = -24;
  if (a >= 2 ** -14) {
    ulp = Math.floor(Math.log2(a)) - 10;
    // log2 may round up just below a power of two.
    if (a < 2 ** (ulp + 10)) ulp--;
  }
  // The unit's exponent fills the exponent field; the mantissa's leading 1, or a carry to 2048, adds to it by itself.
  return sign | (((ulp + 24) << 10) + roundEven(a * 2 ** -ulp));
}

/** Rounds to the nearest integer, ties to even. */
export function roundEven(x: number): number {
  const r = Math.round(x);
  return r - x === 0.5 && r % 2 !== 0 ? r - 1 : r;
}
