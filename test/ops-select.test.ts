import { describe, expect, it } from 'vitest';
import { ModelFormatError, UnsupportedOpError } from '../src/errors.ts';
import type { Attr } from '../src/graph/ir.ts';
import { Tensor } from '../src/tensor.ts';
import { close, f32, i64, list, range, run } from './support/ops.ts';

describe('quantization', () => {
  const u8 = (data: number[], dims?: number[]) => new Tensor('uint8', data, dims);

  it('QuantizeLinear rounds to even, saturates, and maps NaN to 0', () => {
    const x = f32([-9, 1, 3, 5, 1000, Number.NaN]);
    const [y] = run('QuantizeLinear', [x, f32([2], []), u8([2], [])]);
    expect([y.type, list(y)]).toEqual(['uint8', [0, 2, 4, 4, 255, 0]]);
    expect(run('QuantizeLinear', [x, f32([2], [])], { output_dtype: 'int16' })[0].type).toBe('int16');
    expect(run('QuantizeLinear', [x, f32([2], [])])[0].type).toBe('uint8');
  });

  it('divides in the type of the scale', () => {
    // As float32, 0.0015 / 0.001 is 1.49999994, which a float32 quotient rounds to 1.5.
    const [y] = run('QuantizeLinear', [f32([0.0015]), f32([0.001], [])]);
    expect(list(y)).toEqual([2]);
  });

  it('per axis and per block, there and back', () => {
    const x = f32([2, 4, 6, 8, 10, 12], [2, 3]);
    const axis = [f32([1, 2, 3]), u8([0, 1, 2])];
    const [q] = run('QuantizeLinear', [x, ...axis]);
    expect(list(q)).toEqual([2, 3, 4, 8, 6, 6]);
    expect(list(run('DequantizeLinear', [q, ...axis])[0])).toEqual(list(x));
    const blocks = f32([1, 2, 3, 4], [2, 2]);
    const [b] = run('DequantizeLinear', [q, blocks], { axis: 1, block_size: 2 });
    expect(list(b)).toEqual([2, 3, 8, 24, 18, 24]);
    for (const scale of [f32([1, 2]), f32([1, 2, 3], [3, 1]), f32([1, 2, 3], [1, 3])]) {
      expect(() => run('DequantizeLinear', [q, scale])).toThrow(ModelFormatError);
    }
  });

  it('refuses other types by name', () => {
    expect(() => run('QuantizeLinear', [range([2], 'int8'), f32([1], [])])).toThrow(UnsupportedOpError);
    expect(() => run('QuantizeLinear', [f32([1]), f32([1], [])], { output_dtype: 'uint32' })).toThrow(/uint32/);
    expect(() => run('DequantizeLinear', [f32([1]), f32([1], [])])).toThrow(UnsupportedOpError);
  });

  it('DynamicQuantizeLinear covers 0, and survives nothing but zeros', () => {
    const [y, scale, zero] = run('DynamicQuantizeLinear', [f32([-1, 0, 254])], {}, 3);
    expect([list(y), list(scale), list(zero)]).toEqual([[0, 1, 255], [1], [1]]);
    const [z, s] = run('DynamicQuantizeLinear', [f32([0, 0])], {}, 3);
    expect([list(z), list(s)]).toEqual([[0, 0], [1]]);
  });
});

describe('TopK', () => {
  it('along an axis, ties to the lower index', () => {
    const x = f32([1, 5, 5, 0, 2, 9], [2, 3]);
    const [v, i] = run('TopK', [x, i64([2])], {}, 2);
    expect([v.dims, list(v), list(i)]).toEqual([
      [2, 2],
      [5, 5, 9, 2],
      [1, 2, 2, 1],
    ]);
    const [least, at] = run('TopK', [x, i64([1])], { axis: 0, largest: 0 }, 2);
    expect([list(least), list(at)]).toEqual([
      [0, 2, 5],
      [1, 1, 0],
    ]);
    expect(run('TopK', [x, i64([0])])[0].dims).toEqual([2, 0]);
    expect(() => run('TopK', [x, i64([4])])).toThrow(ModelFormatError);
  });

  it('is exact for 64-bit integers, and puts NaN on top', () => {
    const big = new Tensor('int64', [2n ** 53n, 2n ** 53n + 1n]);
    expect([...run('TopK', [big, i64([1])])[0].data]).toEqual([2n ** 53n + 1n]);
    const x = f32([3, Number.NaN, 7, Number.NaN]);
    expect(list(run('TopK', [x, i64([4])], {}, 2)[1])).toEqual([1, 3, 2, 0]);
    expect(list(run('TopK', [x, i64([4])], { largest: 0 }, 2)[1])).toEqual([0, 2, 1, 3]);
  });
});

describe('NonMaxSuppression', () => {
  // Two that overlap by 1/3, and one apart; corners given either way round.
  const boxes = f32([0, 0, 2, 2, 2, 3, 0, 1, 5, 5, 6, 6], [1, 3, 4]);
  const scores = f32([0.5, 0.9, 0.1, 0.5, 0.5, 0.5], [1, 2, 3]);
  const nms = (most: number, iou: number, least?: number) => {
    const limit = least === undefined ? undefined : f32([least]);
    return list(run('NonMaxSuppression', [boxes, scores, i64([most]), f32([iou]), limit])[0]);
  };

  it('keeps by score, class by class', () => {
    expect(nms(9, 0.3)).toEqual([0, 0, 1, 0, 0, 2, 0, 1, 0, 0, 1, 2]);
    expect(nms(9, 0.34)).toEqual([0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 1, 0, 0, 1, 1, 0, 1, 2]);
    expect(nms(1, 0.3)).toEqual([0, 0, 1, 0, 1, 0]);
    expect(nms(9, 0.3, 0.5)).toEqual([0, 0, 1]);
    expect(run('NonMaxSuppression', [boxes, scores])[0].dims).toEqual([0, 3]);
  });

  it('takes boxes by their centres', () => {
    const centred = f32([1, 1, 2, 2, 2, 1, 2, 2, 5.5, 5.5, 1, 1], [1, 3, 4]);
    const inputs = [centred, scores, i64([9]), f32([0.3])];
    expect(list(run('NonMaxSuppression', inputs, { center_point_box: 1 })[0])).toEqual(nms(9, 0.3));
    expect(() => run('NonMaxSuppression', [range([1, 3, 5]), scores])).toThrow(ModelFormatError);
  });
});

describe('CumSum, DepthToSpace, SpaceToDepth', () => {
  it.each([
    [{}, [1, 3, 6]],
    [{ exclusive: 1 }, [0, 1, 3]],
    [{ reverse: 1 }, [6, 5, 3]],
    [{ reverse: 1, exclusive: 1 }, [5, 3, 0]],
  ])('CumSum %o', (attrs, want) => {
    expect(list(run('CumSum', [f32([1, 2, 3]), i64([-1])], attrs as Record<string, Attr>)[0])).toEqual(want);
  });

  it('CumSum of 64-bit integers is exact; any axis; empty', () => {
    const big = new Tensor('int64', [2n ** 53n, 1n, 1n]);
    expect([...run('CumSum', [big, i64([0])])[0].data]).toEqual([2n ** 53n, 2n ** 53n + 1n, 2n ** 53n + 2n]);
    expect(list(run('CumSum', [range([2, 2]), i64([0])])[0])).toEqual([0, 1, 2, 4]);
    expect(run('CumSum', [range([0, 2]), i64([0])])[0].dims).toEqual([0, 2]);
    expect(run('CumSum', [range([0], 'int64'), i64([0])])[0].dims).toEqual([0]);
  });

  it('blocks go to space and back', () => {
    const x = range([1, 4, 1, 2], 'uint8');
    expect(list(run('DepthToSpace', [x], { blocksize: 2 })[0])).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
    const deep = range([2, 8, 3, 2]);
    for (const mode of ['DCR', 'CRD']) {
      const [y] = run('DepthToSpace', [deep], { blocksize: 2, mode });
      expect(y.dims).toEqual([2, 2, 6, 4]);
      expect(list(run('SpaceToDepth', [y], { blocksize: 2, mode })[0])).toEqual(list(deep));
    }
    // Channel 1 of the input: with DCR the next channel, with CRD the next column.
    expect(run('DepthToSpace', [deep], { blocksize: 2, mode: 'DCR' })[0].data[24]).toBe(6);
    expect(run('DepthToSpace', [deep], { blocksize: 2, mode: 'CRD' })[0].data[1]).toBe(6);
    expect(() => run('DepthToSpace', [range([1, 3, 1, 1])], { blocksize: 2 })).toThrow(ModelFormatError);
  });
});

describe('losses', () => {
  const logs = f32([-1, -2, -3, -4, -5, -6], [2, 3]);
  it.each([
    [{}, undefined, [1, 2], [(2 + 6) / 2]],
    [{ reduction: 'sum' }, [1, 10, 100], [1, 2], [20 + 600]],
    [{ reduction: 'none' }, undefined, [0, 0], [1, 4]],
    [{}, [1, 10, 100], [1, 2], [620 / 110]],
    [{ ignore_index: -1 }, undefined, [-1, 2], [6]],
  ])('NegativeLogLikelihoodLoss %o %o', (attrs, weights, labels, want) => {
    const inputs = [logs, i64(labels), weights && f32(weights)];
    close(run('NegativeLogLikelihoodLoss', inputs, attrs as Record<string, Attr>)[0], want);
  });

  it('SoftmaxCrossEntropyLoss over further dimensions', () => {
    const x = f32([0, 0, Math.log(3), 0], [1, 2, 2]);
    const [loss, log] = run('SoftmaxCrossEntropyLoss', [x, i64([1, 0], [1, 2])], { reduction: 'none' }, 2);
    close(loss, [Math.log(4 / 3), Math.log(2)]);
    close(log, [0.25, 0.5, 0.75, 0.5].map(Math.log));
  });

  it('labels must be classes', () => {
    expect(() => run('NegativeLogLikelihoodLoss', [logs, i64([0, 3])])).toThrow(/label 3/);
    expect(() => run('NegativeLogLikelihoodLoss', [logs, i64([0])])).toThrow(ModelFormatError);
  });
});

describe('recurrent networks', () => {
  const one = { activations: ['Relu'] };
  // h = relu(x + 2 h)
  const rnn = (x: number[], attrs: Record<string, Attr> = {}, lengths?: number[], h0?: number[]) =>
    run(
      'RNN',
      [
        f32(x, [x.length, 1, 1]),
        f32([1], [1, 1, 1]),
        f32([2], [1, 1, 1]),
        undefined,
        lengths && new Tensor('int32', lengths),
        h0 && f32(h0, [1, 1, 1]),
      ],
      { ...one, ...attrs },
      2,
    ).map(list);

  it('RNN forward, reverse, shortened, from a state, clipped', () => {
    expect(rnn([1, 2, 3])).toEqual([[1, 4, 11], [11]]);
    expect(rnn([1, 2, 3], { direction: 'reverse' })).toEqual([[17, 8, 3], [17]]);
    expect(rnn([1, 2, 3], {}, [2])).toEqual([[1, 4, 0], [4]]);
    expect(rnn([1, 2, 3], { direction: 'reverse' }, [2])).toEqual([[5, 2, 0], [5]]);
    expect(rnn([1], {}, undefined, [5])).toEqual([[11], [11]]);
    expect(rnn([1, 2, 3], { clip: 5 })).toEqual([[1, 4, 5], [5]]);
    expect(rnn([])).toEqual([[], [0]]);
  });

  it('both directions and batches lie where ONNX says', () => {
    const attrs = { activations: ['Relu', 'Relu'], direction: 'bidirectional' };
    const w = f32([1, 10], [2, 1, 1]);
    const r = f32([1, 1], [2, 1, 1]);
    const x = [1, 2, 3, 4];
    const [y, h] = run('RNN', [f32(x, [2, 2, 1]), w, r], attrs, 2);
    // [sequence, direction, batch]
    expect([y.dims, list(y)]).toEqual([
      [2, 2, 2, 1],
      [1, 2, 40, 60, 4, 6, 30, 40],
    ]);
    expect([h.dims, list(h)]).toEqual([
      [2, 2, 1],
      [4, 6, 40, 60],
    ]);
    const [z, k] = run('RNN', [f32([1, 3, 2, 4], [2, 2, 1]), w, r], { ...attrs, layout: 1 }, 2);
    // [batch, sequence, direction]
    expect(list(z)).toEqual([1, 40, 4, 30, 2, 60, 6, 40]);
    expect(list(k)).toEqual([4, 40, 6, 60]);
  });

  it('LSTM and GRU of one unit against their equations', () => {
    const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
    const w = [0.5, -0.3, 0.2, 0.7];
    const p = [0.1, 0.4, -0.2];
    const [x, h, c] = [0.6, 0.3, -0.5];
    const scalar = (v: number) => f32([v], [1, 1, 1]);
    const r = [0.4, 0.1, -0.6, 0.9];
    const b = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08];
    const pre = (g: number, gates: number) => w[g] * x + r[g] * h + b[g] + b[gates + g];
    const i = sigmoid(pre(0, 4) + p[0] * c);
    const nextC = sigmoid(pre(2, 4) + p[2] * c) * c + i * Math.tanh(pre(3, 4));
    const nextH = sigmoid(pre(1, 4) + p[1] * nextC) * Math.tanh(nextC);
    const lstm = [scalar(x), f32(w, [1, 4, 1]), f32(r, [1, 4, 1]), f32(b, [1, 8]), undefined];
    const [, yh, yc] = run('LSTM', [...lstm, scalar(h), scalar(c), f32(p, [1, 3])], {}, 3);
    close(yh, [nextH]);
    close(yc, [nextC]);
    const coupled = run('LSTM', [...lstm, scalar(h), scalar(c), f32(p, [1, 3])], { input_forget: 1 }, 3)[2];
    close(coupled, [(1 - i) * c + i * Math.tanh(pre(3, 4))]);

    const z = sigmoid(pre(0, 3));
    const reset = sigmoid(pre(1, 3));
    for (const late of [0, 1]) {
      const inner = late ? reset * (r[2] * h + b[5]) : r[2] * reset * h + b[5];
      const want = (1 - z) * Math.tanh(w[2] * x + b[2] + inner) + z * h;
      const gru = [scalar(x), f32(w.slice(0, 3), [1, 3, 1]), f32(r.slice(0, 3), [1, 3, 1]), f32(b.slice(0, 6), [1, 6])];
      close(run('GRU', [...gru, undefined, scalar(h)], { linear_before_reset: late }, 2)[1], [want]);
    }
  });

  it('refuses what it does not know', () => {
    expect(() => rnn([1], { activations: ['Elu'] })).toThrow(UnsupportedOpError);
    expect(() => rnn([1], { activations: ['Tanh', 'Tanh'] })).toThrow(ModelFormatError);
    expect(() => rnn([1], { direction: 'bidirectional' })).toThrow(ModelFormatError);
    expect(() => rnn([1], { hidden_size: 3 })).toThrow(ModelFormatError);
  });
});

describe('attention', () => {
  const heads = (values: number[], h = 1) => f32(values, [1, h, values.length / h, 1]);

  it('weighs values by softmax of scaled scores', () => {
    const [y] = run('Attention', [heads([1]), heads([0, Math.log(3)]), heads([4, 8])]);
    close(y, [7]);
    const scaled = run('Attention', [heads([1]), heads([0, Math.log(3)]), heads([4, 8])], { scale: 0 });
    close(scaled[0], [6]);
  });

  it('masks: causal, windowed, given, too short, all gone', () => {
    const [q, k, v] = [heads([0, 0, 0]), heads([0, 0, 0]), heads([3, 6, 12])];
    const y = (attrs: Record<string, Attr>, mask?: Tensor) => run('Attention', [q, k, v, mask], attrs)[0];
    close(y({ is_causal: 1 }), [3, 4.5, 7]);
    close(y({ left_window_size: 0, right_window_size: 1 }), [4.5, 9, 12]);
    close(y({ is_causal: 1, left_window_size: 1 }), [3, 4.5, 9]);
    const bool = new Tensor('bool', [1, 1, 0, 0, 0, 0, 0, 0, 1], [3, 3]);
    close(y({}, bool), [4.5, 0, 12]);
    close(y({}, f32([0, Math.log(2)], [1, 2])), [5, 5, 5]);
    expect(() => y({}, f32([0, 0, 0, 0], [1, 4]))).toThrow(ModelFormatError);
  });

  it('appends to caches, and shares keys among groups of queries', () => {
    const inputs = [heads([0, 0], 2), heads([0]), heads([6]), undefined, heads([0]), heads([2])];
    const [y, key, value, scores] = run('Attention', inputs, { is_causal: 1 }, 4);
    close(y, [4, 4]);
    expect([key.dims, list(value), scores.dims]).toEqual([
      [1, 1, 2, 1],
      [2, 6],
      [1, 2, 1, 2],
    ]);
  });

  it('counts only the keys that are valid in an external cache', () => {
    const inputs = [
      heads([0, 0]),
      heads([0, 0, 0, 0]),
      heads([1, 3, 8, 100]),
      undefined,
      undefined,
      undefined,
      i64([3]),
    ];
    close(run('Attention', inputs, { is_causal: 1 })[0], [2, 4]);
    close(run('Attention', inputs)[0], [4, 4]);
  });

  it('hands out the scores of any stage', () => {
    const inputs = [heads([2]), heads([1, 3]), heads([0, 0]), f32([5, 7], [1, 2])];
    const stage = (mode: number) => run('Attention', inputs, { qk_matmul_output_mode: mode, softcap: 4 }, 4)[3];
    const capped = [2, 6].map((s) => 4 * Math.tanh(s / 4));
    close(stage(0), [2, 6]);
    close(stage(1), capped);
    close(stage(2), [capped[0] + 5, capped[1] + 7]);
    const ratio = Math.exp(capped[0] - capped[1] - 2);
    close(stage(3), [ratio / (1 + ratio), 1 / (1 + ratio)]);
  });

  it('takes heads side by side in one dimension', () => {
    const q = f32([1, 0, 0, 1], [1, 2, 2]);
    const kv = f32([0, 0, Math.log(3), Math.log(3)], [1, 2, 2]);
    const v = f32([4, 40, 8, 80], [1, 2, 2]);
    const [y] = run('Attention', [q, kv, v], { q_num_heads: 2, kv_num_heads: 2 });
    expect(y.dims).toEqual([1, 2, 2]);
    close(y, [7, 60, 6, 70]);
    expect(() => run('Attention', [q, kv, v])).toThrow(ModelFormatError);
    expect(() => run('Attention', [q, kv, v], { q_num_heads: -2, kv_num_heads: -2 })).toThrow(ModelFormatError);
  });

  it('RotaryEmbedding turns pairs, halves or neighbours, and leaves the rest', () => {
    const x = f32([1, 2, 3, 4, 9], [1, 1, 1, 5]);
    const quarter = [f32([9, 9, 0, 1], [2, 2]), f32([9, 9, 1, 0], [2, 2]), i64([1], [1, 1])];
    const turn = (interleaved: number) =>
      list(run('RotaryEmbedding', [x, ...quarter], { interleaved, rotary_embedding_dim: 4 })[0]);
    expect(turn(0)).toEqual([-3, 2, 1, 4, 9]);
    expect(turn(1)).toEqual([-2, 1, 3, 4, 9]);
    const far = [quarter[0], quarter[1], i64([2], [1, 1])];
    expect(() => run('RotaryEmbedding', [x, ...far], { rotary_embedding_dim: 4 })).toThrow(/position 2/);
    const flat = f32([1, 2, 3, 4], [1, 1, 4]);
    const direct = [f32([0], [1, 1, 1]), f32([1], [1, 1, 1])];
    expect(list(run('RotaryEmbedding', [flat, ...direct], { num_heads: 2 })[0])).toEqual([-2, 1, -4, 3]);
  });
});
