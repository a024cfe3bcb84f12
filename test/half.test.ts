import { describe, expect, it } from 'vitest';
import { halfToNumber, numbers, numberToHalf, roundEven, store, target } from '../src/ops/half.ts';
import { Tensor } from '../src/tensor.ts';

describe('float16', () => {
  it('round-trips all 65536 bit patterns', () => {
    for (let bits = 0; bits < 65536; bits++) {
      const x = halfToNumber(bits);
      if (Number.isNaN(x)) expect(numberToHalf(x)).toBe(0x7e00);
      else if (numberToHalf(x) !== bits) expect(numberToHalf(x)).toBe(bits);
    }
  });

  it('rounds the midpoint of neighbours to the even one, and either side of it to the nearer', () => {
    for (let bits = 0; bits < 0x7bff; bits++) {
      const mid = (halfToNumber(bits) + halfToNumber(bits + 1)) / 2;
      const even = bits & 1 ? bits + 1 : bits;
      const got = [mid, mid * (1 - 2 ** -40), mid * (1 + 2 ** -40)].map(numberToHalf);
      if (got[0] !== even || got[1] !== bits || got[2] !== bits + 1) expect(got).toEqual([even, bits, bits + 1]);
      if (numberToHalf(-mid) !== (even | 0x8000)) expect(numberToHalf(-mid)).toBe(even | 0x8000);
    }
  });

  it('knows the ends of its range', () => {
    expect(halfToNumber(0x7bff)).toBe(65504);
    expect(halfToNumber(0xfc00)).toBe(Number.NEGATIVE_INFINITY);
    expect(halfToNumber(0x3555)).toBe(0.333251953125);
    expect(numberToHalf(65519.99)).toBe(0x7bff);
    expect(numberToHalf(65520)).toBe(0x7c00);
    expect(numberToHalf(-1e300)).toBe(0xfc00);
    expect(numberToHalf(2 ** -25)).toBe(0);
    expect(numberToHalf(-(2 ** -26))).toBe(0x8000);
  });
});

it('roundEven settles ties on the even integer', () => {
  expect([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4, -2.6].map(roundEven)).toEqual([-2, -2, -0, 0, 2, 2, 2, -3]);
});

it('numbers, target and store go through every kind of element', () => {
  const values = [1, -2, 3.75];
  for (const [type, want] of [
    ['float16', values],
    ['float64', values],
    ['int8', [1, -2, 3]],
    ['int64', [1, -2, 3]],
  ] as const) {
    const t = Tensor.zeros(type, [3]);
    const out = target(t);
    out.set(values);
    store(t, out);
    expect([...numbers(t)]).toEqual(want);
  }
});
