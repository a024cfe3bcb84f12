// What is kept in memory between runs is each node's own: weights that nodes share, values that follow from shapes, inputs or
// branches, constants that only one plan knows.
import { describe, expect, test } from 'vitest';
import { interpret } from '../src/graph/interpret.ts';
import type { Graph, Node } from '../src/graph/ir.ts';
import { Model, Tensor, UnsupportedError } from '../src/index.ts';
import { agree } from './support/agree.ts';
import { f32, graph, i64, node, prune } from './support/models.ts';

const bool = (v: boolean) => new Tensor('bool', Uint8Array.of(Number(v)), []);

describe('weights that nodes share', () => {
  const cases: [string, number[], number[], object, object][] = [
    ['pointwise', [8, 4, 1, 1], [1, 4, 5, 5], {}, {}],
    ['one pixel', [8, 4, 1, 1], [1, 4, 1, 1], {}, {}],
    ['stem', [8, 3, 3, 3], [1, 3, 9, 9], { strides: [2, 2] }, { strides: [2, 2] }],
    ['depthwise', [4, 1, 3, 3], [1, 4, 6, 6], { group: 4 }, { group: 4, pads: [1, 1, 1, 1] }],
    ['dilation', [8, 4, 3, 3], [1, 4, 9, 9], {}, { dilations: [2, 2] }],
    ['groups', [8, 4, 3, 3], [1, 4, 9, 9], {}, {}],
  ];
  test.each(cases)('%s: biases and attributes differ', async (_, w, x, first, second) => {
    const nodes = [
      node('Conv', ['x', 'w', 'b1'], ['a'], first as Node['attrs']),
      node('Conv', ['x', 'w', 'b2'], ['b'], second as Node['attrs']),
      node('Conv', ['x', 'w'], ['c'], second as Node['attrs']),
    ];
    const constants = { w: f32(w, 1), b1: f32([w[0]], 2), b2: f32([w[0]], 3) };
    (await agree(graph({ x }, ['a', 'b', 'c'], nodes, constants), { x: f32(x, 4) })).dispose();
  });

  test('ConvTranspose: groups and biases', async () => {
    const nodes = [
      node('ConvTranspose', ['x', 'w'], ['a'], { group: 1 }),
      node('ConvTranspose', ['x', 'w'], ['b'], { group: 2 }),
      node('ConvTranspose', ['x', 'w', 'bias'], ['c'], { group: 2 }),
    ];
    const g = graph({ x: [1, 4, 5, 5] }, ['a', 'b', 'c'], nodes, { w: f32([4, 3, 2, 2]), bias: f32([6], 2) });
    (await agree(g, { x: f32([1, 4, 5, 5], 3) })).dispose();
  });

  test('one array under different dims', async () => {
    const data = f32([4, 6], 1).data;
    const [tall, wide] = [new Tensor('float32', data, [4, 6]), new Tensor('float32', data, [6, 4])];
    const nodes = [node('MatMul', ['x', 'tall'], ['h']), node('MatMul', ['h', 'wide'], ['y'])];
    for (const tokens of [2, 20]) {
      const g = graph({ x: [tokens, 4] }, ['y', 'h'], nodes, { tall, wide });
      (await agree(g, { x: f32([tokens, 4], 3) })).dispose();
    }
    const [w1, w2] = [new Tensor('float32', data, [6, 4, 1, 1]), new Tensor('float32', data, [4, 6, 1, 1])];
    const convs = [node('Conv', ['x', 'w1'], ['h']), node('Conv', ['h', 'w2'], ['y'])];
    (await agree(graph({ x: [1, 4, 3, 3] }, ['y'], convs, { w1, w2 }), { x: f32([1, 4, 3, 3], 2) })).dispose();
  });

  test('Gemm: alpha, beta, transposition and bias', async () => {
    const nodes = [
      node('Gemm', ['x', 'w', 'b'], ['a']),
      node('Gemm', ['x', 'w', 'b'], ['c'], { alpha: 0.5, beta: 2 }),
      node('Gemm', ['x', 'w'], ['d'], { transB: 1 }),
    ];
    for (const tokens of [1, 20]) {
      const g = graph({ x: [tokens, 6] }, ['a', 'c', 'd'], nodes, { w: f32([6, 6]), b: f32([6], 2) });
      (await agree(g, { x: f32([tokens, 6], 3) })).dispose();
    }
  });

  test('pruned k×k layers: dilation, stride and width, however many widths come', async () => {
    const nodes = [
      node('Conv', ['x', 'w'], ['a'], { pads: [1, 1, 1, 1] }),
      node('Conv', ['x', 'w'], ['b'], { pads: [2, 2, 2, 2], dilations: [2, 2] }),
      node('Conv', ['x', 'w'], ['c'], { strides: [2, 2] }),
    ];
    const w = prune(f32([32, 32, 3, 3], 1, 0.1), 0.9, 4);
    const g = graph({ x: [1, 32, 'h', 'w'] }, ['a', 'b', 'c'], nodes, { w });
    const sizes = [28, 30, 14, 20, 22, 26, 28].map((width) => ({ x: f32([1, 32, 14, width], width) }));
    (await agree(g, sizes)).dispose();
    using model = await Model.load(g);
    for (let width = 16; width < 40; width++) model.runSync({ x: f32([1, 32, 14, width]) });
    const { weightBytes } = model;
    for (let width = 40; width < 60; width++) model.runSync({ x: f32([1, 32, 14, width]) });
    expect(model.weightBytes).toBe(weightBytes);
  });
});

describe('values that belong to one plan', () => {
  const x = (...dims: number[]) => ({ x: f32(dims, dims[dims.length - 1]) });

  test('a number from the shape scales, is a slope, is multiplied with', async () => {
    const nodes = [
      node('Shape', ['x'], ['s']),
      node('Cast', ['s'], ['f'], { to: 'float32' }),
      node('ReduceMax', ['f'], ['q'], { keepdims: 1 }),
      node('Div', ['x', 'q'], ['y']),
      node('PRelu', ['x', 'q'], ['p']),
      node('Reshape', ['f', 'column'], ['m']),
      node('Slice', ['x', 'zero', 'two', 'one'], ['x2']),
      node('MatMul', ['x2', 'm'], ['z']),
    ];
    const constants = { column: i64(2, 1), zero: i64(0), one: i64(1), two: i64(2) };
    const g = graph({ x: ['n', 'm'] }, ['y', 'p', 'z'], nodes, constants);
    (await agree(g, [x(3, 4), x(3, 6), x(20, 9), x(3, 4)])).dispose();
  });

  test('an input whose value decides shapes: what else is computed from it is of each run', async () => {
    const nodes = [
      node('NonZero', ['x'], ['nz']),
      node('Relu', ['x'], ['r']),
      node('Add', ['z', 'r'], ['y']),
      node('Concat', ['r', 'x'], ['c'], { axis: 0 }),
      node('Mul', ['c', 'k'], ['d']),
    ];
    const g = graph({ x: [8], z: [4, 8] }, ['y', 'nz', 'd'], nodes, { k: f32([3, 16]) });
    const feeds = [
      [1, 0, -2, 0, 0, 3, 0, 0],
      [0, 5, 0, 7, 0, -1, 9, 0],
      [1, 0, -2, 0, 0, 3, 0, 0],
    ].map((v) => ({ x: new Tensor('float32', v, [8]), z: f32([4, 8]) }));
    (await agree(g, feeds)).dispose();
  });

  test('the caller may change the data of such an input afterwards', async () => {
    const g = graph({ x: [12] }, ['y'], [node('Reshape', ['x', 'to'], ['r']), node('Tile', ['r', 'to'], ['y'])]);
    g.inputs.push({ name: 'to', type: 'int64', dims: [2] });
    using model = await Model.load(g);
    const to = i64(3, 4);
    model.runSync({ x: f32([12]), to });
    to.data.set([2n, 6n]);
    for (const [a, b] of [
      [2, 6],
      [3, 4],
    ]) {
      const feeds = { x: f32([12]), to: i64(a, b) };
      expect(model.runSync(feeds).y).toEqual(interpret(g, feeds).y);
    }
  });

  test('a large constant under dims that follow from a shape', async () => {
    const nodes = [
      node('Shape', ['x'], ['s']),
      node('Concat', ['s', 'rest'], ['to'], { axis: 0 }),
      node('Reshape', ['c', 'to'], ['r']),
      node('Mul', ['r', 'x'], ['y']),
      node('Transpose', ['r'], ['t']),
    ];
    const g = graph({ x: ['n'] }, ['y', 't'], nodes, { rest: i64(-1), c: f32([40000]) });
    (await agree(g, x(1))).dispose();
  });

  test('a shape behind more values than are computed ahead is refused as unsupported', async () => {
    const g = graph({ x: [200, 200] }, ['y'], [node('Relu', ['x'], ['r']), node('NonZero', ['r'], ['y'])]);
    using model = await Model.load(g);
    expect(() => model.runSync({ x: f32([200, 200]) })).toThrow(UnsupportedError);
  });
});

describe('branches', () => {
  /** y = c ? one : other, both made by `branch`. */
  const choose = (
    branch: (seed: number) => Graph,
    before: Node[],
    constants: Record<string, Tensor>,
    dims: number[],
  ) => {
    const attrs = { then_branch: branch(1), else_branch: branch(2) };
    const g = graph({ x: dims }, ['y'], [...before, node('If', ['c'], ['y'], attrs)], constants);
    g.inputs.push({ name: 'c', type: 'bool', dims: [] });
    const x = f32(dims, 9);
    return agree(g, [
      { x, c: bool(true) },
      { x, c: bool(false) },
      { x, c: bool(true) },
    ]);
  };

  test('names of weights and nodes that both branches use', async () => {
    const conv = (seed: number) =>
      graph({}, ['o'], [{ ...node('Conv', ['x', 'w'], ['o']), name: 'same' }], { w: f32([4, 3, 1, 1], seed) });
    (await choose(conv, [], {}, [1, 3, 6, 4])).dispose();
    const add = (seed: number) => graph({}, ['o'], [node('Add', ['x', 'w'], ['o'])], { w: f32([4], seed) });
    (await choose(add, [], {}, [1, 3, 6, 4])).dispose();
  });

  test('names that branches of several nodes use', async () => {
    const inner = (seed: number): Graph => {
      const nodes = [node('MatMul', ['x', 'w'], ['h']), node('Add', ['h', 'k'], ['x2']), node('Neg', ['x2'], ['o'])];
      return graph({}, ['o'], nodes, { w: f32([6, 6], seed), k: f32([6], seed + 10) });
    };
    const first = node('If', ['c'], ['a'], { then_branch: inner(1), else_branch: inner(2) });
    const second = node('If', ['c'], ['b'], { then_branch: inner(3), else_branch: inner(4) });
    const g = graph({ x: [3, 6] }, ['a', 'b', 'y'], [first, second, node('Add', ['a', 'b'], ['y'])]);
    g.inputs.push({ name: 'c', type: 'bool', dims: [] });
    const x = f32([3, 6], 9);
    const last = await agree(g, [
      { x, c: bool(true) },
      { x, c: bool(false) },
    ]);
    last.dispose();
  });

  test('values of a branch that decide shapes, and conditions of branches within', async () => {
    const cast = [node('Cast', ['to'], ['t'], { to: 'int64' }), node('Reshape', ['x', 't'], ['o'])];
    const flat = graph({}, ['o'], [node('Flatten', ['x'], ['o'], { axis: 0 })]);
    const attrs = { then_branch: graph({}, ['o'], cast), else_branch: flat };
    const g = graph({ x: [12] }, ['y'], [node('If', ['c'], ['y'], attrs)]);
    g.inputs.push({ name: 'c', type: 'bool', dims: [] }, { name: 'to', type: 'int32', dims: [2] });
    const to = (a: number, b: number) => new Tensor('int32', [a, b], [2]);
    const x = f32([12]);
    (
      await agree(g, [
        { x, c: bool(true), to: to(3, 4) },
        { x, c: bool(false), to: to(3, 4) },
        { x, c: bool(true), to: to(6, 2) },
      ])
    ).dispose();
    const leaf = (op: string) => graph({}, ['o'], [node(op, ['x'], ['o'])]);
    const both = { then_branch: leaf('Relu'), else_branch: leaf('Neg') };
    const nested = graph({}, ['o2'], [node('Not', ['d'], ['nd']), node('If', ['nd'], ['o2'], both)]);
    const h = graph({ x: [12] }, ['y'], [node('If', ['c'], ['y'], { then_branch: nested, else_branch: leaf('Exp') })]);
    h.inputs.push({ name: 'c', type: 'bool', dims: [] }, { name: 'd', type: 'bool', dims: [] });
    const all = [true, false].flatMap((c) => [true, false].map((d) => ({ x, c: bool(c), d: bool(d) })));
    (await agree(h, all)).dispose();
  });

  test('weights prepared inside a branch', async () => {
    const branch = (seed: number) =>
      graph({}, ['o'], [node('Transpose', ['w'], ['t'], { perm: [1, 0] }), node('MatMul', ['x', 't'], ['o'])], {
        w: f32([200, 200], seed, 0.1),
      });
    using model = await choose(branch, [], {}, [3, 200]);
    expect(model.plan({ x: f32([3, 200]), c: bool(true) }).map((s) => s.op)).not.toContain('Transpose');
  });

  test('what a branch takes from around it keeps its name through the passes', async () => {
    const relu = (from: string) => (seed: number) =>
      graph({}, ['o'], [node(seed === 1 ? 'Relu' : 'Neg', [from], ['o'])]);
    (await choose(relu('i'), [node('Identity', ['x'], ['i'])], {}, [3, 20])).dispose();
    const before = [node('Conv', ['x', 'w'], ['a']), node('Mul', ['a', 'k'], ['m'])];
    (await choose(relu('a'), before, { w: f32([3, 2, 1, 1]), k: f32([3, 1, 1], 2) }, [1, 2, 5, 5])).dispose();
  });
});

test('definitions that write some elements only leave zeros, not what lay there', async () => {
  const g = graph(
    { x: [1, 3, 5, 20] },
    ['t', 'p'],
    [node('Trilu', ['x'], ['t']), node('CenterCropPad', ['x', 'to'], ['p'], { axes: [2, 3] })],
    { to: i64(9, 24) },
  );
  (await agree(g, { x: f32([1, 3, 5, 20]) })).dispose();
});

test('a reduction over no axes that is to do nothing does nothing', async () => {
  const ops = ['ReduceMean', 'ReduceSum', 'ReduceMax', 'ReduceMin'];
  const nodes = ops.map((op) => node(op, ['x'], [op], { noop_with_empty_axes: 1 }));
  (await agree(graph({ x: [3, 4] }, ops, nodes), { x: f32([3, 4]) })).dispose();
});
