// The public API at its edges: what goes wrong is a typed error, and the engine goes on.
import { existsSync } from 'node:fs';
import { describe, expect, test, vi } from 'vitest';
import { images, modelBytes, referenceLogits } from '../bench/fashion.ts';
import type { Place } from '../src/graph/place.ts';
import {
  ArgumentTypeError,
  AssetError,
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

  test('from a File, and from promises', async () => {
    const file = new File([bytes as BlobPart], 'net.onnx');
    for (const source of [file, Promise.resolve(file), Promise.resolve(new Response(bytes as BodyInit))])
      (await Model.load(source)).dispose();
    await expect(Model.load(new File(['no model, only text of some length'], 'a.onnx'))).rejects.toThrow(
      /^a\.onnx: this is not/,
    );
  });

  test('what cannot be read is named, in typed errors', async () => {
    const gzip = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0);
    for (const [source, error, message] of [
      ['nowhere/model.onnx', AssetError, /cannot read nowhere\/model\.onnx: Error: ENOENT/],
      ['src', AssetError, /cannot read src: Error: EISDIR/],
      ['file:///nowhere/model.onnx', AssetError, /cannot read file:\/\/\/nowhere/],
      ['http://127.0.0.1:9/model.onnx', AssetError, /cannot fetch http:\/\/127\.0\.0\.1:9\/model\.onnx/],
      ['package.json', ModelFormatError, /^package\.json: this is not an ONNX file/],
      [gzip, ModelFormatError, /compressed \(gzip or zip\): unpack/],
    ] as const) {
      const failed = await Model.load(source).catch((e) => e);
      expect(failed).toBeInstanceOf(error);
      expect(failed.message).toMatch(message);
    }
    const reason = new Error('enough');
    const signal = AbortSignal.abort(reason);
    await expect(Model.load('http://127.0.0.1:9/', { signal })).rejects.toBe(reason);
  });

  test('abort ends the wait for a promise, and for a body that never ends; no rejection is left over', async () => {
    const reason = new Error('enough');
    const never = new Promise<never>(() => {});
    const body = new ReadableStream({ start: (c) => c.enqueue(bytes.subarray(0, 100)) });
    const cancel = vi.spyOn(ReadableStreamDefaultReader.prototype, 'cancel');
    for (const source of [never, new Response(body)]) {
      const stop = new AbortController();
      const loading = Model.load(source, { signal: stop.signal });
      setTimeout(() => stop.abort(reason), 20);
      await expect(loading).rejects.toBe(reason);
    }
    expect(cancel).toHaveBeenCalledTimes(1);
    cancel.mockRestore();
    const left = vi.fn();
    process.once('unhandledRejection', left);
    const signal = AbortSignal.abort(reason);
    await expect(Model.load(Promise.reject(new Error('late')), { signal })).rejects.toBe(reason);
    await new Promise((resolve) => setTimeout(resolve, 20));
    process.removeListener('unhandledRejection', left);
    expect(left).not.toHaveBeenCalled();
  });

  test('a load that fails leaves no engine and no worker behind', async () => {
    const dispose = vi.spyOn(Engine.prototype, 'dispose');
    await expect(Model.load('nowhere/model.onnx', { threads: 2 })).rejects.toThrow(AssetError);
    await vi.waitFor(() => expect(dispose).toHaveBeenCalledTimes(1));
    dispose.mockRestore();
  });

  test('from a path and a file URL', async () => {
    const path = 'test/fixtures/architectures/squeezenet1_1/model.onnx';
    expect(existsSync(path)).toBe(true);
    (await Model.load(path)).dispose();
    (await Model.load(new URL(`../${path}`, import.meta.url))).dispose();
    (await Model.load(new URL(`../${path}`, import.meta.url).href)).dispose();
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
    using engine = await Engine.create();
    await expect(Model.load(bytes, { engine: {} as never })).rejects.toThrow(
      /"engine" expected an Engine, got an Object/,
    );
    for (const [key, value] of Object.entries({ deterministic: true, isa: 'simd128', threads: 2 }))
      await expect(Model.load(bytes, { engine, [key]: value })).rejects.toThrow(
        `"${key}" expected to be an option of the engine`,
      );
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

  test('tensors of another bundle, of a worker, of NumPy', async () => {
    using model = await Model.load(bytes);
    const wanted = model.runSync({ image }).logits;
    for (const other of [structuredClone(image), { type: 'float32', data: input, dims: [1, 1, 96, 96] }])
      expect(model.runSync({ image: other as never }).logits).toEqual(wanted);
    const own = new Tensor('float32', input.slice(), [1, 1, 96, 96]);
    structuredClone(own.data, { transfer: [own.data.buffer as ArrayBuffer] });
    expect(() => model.runSync({ image: own })).toThrow(InputError);
    for (const bad of [
      { type: 'float32', data: input, dims: [2] },
      { type: 'float33', data: input, dims: [1, 1, 96, 96] },
    ])
      expect(() => model.runSync({ image: bad as never })).toThrow(/"(data|type)" expected/);
    expect(() =>
      model.runSync({ image: { type: 'float32', data: [...input], dims: [1, 1, 96, 96] } as never }),
    ).toThrow(InputError);
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

  test('profile runs every step on what it was given, however often', async () => {
    const nodes = [node('Add', ['x', 'x'], ['a']), node('Mul', ['a', 'a'], ['b']), node('Relu', ['b'], ['y'])];
    using model = await Model.load(graph({ x: [64] }, ['y'], nodes));
    const x = new Tensor('float32', new Float32Array(64).fill(1), [64]);
    model.profile({ x }, 200);
    const { plans } = model as never as { plans: { for(feeds: object): { outputs: Map<string, Place> } } };
    const place = plans.for({ x }).outputs.get('y')!;
    expect(model.engine.arena.view('float32', place.at, 64)[0]).toBe(4);
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
