// The public API at its edges: what goes wrong is a typed error, and the engine goes on.
import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { images, modelBytes, referenceLogits } from '../bench/fashion.ts';
import {
  ArgumentTypeError,
  DisposedError,
  Engine,
  InputError,
  Model,
  ModelFormatError,
  OutOfMemoryError,
  Tensor,
  UnsupportedOpError,
} from '../src/index.ts';
import { difference, f32, graph, node } from './support/models.ts';

const bytes = modelBytes('mbv1-050-g4-90');
const input = images()[0];
const image = new Tensor('float32', input, [1, 1, 96, 96]);
const expected = new Tensor('float32', referenceLogits('mbv1-050-g4-90').slice(0, 10), [1, 10]);

describe('loading', () => {
  test.each([
    ['bytes', () => bytes],
    ['an ArrayBuffer', () => bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)],
    ['a Response', () => new Response(bytes as BodyInit)],
    ['a data: URL', () => `data:application/octet-stream;base64,${Buffer.from(bytes).toString('base64')}`],
  ])('from %s', async (_, source) => {
    using model = await Model.load(source() as never);
    expect(model.inputs[0]).toMatchObject({ name: 'image', type: 'float32' });
    const { logits } = await model.run({ image });
    expect(difference(logits, expected)).toBeLessThan(1e-3);
  });

  test('from a path and a file URL', async () => {
    const path = 'test/fixtures/architectures/squeezenet1_1/model.onnx';
    expect(existsSync(path)).toBe(true);
    (await Model.load(path)).dispose();
    (await Model.load(new URL(`../${path}`, import.meta.url))).dispose();
  });

  test('reports progress in order', async () => {
    const phases: string[] = [];
    (await Model.load(new Response(bytes as BodyInit), { onProgress: (p) => phases.push(p.phase) })).dispose();
    expect([...new Set(phases)]).toEqual(['fetch', 'read', 'prepare']);
  });

  test('can be aborted, with the reason given', async () => {
    const reason = new Error('changed my mind');
    await expect(Model.load(bytes, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const late = new AbortController();
    const loading = Model.load(bytes, { signal: late.signal, onProgress: () => late.abort(reason) });
    await expect(loading).rejects.toBe(reason);
  });

  test.each([
    ['a number', 7, ArgumentTypeError],
    ['null', null, ArgumentTypeError],
    ['an empty file', new Uint8Array(0), ModelFormatError],
    ['an HTML page', new TextEncoder().encode('<!DOCTYPE html><html></html>'), ModelFormatError],
    ['half a file', bytes.subarray(0, bytes.length >> 1), ModelFormatError],
    ['a 404', new Response('', { status: 404 }), ModelFormatError],
  ])('%s is refused', async (_, source, error) => {
    await expect(Model.load(source as never)).rejects.toThrow(error);
  });

  test('wrong options are refused', async () => {
    await expect(Model.load(bytes, { sparsity: 'some' as never })).rejects.toThrow(ArgumentTypeError);
    await expect(Model.load(bytes, { isa: 'mmx' as never })).rejects.toThrow(ArgumentTypeError);
  });

  test('an unknown operator is named with its node', async () => {
    const g = graph({ x: [1, 4] }, ['y'], [{ op: 'FancyOp', name: 'fancy', inputs: ['x'], outputs: ['y'], attrs: {} }]);
    const error = await Model.load(g).catch((e) => e);
    expect(error).toBeInstanceOf(UnsupportedOpError);
    expect(error).toMatchObject({ op: 'FancyOp', node: 'fancy' });
  });

  test('weights that do not fit are an OutOfMemoryError, and a shared engine goes on', async () => {
    using engine = await Engine.create({ maxBytes: 1 << 20 });
    const used = engine.arena.used;
    await expect(Model.load(modelBytes('mbv1-050-dense'), { engine })).rejects.toThrow(OutOfMemoryError);
    expect(engine.arena.used).toBe(used);
    const small = await Model.load(graph({ x: [4] }, ['y'], [node('Relu', ['x'], ['y'])]), { engine });
    expect([...small.runSync({ x: new Tensor('float32', [-1, 0, 1, 2]) }).y.data]).toEqual([0, 0, 1, 2]);
  });
});

describe('running', () => {
  test('wrong inputs are named, and the model goes on', async () => {
    using model = await Model.load(bytes);
    const wrong: [string, Record<string, unknown>, RegExp][] = [
      ['missing', {}, /image/],
      ['unknown', { image, picture: image }, /picture/],
      ['shape', { image: new Tensor('float32', input, [1, 96, 96, 1]) }, /96/],
      ['rank', { image: new Tensor('float32', input, [96, 96]) }, /dims|96/],
      ['type', { image: Tensor.zeros('int32', [1, 1, 96, 96]) }, /float32.*int32/],
      ['no tensor', { image: input }, /Tensor/],
    ];
    for (const [, feeds, message] of wrong) {
      await expect(model.run(feeds as never)).rejects.toThrow(InputError);
      expect(() => model.runSync(feeds as never)).toThrow(message);
    }
    expect(difference(model.runSync({ image }).logits, expected)).toBeLessThan(1e-3);
  });

  test('after dispose, nothing runs, and a second dispose does no harm', async () => {
    const model = await Model.load(bytes);
    model.dispose();
    model.dispose();
    expect(() => model.runSync({ image })).toThrow(DisposedError);
    await expect(model.run({ image })).rejects.toThrow(DisposedError);
    expect(() => model.profile()).toThrow(DisposedError);
  });

  test('two models share an engine; disposing one leaves the other its memory', async () => {
    using engine = await Engine.create();
    const a = await Model.load(bytes, { engine });
    const b = await Model.load(modelBytes('mbv1-050-u-90'), { engine });
    const before = b.runSync({ image }).logits;
    const used = engine.arena.used;
    a.dispose();
    expect(engine.arena.used).toBeLessThan(used);
    expect(b.runSync({ image }).logits).toEqual(before);
    b.dispose();
    expect(engine.arena.used).toBe(0);
  });

  test('results are copies: later runs and dispose leave them alone', async () => {
    const model = await Model.load(bytes);
    const first = model.runSync({ image }).logits;
    const copy = first.data.slice();
    model.runSync({ image: Tensor.zeros('float32', [1, 1, 96, 96]) });
    model.dispose();
    expect(first.data).toEqual(copy);
  });

  test('a batch gives what single images give, whatever batch sizes came before', async () => {
    using model = await Model.load(bytes);
    const pictures = images().slice(0, 5);
    for (const size of [1, 3, 5, 2, 1]) {
      const data = new Float32Array(size * 9216);
      for (let i = 0; i < size; i++) data.set(pictures[i], i * 9216);
      const { logits } = model.runSync({ image: new Tensor('float32', data, [size, 1, 96, 96]) });
      for (let i = 0; i < size; i++) {
        const single = model.runSync({ image: new Tensor('float32', pictures[i], [1, 1, 96, 96]) }).logits;
        expect(
          difference(new Tensor('float32', logits.data.slice(10 * i, 10 * i + 10) as Float32Array, [1, 10]), single),
        ).toBeLessThan(1e-5);
      }
    }
  });

  test('NaN weights and inputs give NaN, not an error, and spare what does not depend on them', async () => {
    const w = f32([2, 3, 1, 1], 3);
    w.data[0] = Number.NaN;
    const g = graph({ x: [1, 3, 5, 5] }, ['y'], [node('Conv', ['x', 'w'], ['c']), node('Relu', ['c'], ['y'])], { w });
    using model = await Model.load(g);
    const { y } = model.runSync({ x: f32([1, 3, 5, 5], 4) });
    const values = [...(y.data as Float32Array)];
    expect(values.slice(0, 25).every(Number.isNaN)).toBe(true);
    expect(values.slice(25).some(Number.isNaN)).toBe(false);
  });

  test('zero sizes run and give zero-sized results', async () => {
    const g = graph({ x: ['n', 3, 4, 4] }, ['y'], [node('Conv', ['x', 'w'], ['c']), node('Relu', ['c'], ['y'])], {
      w: f32([2, 3, 1, 1]),
    });
    using model = await Model.load(g);
    expect(model.runSync({ x: Tensor.zeros('float32', [0, 3, 4, 4]) }).y.dims).toEqual([0, 2, 4, 4]);
    expect(model.runSync({ x: f32([1, 3, 4, 4]) }).y.dims).toEqual([1, 2, 4, 4]);
  });

  test('profile covers every step', async () => {
    using model = await Model.load(bytes);
    const profile = model.profile({ image }, 3);
    expect(profile.ms).toBeGreaterThan(0);
    expect(profile.weightBytes).toBe(model.weightBytes);
    const sparse = profile.steps.filter((s) => s.format && s.format !== 'dense');
    expect(sparse.length).toBeGreaterThan(5);
    for (const s of sparse) expect(s.sparsity).toBeGreaterThan(0.5);
  });
});
