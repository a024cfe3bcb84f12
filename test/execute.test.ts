// The executor against the interpreter on graphs that mix layouts, formats, fusions and shapes.
import { describe, expect, test } from 'vitest';
import type { Node } from '../src/graph/ir.ts';
import { Model, Tensor } from '../src/index.ts';
import { agree } from './support/agree.ts';
import { f32, graph, i64, node, prune } from './support/models.ts';

const scale = (dims: number[]) => Math.sqrt(3 / dims.slice(1).reduce((a, b) => a * b, 1));
const weights = (dims: number[], seed: number, sparsity = 0, g = 1) =>
  prune(f32(dims, seed, scale(dims)), sparsity, g, seed + 100);

/** A MobileNetV2 block: expand, depthwise, project, and add where shapes allow. */
function invertedResidual(
  x: string,
  out: string,
  c: number,
  expand: number,
  stride: number,
  residual: boolean,
  seed: number,
  sparsity: number,
  constants: Record<string, Tensor>,
): Node[] {
  const id = `${out}_${seed}`;
  constants[`${id}we`] = weights([c * expand, c, 1, 1], seed, sparsity, 4);
  constants[`${id}wd`] = weights([c * expand, 1, 3, 3], seed + 1);
  constants[`${id}wp`] = weights([c, c * expand, 1, 1], seed + 2, sparsity);
  constants[`${id}b`] = f32([c * expand], seed + 3, 0.3);
  constants[`${id}six`] = new Tensor('float32', [6], []);
  constants[`${id}zero`] = new Tensor('float32', [0], []);
  return [
    node('Conv', [x, `${id}we`, `${id}b`], [`${id}1`]),
    node('Clip', [`${id}1`, `${id}zero`, `${id}six`], [`${id}2`]),
    node('Conv', [`${id}2`, `${id}wd`, `${id}b`], [`${id}3`], {
      group: c * expand,
      pads: [1, 1, 1, 1],
      strides: [stride, stride],
    }),
    node('Relu', [`${id}3`], [`${id}4`]),
    node('Conv', [`${id}4`, `${id}wp`], [residual ? `${id}5` : out]),
    ...(residual ? [node('Add', [x, `${id}5`], [out])] : []),
  ];
}

describe('pruned k×k convolutions', () => {
  test.each([
    [1, 1, 3, 1],
    [2, 2, 3, 1],
    [1, 1, 5, 2],
  ])('%i images, stride %i, %ix%3$i, dilation %i', async (n, stride, k, dilation) => {
    const attrs = {
      pads: [k >> 1, k >> 1, k >> 1, k >> 1],
      strides: [stride, stride],
      dilations: [dilation, dilation],
    };
    const nodes = [
      node('Conv', ['x', 'w', 'b'], ['c'], attrs),
      node('Relu', ['c'], ['r']),
      node('Conv', ['r', 'p'], ['y']),
    ];
    const constants = {
      w: weights([32, 64, k, k], 3, 0.9, 4),
      b: f32([32], 4, 0.3),
      p: weights([8, 32, 1, 1], 5),
    };
    const feeds = { x: f32([n, 64, 24, 24], 6) };
    const g = graph({ x: [n, 64, 24, 24] }, ['y'], nodes, constants);
    const off = await agree(g, feeds);
    off.dispose();
    const model = await Model.load(g, { deterministic: true });
    const [conv] = model.plan(feeds);
    expect(conv.format).toMatch(/^group/);
    expect(conv.sparsity).toBeCloseTo(0.9, 1);
    expect(conv.predictedMs).toBeLessThan(conv.predictedDenseMs! / 3);
    model.dispose();
  });
});

describe('pruned layers of few tokens', () => {
  test.each([
    [1, 16, 0.8, 'group16'],
    [3, 8, 0.7, 'group8'],
    [2, 4, 0.8, 'group4'],
    [1, 1, 0.9, 'window'],
    [4, 1, 0.2, 'dense'],
    [8, 16, 0.8, 'group16'],
    [7, 1, 0.2, 'dense'],
    [8, 1, 0.9, 'csr'],
  ])('%i tokens, groups of %i, %f zeros: %s', async (tokens, group, zeros, format) => {
    const w = prune(f32([70, 96], 3, 0.2), zeros, group, 5);
    const g = graph({ x: [tokens, 96] }, ['y'], [node('Gemm', ['x', 'w', 'b'], ['y'], { transB: 1 })], {
      w,
      b: f32([70], 4),
    });
    const feeds = { x: f32([tokens, 96], 6) };
    (await agree(g, feeds)).dispose();
    const model = await Model.load(g, { deterministic: true });
    const [step] = model.plan(feeds);
    const nonzeros = w.data.filter((v) => v !== 0).length;
    expect(step).toMatchObject({ format, denseFlops: 2 * 70 * 96 * tokens, flops: 2 * nonzeros * tokens });
    expect(step.sparsity).toBeCloseTo(1 - nonzeros / (70 * 96), 9);
    expect(step.weightBytes).toBeGreaterThan(4 * nonzeros);
    model.dispose();
    const dense = await Model.load(g, { sparsity: 'off' });
    expect(dense.plan(feeds)[0]).toMatchObject({ format: 'dense', kernel: 'f32_dense_gemv' });
    dense.dispose();
  });
});

describe('blocks of real networks', () => {
  test.each([
    [1, 14, 14],
    [2, 7, 7],
    [1, 9, 5],
    [3, 1, 3],
  ])('inverted residuals, %i x [24, %i, %i]', async (n, h, w) => {
    const constants: Record<string, Tensor> = {};
    const nodes = [
      ...invertedResidual('x', 'a', 24, 3, 1, true, 1, 0.8, constants),
      ...invertedResidual('a', 'b', 24, 2, 1, true, 11, 0.5, constants),
      ...invertedResidual('b', 'c', 24, 2, 2, false, 21, 0, constants),
      node('GlobalAveragePool', ['c'], ['y']),
    ];
    (await agree(graph({ x: [n, 24, h, w] }, ['y', 'b'], nodes, constants), { x: f32([n, 24, h, w], 5) })).dispose();
  });

  test('squeeze and excite: a gate per channel on panels', async () => {
    const constants = {
      w0: weights([40, 16, 1, 1], 1, 0.7, 4),
      w1: weights([8, 40, 1, 1], 2),
      w2: weights([40, 8, 1, 1], 3),
      w3: weights([16, 40, 1, 1], 4, 0.9),
    };
    const nodes = [
      node('Conv', ['x', 'w0'], ['a']),
      node('HardSwish', ['a'], ['h']),
      node('GlobalAveragePool', ['h'], ['s']),
      node('Conv', ['s', 'w1'], ['s1']),
      node('Relu', ['s1'], ['s2']),
      node('Conv', ['s2', 'w2'], ['s3']),
      node('HardSigmoid', ['s3'], ['g'], { alpha: 1 / 6, beta: 0.5 }),
      node('Mul', ['h', 'g'], ['m']),
      node('Conv', ['m', 'w3'], ['y']),
    ];
    for (const n of [1, 3])
      (await agree(graph({ x: [n, 16, 7, 5] }, ['y'], nodes, constants), { x: f32([n, 16, 7, 5], 5) })).dispose();
  });

  test('a value read in both layouts, and one that is an output too', async () => {
    const constants = { w: weights([16, 16, 1, 1], 1, 0.8, 4), k: weights([16, 16, 3, 3], 2, 0.6, 4) };
    const nodes = [
      node('Conv', ['x', 'w'], ['a']),
      node('Conv', ['a', 'w'], ['b']),
      node('Conv', ['a', 'k'], ['c'], { pads: [1, 1, 1, 1] }),
      node('Add', ['b', 'c'], ['d']),
      node('MaxPool', ['d'], ['e'], { kernel_shape: [2, 2], strides: [2, 2] }),
      node('Concat', ['b', 'c', 'a'], ['f'], { axis: 1 }),
    ];
    const model = await agree(graph({ x: [2, 16, 6, 10] }, ['a', 'd', 'e', 'f'], nodes, constants), {
      x: f32([2, 16, 6, 10], 5),
    });
    expect(model.plan().some((s) => s.kernel === 'host')).toBe(false);
    model.dispose();
  });
});

describe('convolutions of every shape', () => {
  const cases: [string, number[], number[], Record<string, number | number[]>][] = [
    ['3x3', [1, 5, 9, 8], [7, 5, 3, 3], { pads: [1, 1, 1, 1] }],
    ['5x3 dilated', [1, 3, 12, 11], [6, 3, 5, 3], { dilations: [2, 3], pads: [4, 3, 4, 3] }],
    ['7x7 stride 2', [2, 3, 17, 19], [8, 3, 7, 7], { strides: [2, 2], pads: [3, 3, 3, 3] }],
    ['stride 3 unequal pads', [1, 4, 10, 13], [5, 4, 3, 2], { strides: [3, 2], pads: [0, 1, 2, 0] }],
    ['groups', [1, 8, 7, 7], [12, 2, 3, 3], { group: 4, pads: [1, 1, 1, 1] }],
    ['pointwise stride 2', [1, 9, 8, 8], [10, 9, 1, 1], { strides: [2, 2] }],
    ['pointwise padded', [1, 9, 4, 4], [10, 9, 1, 1], { pads: [1, 1, 1, 1] }],
    ['grouped pointwise', [2, 8, 5, 5], [8, 4, 1, 1], { group: 2 }],
    ['depthwise 5x5 stride 2', [1, 11, 13, 9], [11, 1, 5, 5], { group: 11, strides: [2, 2], pads: [2, 2, 2, 2] }],
    ['depthwise multiplier 2', [1, 6, 8, 8], [12, 1, 3, 3], { group: 6, pads: [1, 1, 1, 1] }],
    ['depthwise dilated', [1, 6, 12, 12], [6, 1, 3, 3], { group: 6, dilations: [2, 2], pads: [2, 2, 2, 2] }],
    ['stem, 3 channels', [1, 3, 15, 20], [10, 3, 3, 3], { strides: [2, 2], pads: [1, 1, 1, 1] }],
    ['stem, 1 channel, pads behind', [2, 1, 16, 16], [8, 1, 3, 3], { strides: [2, 2], pads: [0, 0, 1, 1] }],
    ['1-d', [2, 6, 21], [8, 6, 5], { strides: [2], pads: [2, 1] }],
    ['1-d pointwise', [2, 6, 21], [8, 6, 1], {}],
    ['3-d', [1, 2, 5, 6, 4], [3, 2, 2, 3, 2], { pads: [0, 1, 0, 1, 1, 1] }],
    ['one pixel', [3, 10, 1, 1], [21, 10, 1, 1], {}],
    ['one row left of a group', [1, 10, 4, 4], [9, 10, 1, 1], {}],
  ];
  test.each(cases)('%s', async (_, x, w, attrs) => {
    const nodes = [node('Conv', ['x', 'w', 'b'], ['c'], attrs), node('Relu', ['c'], ['y'])];
    for (const sparsity of [0, 0.7, 1]) {
      const constants = { w: weights(w, 3, sparsity, 4), b: f32([w[0]], 4) };
      (await agree(graph({ x }, ['y'], nodes, constants), { x: f32(x, 5) })).dispose();
    }
  });

  test.each([
    ['2x2 stride 2', [1, 6, 5, 7], [6, 4, 2, 2], { strides: [2, 2] }],
    [
      '3x3 stride 2 padded',
      [2, 5, 4, 4],
      [5, 3, 3, 3],
      { strides: [2, 2], pads: [1, 1, 1, 1], output_padding: [1, 1] },
    ],
    ['4x4 stride 1', [1, 3, 5, 5], [3, 7, 4, 4], { pads: [1, 2, 2, 1] }],
    ['groups, dilated', [1, 6, 4, 5], [6, 2, 3, 3], { group: 3, dilations: [2, 1], strides: [1, 3] }],
    ['1-d', [1, 4, 9], [4, 3, 4], { strides: [2] }],
  ] as [string, number[], number[], Record<string, number | number[]>][])('transposed %s', async (_, x, w, attrs) => {
    const outputs = w[1] * Number(attrs.group ?? 1);
    const nodes = [node('ConvTranspose', ['x', 'w', 'b'], ['c'], attrs), node('Relu', ['c'], ['y'])];
    const g = graph({ x }, ['y'], nodes, { w: weights(w, 3, 0.3), b: f32([outputs], 4) });
    (await agree(g, { x: f32(x, 5) })).dispose();
  });
});

describe('linear layers', () => {
  test.each([1, 3, 4, 5, 16, 33])('%i tokens', async (tokens) => {
    const constants = { w: weights([20, 37], 1, 0.6, 4), m: f32([20, 13], 2, 0.2), b: f32([20], 3), t: f32([13], 4) };
    const nodes = [
      node('Gemm', ['x', 'w', 'b'], ['a'], { transB: 1, alpha: 0.5, beta: 2 }),
      node('Relu', ['a'], ['r']),
      node('MatMul', ['r', 'm'], ['c']),
      node('Add', ['c', 't'], ['y']),
    ];
    (await agree(graph({ x: [tokens, 37] }, ['y'], nodes, constants), { x: f32([tokens, 37], 5) })).dispose();
  });

  test('both operands computed, leading dimensions broadcast', async () => {
    const nodes = [node('MatMul', ['x', 'y'], ['z'])];
    for (const [a, b] of [
      [
        [5, 7],
        [7, 3],
      ],
      [
        [2, 3, 5, 7],
        [3, 7, 4],
      ],
      [
        [4, 1, 6, 2],
        [1, 5, 2, 9],
      ],
    ]) {
      (await agree(graph({ x: a, y: b }, ['z'], nodes), { x: f32(a, 1), y: f32(b, 2) })).dispose();
    }
  });
});

describe('elementwise', () => {
  const unary = [
    'Relu',
    'HardSwish',
    'HardSigmoid',
    'Sigmoid',
    'LeakyRelu',
    'Elu',
    'Tanh',
    'Exp',
    'Neg',
    'Abs',
    'Erf',
    'Gelu',
    'Swish',
    'Reciprocal',
  ];
  test.each(unary)('%s', async (op) => {
    (await agree(graph({ x: [3, 41] }, ['y'], [node(op, ['x'], ['y'])]), { x: f32([3, 41], 2, 5) })).dispose();
  });
  const shapes: [number[], number[]][] = [
    [
      [2, 5, 4, 3],
      [2, 5, 4, 3],
    ],
    [[2, 5, 4, 3], [1]],
    [
      [2, 5, 4, 3],
      [5, 1, 1],
    ],
    [
      [2, 5, 4, 3],
      [2, 5, 1, 1],
    ],
    [[2, 5, 4, 3], [3]],
    [
      [2, 5, 4, 3],
      [4, 3],
    ],
    [
      [5, 1, 1],
      [2, 5, 4, 3],
    ],
    [
      [2, 1, 4, 3],
      [1, 5, 1, 3],
    ],
    [[], [4]],
  ];
  test.each(['Add', 'Sub', 'Mul', 'Div', 'Max', 'Min'])('%s, operands of every shape', async (op) => {
    for (const [a, b] of shapes) {
      const nodes = [node(op, ['x', 'z'], ['s']), node('Relu', ['s'], ['y'])];
      (await agree(graph({ x: a, z: b }, ['y', 's'], nodes), { x: f32(a, 1, 3), z: f32(b, 2, 3) })).dispose();
      if (b.length) (await agree(graph({ x: a }, ['y'], nodes, { z: f32(b, 2, 3) }), { x: f32(a, 1, 3) })).dispose();
    }
  });
  test.each([0, 1, 2, -1])('softmax over axis %i', async (axis) => {
    const nodes = [node('Softmax', ['x'], ['y'], { axis }), node('LogSoftmax', ['x'], ['l'], { axis })];
    (await agree(graph({ x: [3, 5, 7] }, ['y', 'l'], nodes), { x: f32([3, 5, 7], 1, 20) })).dispose();
  });
  test.each(['ReduceMean', 'ReduceSum', 'ReduceMax', 'ReduceMin'])('%s', async (op) => {
    for (const axes of [[0], [1, 2], [-1], [0, 3], [2, 3]]) {
      const nodes = [node(op, ['x', 'axes'], ['y'], { keepdims: 0 })];
      (
        await agree(graph({ x: [2, 3, 4, 5] }, ['y'], nodes, { axes: i64(...axes) }), { x: f32([2, 3, 4, 5], 1) })
      ).dispose();
    }
  });
});

describe('shapes', () => {
  test('dims that follow from shapes are planned per shape', async () => {
    const nodes = [
      node('Shape', ['x'], ['s']),
      node('Gather', ['s', 'zero'], ['n'], { axis: 0 }),
      node('Concat', ['n', 'rest'], ['to'], { axis: 0 }),
      node('Reshape', ['x', 'to'], ['y']),
    ];
    const g = graph({ x: ['n', 3, 'w'] }, ['y'], nodes, { zero: i64(0), rest: i64(-1) });
    using model = await Model.load(g);
    for (const dims of [
      [1, 3, 4],
      [5, 3, 2],
      [1, 3, 4],
    ])
      expect(model.runSync({ x: f32(dims) }).y.dims).toEqual([dims[0], 3 * dims[2]]);
  });

  test('dims that follow from the value of an input are planned for that value', async () => {
    const g = graph({ x: [12] }, ['y'], [node('Relu', ['x'], ['r']), node('Reshape', ['r', 'to'], ['y'])]);
    g.inputs.push({ name: 'to', type: 'int64', dims: [2] });
    using model = await Model.load(g);
    for (const to of [
      [3, 4],
      [2, 6],
      [12, 1],
      [3, 4],
    ])
      expect(model.runSync({ x: f32([12]), to: i64(...to) }).y.dims).toEqual(to);
  });

  test.each([
    [
      [2, 3, 4],
      [0, 2, 1],
    ],
    [
      [2, 3, 4],
      [2, 0, 1],
    ],
    [
      [2, 3, 4, 5],
      [0, 2, 3, 1],
    ],
    [
      [2, 3, 4, 5],
      [3, 1, 2, 0],
    ],
    [
      [1, 3, 1, 5],
      [3, 2, 1, 0],
    ],
    [
      [1, 3, 4, 5],
      [0, 3, 1, 2],
    ],
  ])('transpose %j by %j', async (dims, perm) => {
    (await agree(graph({ x: dims }, ['y'], [node('Transpose', ['x'], ['y'], { perm })]), { x: f32(dims) })).dispose();
  });
});
