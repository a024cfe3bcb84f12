import { describe, expect, test, vi } from 'vitest';
import { InputError, ModelFormatError, UnsupportedError, UnsupportedOpError } from '../src/errors.ts';
import { ancestorsOf, NeedsValue, specialize } from '../src/graph/infer.ts';
import { interpret } from '../src/graph/interpret.ts';
import type { Graph, Node, ValueInfo } from '../src/graph/ir.ts';
import { OPS } from '../src/ops/index.ts';
import { Tensor, type TensorType } from '../src/tensor.ts';

const i64 = (...data: number[]) => new Tensor('int64', data.map(BigInt));
const node = (op: string, inputs: string[], outputs: string[], attrs: Node['attrs'] = {}): Node => ({
  op,
  name: outputs.join(),
  inputs,
  outputs,
  attrs,
});
const info = (name: string, type: ValueInfo['type'] = 'float32', dims: ValueInfo['dims'] = null): ValueInfo => ({
  name,
  type,
  dims,
});
const graph = (
  inputs: ValueInfo[],
  nodes: Node[],
  outputs: string[],
  constants: Record<string, Tensor> = {},
): Graph => ({
  name: 'g',
  inputs,
  outputs: outputs.map((name) => info(name)),
  nodes,
  constants: new Map(Object.entries(constants)),
});
const infer = (g: Graph, types: Record<string, TensorType>, known: Record<string, Tensor> = {}) =>
  specialize(g, new Map(Object.entries(types)), new Map(Object.entries(known)), OPS);
const x = (...dims: number[]): TensorType => ({ type: 'float32', dims });

describe('specialize', () => {
  /** x reshaped to [batch, everything else], by way of Shape, Gather, Unsqueeze and Concat. */
  const exported = graph(
    [info('x')],
    [
      node('Shape', ['x'], ['shape']),
      node('Gather', ['shape', 'zero'], ['n']),
      node('Unsqueeze', ['n', 'axes'], ['n1']),
      node('Concat', ['n1', 'rest'], ['to'], { axis: 0 }),
      node('Reshape', ['x', 'to'], ['y']),
    ],
    ['y'],
    { zero: new Tensor('int64', [0n], []), axes: i64(0), rest: i64(-1) },
  );

  test('shapes computed from shapes are known', () => {
    const { values } = infer(exported, { x: x(2, 3, 4) });
    expect(values.get('to')).toEqual({ type: 'int64', dims: [2], value: i64(2, -1) });
    expect(values.get('y')).toEqual({ type: 'float32', dims: [2, 12] });
  });

  test('large constants are not computed with ahead', () => {
    const w = Tensor.zeros('float32', [200, 200]);
    const { values } = infer(graph([], [node('Neg', ['w'], ['y'])], ['y'], { w }), {});
    expect(values.get('y')).toEqual({ type: 'float32', dims: [200, 200] });
  });

  const byValue = graph(
    [info('x'), info('n', 'int64'), info('m', 'int64')],
    [node('Add', ['n', 'n'], ['n2']), node('Expand', ['x', 'n2'], ['y']), node('Mul', ['n2', 'm'], ['z'])],
    ['y', 'z'],
  );
  const types = { x: x(1), n: { type: 'int64', dims: [1] }, m: { type: 'int64', dims: [1] } } as const;

  test('a shape that depends on a value asks for it; given, the plan is for that value', () => {
    expect(() => infer(byValue, types)).toThrow(NeedsValue);
    try {
      infer(byValue, types);
    } catch (error) {
      expect((error as NeedsValue).value).toBe('n2');
      expect(ancestorsOf(byValue, 'n2')).toEqual(new Set(['n']));
    }
    expect(ancestorsOf(byValue, 'z')).toEqual(new Set(['n', 'm']));
    expect(ancestorsOf(byValue, 'x')).toEqual(new Set(['x']));
    const { values } = infer(byValue, types, { n: i64(3) });
    expect(values.get('y')!.dims).toEqual([6]);
    expect(values.get('z')!.value).toBeUndefined();
  });

  const branching = graph(
    [info('c', 'bool'), info('x')],
    [
      node('If', ['c'], ['y'], {
        then_branch: graph([], [node('Add', ['x', 'one'], ['t'])], ['t'], { one: new Tensor('float32', [1]) }),
        else_branch: graph([], [], ['x']),
      }),
    ],
    ['y'],
  );

  test('If is replaced by the branch taken', () => {
    const given = { c: { type: 'bool', dims: [] }, x: x(2) } as const;
    expect(() => infer(branching, given)).toThrow(NeedsValue);
    expect(ancestorsOf(branching, 'y')).toEqual(new Set(['c', 'x']));
    const of = (c: number) => infer(branching, given, { c: new Tensor('bool', [c], []) });
    expect(of(1).graph.nodes.map((n) => n.op)).toEqual(['Add', 'Identity']);
    expect(of(1).graph.constants.has('one')).toBe(true);
    expect(of(0).graph.nodes.map((n) => n.inputs)).toEqual([['x']]);
    expect(of(0).values.get('y')).toEqual(x(2));
  });

  test('inputs are checked against the declaration', () => {
    const g = graph([info('x', 'float32', ['N', 3, null])], [], ['x']);
    const say = (types: Record<string, TensorType>) => () => infer(g, types);
    expect(say({})).toThrow(/input "x": is missing/);
    expect(say({ x: x(1, 3, 1), z: x() })).toThrow(/input "z": is not an input; those are "x"/);
    expect(say({ x: x(1, 2, 1) })).toThrow(/input "x": expected float32 \[N, 3, \?\], got float32 \[1, 2, 1\]/);
    expect(say({ x: x(1, 3) })).toThrow(InputError);
    expect(say({ x: { type: 'int64', dims: [1, 3, 1] } })).toThrow(/got int64/);
    expect(say({ x: x(7, 3, 0) })).not.toThrow();
  });

  test('what the importer would not let through is refused here too', () => {
    const bad = (n: Node, message: RegExp) =>
      expect(() => infer(graph([info('x')], [n], ['y']), { x: x(2) })).toThrow(message);
    bad(node('Neg', ['q'], ['y']), /node "y" \(Neg\): input "q" is not defined/);
    bad(node('Neg', ['x'], ['z']), /output "y": is not defined/);
    bad(node('Neg', ['x'], ['y', 'z']), /has 2 outputs, expected at most 1/);
    bad(node('Reshape', ['x'], ['y']), /input 1 is missing/);
    bad(node('Reshape', ['x', ''], ['y']), /input 1 is missing/);
    bad(node('If', ['x'], ['y']), /the value of "x" is needed/);
    bad(node('If', [''], ['y']), /condition expected one bool, got undefined/);
    bad(node('hasOwnProperty', ['x'], ['y']), /operator hasOwnProperty \(node "y"\): not implemented/);
  });
});

describe('interpret', () => {
  test('outputs may be inputs and constants', () => {
    const g = graph([info('x')], [], ['x', 'w'], { w: i64(1) });
    const given = new Tensor('float32', [5]);
    expect(interpret(g, { x: given })).toEqual({ x: given, w: i64(1) });
  });

  test('a value too large for the heap is a typed error', () => {
    const g = (n: number) => graph([info('x')], [node('Expand', ['x', 'n'], ['y'])], ['y'], { n: i64(n) });
    const x = new Tensor('float32', [1]);
    expect(() => interpret(g(2 ** 33), { x })).toThrow(ModelFormatError);
    const zeros = vi.spyOn(Tensor, 'zeros').mockImplementation(() => {
      throw new RangeError('Array buffer allocation failed');
    });
    try {
      expect(() => interpret(g(2), { x })).toThrow(UnsupportedError);
      expect(() => interpret(g(2), { x })).toThrow(/node "y" \(Expand\): a value of dimensions \[2\] does not fit/);
    } finally {
      zeros.mockRestore();
    }
  });

  test('unknown operators are refused by name', () => {
    const g = graph([info('x')], [node('Loop', ['x'], ['y'])], ['y']);
    expect(() => interpret(g, { x: new Tensor('float32', [1]) })).toThrow(UnsupportedOpError);
  });
});
