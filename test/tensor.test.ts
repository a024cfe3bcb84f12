// What a Tensor refuses, and that the error says what came.
import { expect, test } from 'vitest';
import { ArgumentRangeError, ArgumentTypeError, Tensor } from '../src/index.ts';

test.each(['nope', 'constructor', 'toString', '__proto__', undefined, null, {}, Object.create(null)])(
  'type %#',
  (type) => {
    expect(() => new Tensor(type as never, [1])).toThrow(/"type" expected one of float32, .*, bool, got /);
    expect(() => Tensor.zeros(type as never, [1])).toThrow(ArgumentTypeError);
  },
);

test('dims and data', () => {
  for (const dims of [5, null, '2']) {
    expect(() => Tensor.zeros('float32', dims as never)).toThrow(/"dims" expected an array of integers/);
    if (dims !== null) expect(() => new Tensor('float32', [1, 2], dims as never)).toThrow(ArgumentTypeError);
  }
  for (const dims of [[-1], [1.5], [Number.NaN], [2 ** 30, 2 ** 30]])
    expect(() => Tensor.zeros('float32', dims)).toThrow(ArgumentRangeError);
  expect(() => new Tensor('float32', [1, 2], [3])).toThrow(/"data" expected 3 elements for dims \[3\]/);
  expect(() => new Tensor('float32', new Float64Array(1) as never)).toThrow(/"data" expected Float32Array/);
  expect(() => new Tensor('int64', [1.5])).toThrow(/"data" expected values for int64/);
  const cyclic: unknown[] = [];
  cyclic.push(cyclic);
  expect(() => new Tensor(cyclic as never, [])).toThrow(/got \[an array\]/);
  expect(new Tensor('bool', [true, false], [2, 1]).data).toEqual(Uint8Array.of(1, 0));
});
