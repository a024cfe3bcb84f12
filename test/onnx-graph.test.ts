import { describe, expect, test } from 'vitest';
import { ModelFormatError, UnsupportedOpError } from '../src/errors.ts';
import { interpret } from '../src/graph/interpret.ts';
import { readOnnxSync } from '../src/onnx/index.ts';
import { type DType, Tensor } from '../src/tensor.ts';
import { caught, f32, i64, SMALL } from './support/onnx-small.ts';
import { all, field, finish, type GraphSpec, graph, model, varint } from './support/onnx-write.ts';

describe('graphs', () => {
  const nodes = (...list: GraphSpec['nodes'] & object) => ({ ...SMALL, nodes: list });

  test('nodes are put in order when the file does not', () => {
    const g = readOnnxSync(
      model(
        nodes(
          { op: 'Neg', in: ['b'], out: ['y'] },
          { op: 'Neg', in: ['a'], out: ['b'] },
          { op: 'Add', in: ['x', 'w'], out: ['a'] },
        ),
      ),
    );
    expect(g.nodes.map((n) => n.outputs[0])).toEqual(['a', 'b', 'y']);
    expect(g.nodes.map((n) => n.name)).toEqual(['Add', 'Neg_1', 'Neg']);
  });

  test.each<[string, GraphSpec, RegExp]>([
    ['undefined value', nodes({ op: 'Neg', in: ['q'], out: ['y'] }), /node "Neg" \(Neg\): value "q" is not defined/],
    ['undefined output', nodes({ op: 'Neg', in: ['x'], out: ['z'] }), /output "y": value "y" is not defined/],
    [
      'made twice',
      nodes({ op: 'Neg', in: ['x'], out: ['y'] }, { op: 'Abs', in: ['x'], out: ['y'] }),
      /node "Abs": value "y" is defined twice/,
    ],
    ['an input made', nodes({ op: 'Neg', in: ['w'], out: ['x'] }), /value "x" is defined twice/],
    [
      'a cycle',
      nodes({ op: 'Neg', in: ['z'], out: ['y'] }, { op: 'Neg', in: ['y'], out: ['z'] }),
      /graph: node "Neg" depends on its own output/,
    ],
    ['itself', nodes({ op: 'Neg', in: ['y'], out: ['y'] }), /depends on its own output/],
    ['no operator', nodes({ op: '', in: ['x'], out: ['y'] }), /node "": has no operator/],
    [
      'an attribute reference',
      nodes({ op: 'Elu', in: ['x'], out: ['y'], attrs: { alpha: { ref: 'a', type: 1 } } }),
      /outside of a function/,
    ],
  ])('malformed: %s', (_name, spec, message) => {
    const error = caught(() => readOnnxSync(model(spec)));
    expect(error).toBeInstanceOf(ModelFormatError);
    expect(error.message).toMatch(message);
  });

  test('unknown operators, domains and opsets are refused by name', () => {
    const foreign = model(nodes({ op: 'Gelu', in: ['x'], out: ['y'], name: 'n1', domain: 'com.microsoft' }));
    expect(caught(() => readOnnxSync(foreign))).toMatchObject({
      code: 'UNSUPPORTED_OP',
      message: 'operator Gelu (node "n1"): domain "com.microsoft" is not supported',
    });
    const unknown = readOnnxSync(model(nodes({ op: 'toString', in: ['x'], out: ['y'], name: 'n2' })));
    expect(caught(() => interpret(unknown, { x: f32([1, 2, 3], [1, 3]) })).message).toBe(
      'operator toString (node "n2"): not implemented',
    );
    for (const opset of [5, 99]) {
      expect(caught(() => readOnnxSync(model(SMALL, opset))).message).toMatch(`opset ${opset} is not supported`);
    }
    const silent = finish(all(varint(1, 8), field(7, graph(SMALL))));
    expect(caught(() => readOnnxSync(silent)).message).toMatch(/does not say which opset/);
  });

  test('functions are inlined: attributes, defaults, names, nesting', () => {
    const bytes = model(
      {
        ...SMALL,
        nodes: [
          { op: 'Twice', in: ['x'], out: ['t'], domain: 'my', name: 'call', attrs: { alpha: { f: 3 } } },
          { op: 'Twice', in: ['t'], out: ['y'], domain: 'my', name: 'call' },
        ],
      },
      23,
      [
        {
          name: 'Step',
          domain: 'my',
          in: ['x'],
          out: ['t'],
          defaults: { alpha: { f: 1 } },
          nodes: [{ op: 'LeakyRelu', in: ['x'], out: ['t'], attrs: { alpha: { ref: 'alpha', type: 1 } } }],
        },
        {
          name: 'Twice',
          domain: 'my',
          in: ['x', 'left out'],
          out: ['y'],
          defaults: { alpha: { f: 10 } },
          nodes: [
            { op: 'Step', in: ['x'], out: ['t'], domain: 'my', attrs: { alpha: { ref: 'alpha', type: 1 } } },
            { op: 'Step', in: ['t'], out: ['y'], domain: 'my' },
          ],
        },
      ],
    );
    const g = readOnnxSync(bytes);
    expect(new Set(g.nodes.map((n) => n.name)).size).toBe(g.nodes.length);
    expect([...interpret(g, { x: f32([-1, 0, 2], [1, 3]) }).y.data]).toEqual([-30, 0, 2]);
  });

  test('functions without end are refused', () => {
    const f = { domain: 'my', in: ['x'], out: ['y'] };
    const call = (name: string, x: string, y: string) => ({ op: name, in: [x], out: [y], domain: 'my' });
    const loop = model(nodes(call('F', 'x', 'y')), 23, [{ ...f, name: 'F', nodes: [call('F', 'x', 'y')] }]);
    expect(caught(() => readOnnxSync(loop)).message).toMatch(/functions call each other without end/);
    const bomb = Array.from({ length: 40 }, (_, i) => ({
      ...f,
      name: `F${i}`,
      nodes:
        i < 39 ? [call(`F${i + 1}`, 'x', 't'), call(`F${i + 1}`, 't', 'y')] : [{ op: 'Neg', in: ['x'], out: ['y'] }],
    }));
    expect(caught(() => readOnnxSync(model(nodes(call('F0', 'x', 'y')), 23, bomb))).message).toMatch(
      /more than 100000/,
    );
  });

  test('If: branches see outer values, and reuse names', () => {
    const branch = (op: string) => ({
      graph: {
        nodes: [
          { op, in: ['x', 'w'], out: ['t'] },
          { op: 'Neg', in: ['t'], out: ['r'] },
        ],
        outputs: [['r', 'float32'] as ['r', 'float32']],
      },
    });
    const twice = ['a', 'y'].map((out, i) => ({
      op: 'If',
      in: ['c'],
      out: [out],
      name: `if${i}`,
      attrs: { then_branch: branch('Add'), else_branch: branch('Mul') },
    }));
    const g = readOnnxSync(model({ ...SMALL, nodes: twice, inputs: [...SMALL.inputs!, ['c', 'bool']] }));
    const x = f32([1, 1, 1], [1, 3]);
    expect([...interpret(g, { x, c: new Tensor('bool', [1], []) }).y.data]).toEqual([-2, -3, -4]);
    expect([...interpret(g, { x, c: new Tensor('bool', [0], []) }).y.data]).toEqual([-1, -2, -3]);
    expect(caught(() => interpret(g, { x, c: new Tensor('bool', [], [0]) }))).toBeInstanceOf(ModelFormatError);
  });

  test.each([
    ['sequence', 4],
    ['optional', 9],
    ['map', 5],
    ['sparse', 8],
  ])('%s inputs are refused by name', (kind, no) => {
    const more = field(11, all(field(1, 's'), field(2, field(no, new Uint8Array()))));
    expect(caught(() => readOnnxSync(model({ ...SMALL, more }))).message).toBe(
      `operator Input (node "s"): ${kind} values are not supported`,
    );
  });
});

describe('older forms', () => {
  const run = (opset: number, spec: GraphSpec, inputs: Record<string, Tensor>) => {
    const full: GraphSpec = {
      inputs: Object.entries(inputs).map(([name, t]) => [name, t.type, t.dims.map(() => null)]),
      outputs: [['y', 'float32']],
      ...spec,
    };
    const { y } = interpret(readOnnxSync(model(full, opset)), inputs);
    return { dims: y.dims, data: [...y.data].map(Number) };
  };
  const one = (
    opset: number,
    op: string,
    x: Tensor,
    attrs: GraphSpec['nodes'] extends (infer N)[] | undefined ? N : never,
  ) => run(opset, { nodes: [{ ...(attrs as object), op, in: ['x'], out: ['y'] }] }, { x });
  const spec = (attrs: Record<string, never> | object) => ({ attrs }) as never;
  const x23 = f32([1, 2, 3, 4, 5, 6], [2, 3]);

  test.each<[string, number, Tensor, object, number[], number[]]>([
    ['Clip', 6, f32([-5, 0.5, 9]), { min: { f: -1 }, max: { f: 2 } }, [3], [-1, 0.5, 2]],
    ['Clip', 6, f32([-5, 0.5, 9]), { max: { f: 2 } }, [3], [-5, 0.5, 2]],
    ['Squeeze', 11, f32([1, 2], [1, 2, 1]), { axes: [0] }, [2, 1], [1, 2]],
    ['Unsqueeze', 11, f32([1, 2], [2]), { axes: [0, 2] }, [1, 2, 1], [1, 2]],
    ['ReduceSum', 11, x23, { axes: [1], keepdims: 0 }, [2], [6, 15]],
    ['ReduceMean', 13, x23, { axes: [0] }, [1, 3], [2.5, 3.5, 4.5]],
    ['Slice', 9, x23, { starts: [0, 1], ends: [9, -1], axes: [0, 1] }, [2, 1], [2, 5]],
    ['Slice', 9, x23, { starts: [1], ends: [2] }, [1, 3], [4, 5, 6]],
    ['Pad', 2 + 4, f32([1, 2], [1, 2]), { pads: [0, 1, 0, 2], value: { f: 9 } }, [1, 5], [9, 1, 2, 9, 9]],
    ['Pad', 10, f32([1, 2, 3], [3]), { pads: [2, 1], mode: 'reflect' }, [6], [3, 2, 1, 2, 3, 2]],
    ['Reshape', 6, x23, { shape: [3, -1] }, [3, 2], [1, 2, 3, 4, 5, 6]],
    ['Dropout', 6, x23, { ratio: { f: 0.5 }, is_test: 0 }, [2, 3], [1, 2, 3, 4, 5, 6]],
    ['Dropout', 10, x23, { ratio: { f: 0.5 } }, [2, 3], [1, 2, 3, 4, 5, 6]],
    ['Cast', 9, f32([1.9, -1.9]), { to: 7 }, [2], [1, -1]],
    ['EyeLike', 9, f32([0, 0, 0, 0], [2, 2]), { dtype: 6, k: 1 }, [2, 2], [0, 1, 0, 0]],
    ['Neg', 6, f32([1]), { consumed_inputs: [0] }, [1], [-1]],
  ])('%s of opset %i %#', (op, opset, x, attrs, dims, data) => {
    expect(one(opset, op, x, spec(attrs))).toEqual({ dims, data });
  });

  test('Split', () => {
    const split = (opset: number, attrs: object) =>
      run(
        opset,
        { nodes: [{ op: 'Split', in: ['x'], out: ['a', 'y'], ...(spec(attrs) as object) }] },
        { x: f32([1, 2, 3, 4]) },
      );
    expect(split(11, { split: [1, 3] })).toEqual({ dims: [3], data: [2, 3, 4] });
    expect(split(11, {})).toEqual({ dims: [2], data: [3, 4] });
    expect(split(18, { num_outputs: 2 })).toEqual({ dims: [2], data: [3, 4] });
  });

  test.each(['Add', 'Sub', 'Mul', 'Div', 'Pow'])('%s of opset 6 lines its operands up at an axis', (op) => {
    const f = {
      Add: (a: number, b: number) => a + b,
      Sub: (a: number, b: number) => a - b,
      Mul: (a: number, b: number) => a * b,
    };
    const g = { ...f, Div: (a: number, b: number) => a / b, Pow: (a: number, b: number) => a ** b }[op]!;
    const x = f32([1, 2, 3, 4, 5, 6, 7, 8], [2, 2, 2]);
    const b = f32([2, 4]);
    const at = (axis?: number) =>
      run(
        6,
        {
          nodes: [{ op, in: ['x', 'b'], out: ['y'], attrs: { broadcast: 1, ...(axis === undefined ? {} : { axis }) } }],
        },
        { x, b },
      );
    for (const axis of [0, 1, 2, -1, -2, -3, undefined]) {
      const d = axis === undefined ? 2 : (axis + 3) % 3;
      const want = [...x.data].map((v, i) => Math.fround(g(v, b.data[(i >> (2 - d)) & 1])));
      expect(at(axis)).toEqual({ dims: [2, 2, 2], data: want });
    }
  });

  test('PRelu of opset 6 has a slope for each channel', () => {
    const x = f32([-1, -2, -3, -4, -5, -6, -7, -8], [2, 2, 2]);
    const prelu = (slope: Tensor, opset: number) =>
      run(opset, { nodes: [{ op: 'PRelu', in: ['x', 's'], out: ['y'] }] }, { x, s: slope }).data;
    expect(prelu(f32([10, 100]), 6)).toEqual([-10, -20, -300, -400, -50, -60, -700, -800]);
    expect(prelu(f32([10, 100]), 7)).toEqual([-10, -200, -30, -400, -50, -600, -70, -800]);
    expect(prelu(f32([10]), 6)).toEqual([-10, -20, -30, -40, -50, -60, -70, -80]);
  });

  test('Constant in all its forms', () => {
    const constant = (attrs: object, outputs = 'float32') =>
      run(
        13,
        { nodes: [{ op: 'Constant', out: ['y'], ...(spec(attrs) as object) }], outputs: [['y', outputs as never]] },
        {},
      );
    expect(constant({ value: x23 })).toEqual({ dims: [2, 3], data: [1, 2, 3, 4, 5, 6] });
    expect(constant({ value_float: { f: 0.5 } })).toEqual({ dims: [], data: [0.5] });
    expect(constant({ value_floats: { fs: [0.5, 2] } })).toEqual({ dims: [2], data: [0.5, 2] });
    expect(constant({ value_int: -3 })).toEqual({ dims: [], data: [-3] });
    expect(constant({ value_ints: [1, 2] })).toEqual({ dims: [2], data: [1, 2] });
    expect(() => constant({ value_string: 'x' })).toThrow(UnsupportedOpError);
    expect(() => constant({})).toThrow(ModelFormatError);
  });

  test('Scatter, Upsample and Resize become what they are called today', () => {
    const bytes = (opset: number, op: string, attrs: object, ins: string[]) =>
      readOnnxSync(
        model(
          {
            nodes: [{ op, in: ins, out: ['y'], name: 'n', ...(spec(attrs) as object) }],
            constants: { s: f32([1, 1, 2, 2]), i: i64([0]), u: f32([1]) },
            inputs: [['x', 'float32', [1, 1, 2, 2]]],
            outputs: [['y', 'float32']],
          },
          opset,
        ),
      );
    expect(bytes(9, 'Scatter', { axis: 0 }, ['x', 'i', 'u']).nodes[0]).toMatchObject({
      op: 'ScatterElements',
      attrs: { axis: 0 },
    });
    const today = { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'simple' };
    const up9 = bytes(9, 'Upsample', { mode: 'nearest' }, ['x', 's']).nodes[0];
    expect(up9).toEqual({ op: 'Resize', name: 'n', inputs: ['x', '', 's'], outputs: ['y'], attrs: today });
    const up7 = bytes(7, 'Upsample', { mode: 'linear', scales: { fs: [1, 1, 2, 3] } }, ['x']);
    expect(up7.nodes[0].attrs).toEqual({ ...today, mode: 'linear' });
    expect(up7.constants.get(up7.nodes[0].inputs[2])).toEqual(f32([1, 1, 2, 3]));
    const up6 = bytes(6, 'Upsample', { width_scale: { f: 3 }, height_scale: { f: 2 }, mode: 'bilinear' }, ['x']);
    expect(up6.nodes[0].attrs).toEqual({ ...today, mode: 'linear' });
    expect(up6.constants.get(up6.nodes[0].inputs[2])).toEqual(f32([1, 1, 2, 3]));
    expect(bytes(10, 'Resize', { mode: 'nearest' }, ['x', 's']).nodes[0]).toEqual(up9);
    expect(bytes(13, 'Resize', { mode: 'nearest' }, ['x', '', 's']).nodes[0].attrs).toEqual({ mode: 'nearest' });
  });

  test('BatchNormalization drops what only training gave', () => {
    const bn = (opset: number, attrs: object, out = ['y', 'm', 'v']) =>
      readOnnxSync(
        model(
          {
            nodes: [{ op: 'BatchNormalization', in: ['x', 'a', 'a', 'a', 'a'], out, ...(spec(attrs) as object) }],
            constants: { a: f32([1]) },
            inputs: [['x', 'float32', [1, 1]]],
            outputs: [['y', 'float32']],
          },
          opset,
        ),
      ).nodes[0];
    expect(bn(6, { is_test: 1, spatial: 1, momentum: { f: 0.9 }, epsilon: { f: 0.5 } })).toMatchObject({
      outputs: ['y'],
      attrs: { epsilon: 0.5 },
    });
    expect(bn(14, { training_mode: 0 }, ['y'])).toMatchObject({ attrs: { training_mode: 0 } });
    expect(() => bn(7, { spatial: 0 })).toThrow(UnsupportedOpError);
  });

  test('Softmax before opset 13 normalises everything from its axis on', () => {
    const shape = (opset: number, dims: number[] | undefined, attrs: object) =>
      readOnnxSync(
        model(
          {
            nodes: [{ op: 'Softmax', in: ['x'], out: ['y'], ...(spec(attrs) as object) }],
            inputs: [['x', 'float32', dims]],
            outputs: [['y', 'float32']],
          },
          opset,
        ),
      ).nodes.map((n) => `${n.op}${n.attrs.axis ?? ''}`);
    expect(shape(13, [2, 3, 4], { axis: 1 })).toEqual(['Softmax1']);
    expect(shape(12, [2, 3, 4], { axis: 1 })).toEqual(['Shape', 'Flatten1', 'Softmax-1', 'Reshape']);
    expect(shape(12, [2, 3], {})).toEqual(['Softmax-1']);
    expect(shape(12, undefined, { axis: -1 })).toEqual(['Softmax-1']);
    expect(shape(12, undefined, {})).toEqual(['Shape', 'Flatten1', 'Softmax-1', 'Reshape']);
  });

  test('Softmax and Hardmax of opset 12: values of a coerced matrix', () => {
    const x = f32([0, 1, 2, 3, 3, 2, 1, 0], [2, 2, 2]);
    const row = [0, 1, 2, 3].map((v) => Math.exp(v) / (1 + Math.E + Math.E ** 2 + Math.E ** 3));
    const { dims, data } = one(12, 'Softmax', x, spec({}));
    expect(dims).toEqual([2, 2, 2]);
    for (const [i, want] of [...row, ...[...row].reverse()].entries()) expect(data[i]).toBeCloseTo(want, 6);
    expect(one(12, 'Hardmax', x, spec({ axis: 0 })).data).toEqual([0, 0, 0, 1, 0, 0, 0, 0]);
    expect(one(13, 'Hardmax', x, spec({ axis: 0 })).data).toEqual([0, 0, 1, 1, 1, 1, 0, 0]);
  });

  test('GroupNormalization before opset 21 has a scale and bias for each group', () => {
    const x = f32([-1, 1, -1, 1, -2, 2, -2, 2], [1, 4, 2]);
    const norm = (opset: number, scale: number[], bias: number[]) =>
      run(
        opset,
        {
          nodes: [
            { op: 'GroupNormalization', in: ['x', 's', 'b'], out: ['y'], attrs: { num_groups: 2, epsilon: { f: 0 } } },
          ],
          constants: { s: f32(scale), b: f32(bias) },
          inputs: [['x', 'float32']],
        },
        { x },
      ).data;
    const want = [-3, 3, -3, 3, 5, 15, 5, 15];
    expect(norm(18, [3, 5], [0, 10])).toEqual(want);
    expect(norm(21, [3, 3, 5, 5], [0, 0, 10, 10])).toEqual(want);
  });

  test('element types by name', () => {
    const to = (type: DType | 'string' | 'bfloat16', n: number) =>
      caught(() => one(13, 'Cast', f32([1]), spec({ to: n }))).message + type;
    expect(to('string', 8)).toMatch(/operator Cast \(node "Cast"\): element type string is not supported/);
    expect(to('bfloat16', 16)).toMatch(/element type bfloat16 is not supported/);
  });
});
