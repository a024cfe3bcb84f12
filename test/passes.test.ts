// Passes keep what a graph computes: the interpreter runs it before and after.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { interpret } from '../src/graph/interpret.ts';
import type { Graph } from '../src/graph/ir.ts';
import { optimise } from '../src/graph/passes.ts';
import { readOnnxSync, readTensorProto } from '../src/onnx/index.ts';
import { OPS } from '../src/ops/index.ts';
import { Tensor } from '../src/tensor.ts';
import { difference, f32, graph, node, prune } from './support/models.ts';

const copy = (g: Graph): Graph => ({
  ...g,
  nodes: g.nodes.map((n) => ({ ...n, inputs: [...n.inputs], outputs: [...n.outputs] })),
  constants: new Map(g.constants),
});

/** Optimises and compares; returns the operators that are left. */
function check(g: Graph, feeds: Record<string, Tensor>): string[] {
  const before = interpret(g, feeds);
  const after = optimise(copy(g), OPS);
  const results = interpret(after, feeds);
  for (const name of Object.keys(before)) expect(difference(results[name], before[name])).toBeLessThan(1e-5);
  return after.nodes.map((n) => n.op);
}

const bn = {
  s: f32([6], 2),
  b: f32([6], 3),
  m: f32([6], 4),
  v: new Tensor(
    'float32',
    f32([6], 5).data.map((x) => x * x + 0.1),
    [6],
  ),
};

test('batch norm and per-channel scales and shifts fold into the convolution before them', () => {
  const w = prune(f32([6, 4, 3, 3], 1), 0.5);
  const nodes = [
    node('Conv', ['x', 'w'], ['a'], { pads: [1, 1, 1, 1] }),
    node('BatchNormalization', ['a', 's', 'b', 'm', 'v'], ['c']),
    node('Mul', ['c', 'k'], ['d']),
    node('Sub', ['d', 'one'], ['e']),
    node('Div', ['e', 'k'], ['f']),
    node('Add', ['k2', 'f'], ['y']),
  ];
  const constants = {
    w,
    ...bn,
    k: f32([1, 6, 1, 1], 6, 3),
    k2: f32([6, 1, 1], 7),
    one: new Tensor('float32', [0.5], []),
  };
  const g = graph({ x: [1, 4, 7, 7] }, ['y'], nodes, constants);
  expect(check(g, { x: f32([1, 4, 7, 7], 9) })).toEqual(['Conv']);
  const folded = optimise(copy(g), OPS);
  const weights = folded.constants.get(folded.nodes[0].inputs[1])!;
  expect(weights.data.filter((v) => v === 0).length).toBe(w.data.filter((v) => v === 0).length);
});

test('a group convolution and a transposed one fold too', () => {
  const constants = { w: f32([6, 2, 3, 3], 1), t: f32([6, 3, 2, 2], 8), ...bn };
  const nodes = [
    node('Conv', ['x', 'w'], ['a'], { group: 2 }),
    node('BatchNormalization', ['a', 's', 'b', 'm', 'v'], ['c']),
    node('ConvTranspose', ['c', 't'], ['d'], { group: 2, strides: [2, 2] }),
    node('BatchNormalization', ['d', 's', 'b', 'm', 'v'], ['y']),
  ];
  expect(check(graph({ x: [1, 4, 7, 7] }, ['y'], nodes, constants), { x: f32([1, 4, 7, 7], 9) })).toEqual([
    'Conv',
    'ConvTranspose',
  ]);
});

test('what is not per channel, or is read twice, stays', () => {
  const constants = { w: f32([6, 4, 1, 1], 1), row: f32([7], 2), ...bn };
  const nodes = [
    node('Conv', ['x', 'w'], ['a']),
    node('Add', ['a', 'row'], ['b0']),
    node('Conv', ['x', 'w'], ['c']),
    node('BatchNormalization', ['c', 's', 'b', 'm', 'v'], ['d']),
    node('Add', ['c', 'd'], ['e']),
    node('Mul', ['b0', 'e'], ['y']),
  ];
  const left = check(graph({ x: [1, 4, 7, 7] }, ['y'], nodes, constants), { x: f32([1, 4, 7, 7], 9) });
  expect(left.filter((op) => op !== 'Conv')).toEqual(['Add', 'BatchNormalization', 'Add', 'Mul']);
});

test('gates become one operator, constants fold, identities and dead nodes go', () => {
  const nodes = [
    node('Identity', ['x'], ['i']),
    node('Sigmoid', ['i'], ['s1']),
    node('Mul', ['i', 's1'], ['a']),
    node('HardSigmoid', ['a'], ['h'], { alpha: 1 / 6, beta: 0.5 }),
    node('Mul', ['h', 'a'], ['b0']),
    node('Dropout', ['b0'], ['c']),
    node('Add', ['p', 'q'], ['pq']),
    node('Mul', ['c', 'pq'], ['y']),
    node('Exp', ['x'], ['dead']),
  ];
  const g = graph({ x: [3, 4] }, ['y'], nodes, { p: f32([4], 1), q: f32([4], 2) });
  expect(check(g, { x: f32([3, 4], 3, 4) })).toEqual(['Swish', 'HardSwish', 'Mul']);
});

test('a hard swish written out becomes one operator', () => {
  const scalar = (v: number) => new Tensor('float32', [v], []);
  const nodes = [
    node('Add', ['x', 'three'], ['a']),
    node('Clip', ['a', 'zero', 'six'], ['b0']),
    node('Mul', ['x', 'b0'], ['c']),
    node('Div', ['c', 'six'], ['y']),
  ];
  const g = graph({ x: [5, 7] }, ['y'], nodes, { three: scalar(3), zero: scalar(0), six: scalar(6) });
  expect(check(g, { x: f32([5, 7], 3, 6) })).toEqual(['HardSwish']);
});

test('an output keeps its name when its node is an identity', () => {
  const g = graph({ x: [3] }, ['y'], [node('Relu', ['x'], ['r']), node('Identity', ['r'], ['y'])]);
  check(g, { x: f32([3]) });
});

test.each(['mobilenet_v3_small_050'])('%s', (name) => {
  const dir = `test/fixtures/architectures/${name}`;
  const g = readOnnxSync(readFileSync(`${dir}/model.onnx`));
  const input = readTensorProto(readFileSync(`${dir}/test_data_set_0/input_0.pb`));
  const left = check(g, { [g.inputs[0].name]: input });
  expect(left).not.toContain('BatchNormalization');
});
