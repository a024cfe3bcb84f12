import { Buffer } from 'node:buffer';
import { WireType } from '@bufbuild/protobuf/wire';
import { describe, expect, test } from 'vitest';
import {
  ArgumentTypeError,
  ModelFormatError,
  SparseFormatError,
  SparsimdError,
  UnsupportedOpError,
} from '../src/errors.ts';
import { specialize } from '../src/graph/infer.ts';
import { interpret } from '../src/graph/interpret.ts';
import { readOnnx, readOnnxSync, readTensorProto } from '../src/onnx/index.ts';
import { OPS } from '../src/ops/index.ts';
import { Tensor } from '../src/tensor.ts';
import { readCases } from './support/onnx-cases.ts';
import { caught, f32, i64, SMALL } from './support/onnx-small.ts';
import { all, externalTensor, field, finish, graph, model, tensor, varint } from './support/onnx-write.ts';

describe('model files', () => {
  test('a small model', () => {
    const g = readOnnxSync(model(SMALL));
    expect(g.inputs).toEqual([{ name: 'x', type: 'float32', dims: ['N', 3] }]);
    expect(g.outputs).toEqual([{ name: 'y', type: 'float32', dims: ['N', 3] }]);
    expect(g.nodes).toEqual([{ op: 'Add', name: 'add', inputs: ['x', 'w'], outputs: ['y'], attrs: {} }]);
    expect(g.constants.get('w')).toEqual(f32([1, 2, 3]));
    expect([...interpret(g, { x: f32([1, 1, 1], [1, 3]) }).y.data]).toEqual([2, 3, 4]);
  });

  test('an initializer listed as an input is no input; unknown dimensions', () => {
    const g = readOnnxSync(
      model({
        ...SMALL,
        inputs: [
          ['x', 'float32', [null, -1, 'C', 0]],
          ['w', 'float32', [3]],
          ['s', 'float32'],
        ],
      }),
    );
    expect(g.inputs.map((v) => v.dims)).toEqual([[null, null, 'C', 0], null]);
  });

  test('every truncation is a ModelFormatError', () => {
    const bytes = model({
      ...SMALL,
      nodes: [
        { op: 'Constant', out: ['c'], attrs: { value_floats: { fs: [1, 2, 3] } } },
        { op: 'Clip', in: ['x'], out: ['z'], attrs: { min: { f: 0 }, max: { f: 6 } } },
        { op: 'Concat', in: ['z', 'c'], out: ['t'], attrs: { axis: 0 } },
        { op: 'Transpose', in: ['t'], out: ['y'], attrs: { perm: [1, 0] } },
      ],
    });
    readOnnxSync(bytes);
    for (let n = 0; n < bytes.length; n++) {
      expect(
        caught(() => readOnnxSync(bytes.slice(0, n))),
        `${n} bytes`,
      ).toBeInstanceOf(ModelFormatError);
    }
  });

  test('errors name the place', () => {
    const bytes = finish(
      all(
        field(
          7,
          field(
            1,
            all(field(1, 'x'), (w) => w.tag(2, WireType.LengthDelimited).uint32(99)),
          ),
        ),
      ),
    );
    const error = caught(() => readOnnxSync(bytes)) as ModelFormatError;
    expect(error.where).toBe('model.graph.nodes[0].outputs');
    expect(error.message).toMatch(/premature EOF at byte 9$/);
    expect(caught(() => readOnnxSync(finish(field(7, varint(1, 3))))).message).toBe(
      'model.graph.nodes[0]: unexpected wire type 0 at byte 3',
    );
    // A message may not reach beyond the one around it.
    const overrun = finish(
      all(
        field(7, (w) => w.tag(1, WireType.LengthDelimited).uint32(3)),
        field(8, 'abc'),
      ),
    );
    expect(caught(() => readOnnxSync(overrun)).message).toMatch(/^model.graph.nodes\[0\]: 3 bytes announced, 0 left/);
    expect(caught(() => readOnnxSync(finish(all(field(7, graph(SMALL)), field(7, graph(SMALL)))))).message).toMatch(
      /^model.graph: given twice/,
    );
  });

  test('what is no model is said to be none', () => {
    const say = (bytes: Uint8Array | string) => caught(() => readOnnxSync(Buffer.from(bytes))).message;
    expect(say('')).toBe('model: the file is empty');
    expect(say('<!DOCTYPE html><html><head>')).toBe(
      'model: this is not an ONNX file; it begins with "<!DOCTYPE html><html><he"',
    );
    expect(say('{"error":404}')).toMatch(/begins with "{\\"error/);
    expect(say('version https://git-lfs.github.com/spec/v1')).toMatch(/begins with "version https:/);
    expect(say(new Uint8Array([8, 8]))).toBe('model: has no graph; is this an ONNX file?');
    expect(say(new Uint8Array(100))).toMatch(/illegal tag/);
    expect(caught(() => readOnnxSync('x' as never))).toBeInstanceOf(ArgumentTypeError);
  });

  test('nesting without end is refused', () => {
    let bytes: Uint8Array = new Uint8Array();
    // graph > node > attribute > graph …
    for (let i = 0; i < 3000; i++) bytes = finish(field(i < 2999 ? [1, 5, 6][(2998 - i) % 3] : 7, bytes));
    expect(caught(() => readOnnxSync(bytes)).message).toMatch(/more than 100 messages within each other/);
    let groups = finish(varint(1, 8));
    groups = Uint8Array.from([
      ...groups,
      ...new Array(100_000).fill((99 << 3) | 3).flatMap((t) => [(t & 127) | 128, t >> 7]),
    ]);
    expect(caught(() => readOnnxSync(groups))).toBeInstanceOf(ModelFormatError);
  });

  test('mutations give typed errors or models that run or refuse', () => {
    let seed = 20_240_229;
    const random = (n: number) => Math.floor(((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32) * n);
    const cases = readCases('onnx-node').filter((c) => c.model.length < 1500);
    const tally = { read: 0, refused: 0 };
    for (let i = 0; i < 20_000; i++) {
      const { model, sets } = cases[random(cases.length)];
      const bytes = Uint8Array.from(model);
      for (let k = 1 + random(3); k > 0; k--) {
        const at = random(bytes.length);
        bytes[at] = [bytes[at] ^ (1 << random(8)), 0, 127, 128, 255, random(256)][random(6)];
      }
      try {
        const g = readOnnxSync(bytes);
        const inputs = g.inputs.map((v, k) => [v.name, readTensorProto(sets[0].inputs[k])] as const);
        specialize(g, new Map(inputs), new Map(), OPS);
        tally.read++;
      } catch (error) {
        if (!(error instanceof SparsimdError) && (error as Error).name !== 'NeedsValue') throw error;
        tally.refused++;
      }
    }
    expect(tally.read).toBeGreaterThan(500);
    expect(tally.refused).toBeGreaterThan(10_000);
  });
});

describe('tensors', () => {
  const read = (...parts: Parameters<typeof all>) => readTensorProto(finish(all(...parts)));
  const packed = (no: number, bytes: number[] | Uint8Array) => field(no, Uint8Array.from(bytes));

  test.each<[string, Tensor]>([
    ['float32', f32([1.5, -0, Number.NaN, Infinity])],
    ['float64', new Tensor('float64', [1e300, -2])],
    ['float16', new Tensor('float16', [0x3c00, 0xffff])],
    ['int8', new Tensor('int8', [-128, 127])],
    ['uint8', new Tensor('uint8', [0, 255])],
    ['int16', new Tensor('int16', [-32768, 7])],
    ['uint16', new Tensor('uint16', [65535])],
    ['int32', new Tensor('int32', [-(2 ** 31)])],
    ['uint32', new Tensor('uint32', [2 ** 32 - 1])],
    ['int64', new Tensor('int64', [-(2n ** 63n), 2n ** 63n - 1n])],
    ['uint64', new Tensor('uint64', [2n ** 64n - 1n])],
    ['bool', new Tensor('bool', [1, 0])],
    ['a scalar', f32([3], [])],
    ['nothing', f32([], [2, 0])],
  ])('raw_data: %s', (_name, t) => {
    expect(readTensorProto(finish(tensor('t', t)))).toEqual(t);
  });

  test('typed fields, packed, unpacked and mixed', () => {
    const head = (type: number, n: number) => [varint(1, n), varint(2, type)];
    const float = Uint8Array.from(new Uint8Array(Float32Array.of(1.5, 2.5).buffer));
    expect(read(head(1, 2), packed(4, float))).toEqual(f32([1.5, 2.5]));
    expect(
      read(head(1, 3), packed(4, float), (w) => {
        w.tag(4, WireType.Bit32).float(3);
      }),
    ).toEqual(f32([1.5, 2.5, 3]));
    const double = new Uint8Array(Float64Array.of(1e-300).buffer);
    expect(read(head(11, 1), packed(10, double))).toEqual(new Tensor('float64', [1e-300]));
    expect(read(head(7, 3), varint(7, -5n), packed(7, [1, 0x80, 1]))).toEqual(i64([-5, 1, 128]));
    expect(read(head(6, 2), varint(5, -7), packed(5, [9]))).toEqual(new Tensor('int32', [-7, 9]));
    expect(read(head(3, 1), varint(5, -7))).toEqual(new Tensor('int8', [-7]));
    expect(read(head(9, 3), packed(5, [0, 1, 1]))).toEqual(new Tensor('bool', [0, 1, 1]));
    expect(read(head(10, 2), varint(5, 0x3c00), varint(5, 0xbc00))).toEqual(new Tensor('float16', [0x3c00, 0xbc00]));
    expect(read(head(12, 1), varint(11, 2 ** 32 - 1))).toEqual(new Tensor('uint32', [2 ** 32 - 1]));
    expect(read(head(13, 1), varint(11, -1n))).toEqual(new Tensor('uint64', [2n ** 64n - 1n]));
  });

  test('weights are views where alignment allows, also of a Buffer', () => {
    const bytes = finish(tensor('t', f32([1, 2])));
    const at = bytes.length - 8;
    for (const shift of [0, 1, 2, 3]) {
      const room = new Uint8Array(bytes.length + 8);
      const from = ((4 - (at % 4)) % 4) + shift;
      room.set(bytes, from);
      const t = readTensorProto(Buffer.from(room.buffer, from, bytes.length));
      expect([...t.data]).toEqual([1, 2]);
      expect(t.data.buffer === room.buffer).toBe(shift === 0);
      expect(t.data).toBeInstanceOf(Float32Array);
    }
  });

  test('raw bool bytes other than 0 are true', () => {
    expect(read(varint(1, 2), varint(2, 9), field(9, Uint8Array.of(2, 0)))).toEqual(new Tensor('bool', [1, 0]));
  });

  test.each<[string, Parameters<typeof all>, RegExp]>([
    [
      'too few raw bytes',
      [varint(1, 2), varint(2, 1), field(9, new Uint8Array(7))],
      /2 elements of float32 take 8 bytes, got 7/,
    ],
    ['none', [varint(1, 2), varint(2, 1)], /2 elements of float32 expected in float_data, got none/],
    [
      'too many',
      [varint(1, 1), varint(2, 7), packed(7, [1, 2])],
      /1 elements of int64 expected in int64_data, got more/,
    ],
    [
      'too few',
      [varint(1, 2), varint(2, 7), packed(7, [0x81, 1])],
      /2 elements of int64 expected in int64_data, got 1/,
    ],
    ['a cut varint', [varint(1, 1), varint(2, 7), packed(7, [0x80])], /int64_data/],
    ['a cut float', [varint(1, 1), varint(2, 1), packed(4, [1, 2, 3])], /tensor: float_data/],
    ['negative dimension', [varint(1, -1), varint(2, 1)], /negative dimension -1/],
    ['huge', [varint(1, 2 ** 40), varint(1, 2 ** 40), varint(2, 1)], /too large/],
    ['large without data', [varint(1, 2 ** 40), varint(2, 1), packed(4, [0, 0, 0, 0])], /got 4 bytes/],
    ['unknown type', [varint(2, 99)], /unknown element type 99/],
    ['no type', [varint(1, 0)], /unknown element type 0/],
  ])('malformed: %s', (_name, parts, message) => {
    const error = caught(() => read(...parts));
    expect(error).toBeInstanceOf(ModelFormatError);
    expect(error.message).toMatch(message);
  });

  test.each([
    [8, 'string'],
    [14, 'complex64'],
    [16, 'bfloat16'],
    [17, 'float8e4m3fn'],
    [22, 'int4'],
    [26, 'int2'],
  ])('element type %i is refused as %s', (type, name) => {
    const error = caught(() => read(varint(2, type)));
    expect(error).toBeInstanceOf(UnsupportedOpError);
    expect(error.message).toContain(`element type ${name} is not supported`);
  });
});

describe('external data', () => {
  const withExternal = (entries: Record<string, string>) =>
    model({ ...SMALL, constants: {}, more: field(5, externalTensor('w', 'float32', [3], entries)) });
  const file = new Uint8Array(new Float32Array([0, 1, 2, 3]).buffer);

  test('comes from the resolver, once for a file', async () => {
    const asked: string[] = [];
    const resolveExternal = async (name: string) => {
      asked.push(name);
      return file;
    };
    const more = all(
      field(5, externalTensor('w', 'float32', [3], { location: 'a/w.bin', offset: '4', length: '12' })),
      field(5, externalTensor('v', 'float32', [1], { location: 'a/w.bin' })),
    );
    const g = await readOnnx(model({ ...SMALL, constants: {}, more }), { resolveExternal });
    expect(g.constants.get('w')).toEqual(f32([1, 2, 3]));
    expect(g.constants.get('v')).toEqual(f32([0]));
    expect(asked).toEqual(['a/w.bin']);
  });

  test('names that lead elsewhere are refused before the resolver sees them', async () => {
    const names =
      '../x a/../x .. /etc/passwd C:\\x a\\b file:x https://e.org/x data:x a\0b .%2e/x a/%2E%2e a%2f.. \t../x'.split(
        ' ',
      );
    for (const location of [...names, '', 'x\n', '..?q', '..#f']) {
      const asked = readOnnx(withExternal({ location }), {
        resolveExternal: () => {
          throw new Error('asked');
        },
      });
      await expect(asked, JSON.stringify(location)).rejects.toThrow(/is not a relative path inside/);
    }
    for (const location of ['w', 'a/b.c/w', '..w', 'a..b/c', 'w%20x']) {
      const g = readOnnxSync(withExternal({ location }), { resolveExternal: () => file });
      expect(g.constants.get('w')!.dims).toEqual([3]);
    }
  });

  test('what the resolver gives is checked', async () => {
    const bytes = withExternal({ location: 'w', offset: '8' });
    expect(caught(() => readOnnxSync(bytes)).message).toMatch(/is in the file "w": give options.resolveExternal/);
    expect(caught(() => readOnnxSync(bytes, { resolveExternal: () => file })).message).toMatch(
      /initializer "w": bytes 8 to 20 of external "w" are asked for, it has 16/,
    );
    const read = (entries: Record<string, string>) => () =>
      readOnnxSync(withExternal({ location: 'w', ...entries }), { resolveExternal: () => file });
    expect(caught(read({ length: '16' })).message).toMatch(/3 elements of float32 take 12 bytes, got 16/);
    for (const offset of ['-1', '1e3', '0x4', '9999999999999999999', '', ' 4']) {
      expect(caught(read({ offset })).message).toMatch(/external data offset .* is not a size/);
    }
    const late = () => readOnnxSync(bytes, { resolveExternal: async () => file });
    expect(caught(late)).toBeInstanceOf(ArgumentTypeError);
    await expect(readOnnx(bytes, { resolveExternal: () => 'x' as never })).rejects.toBeInstanceOf(ArgumentTypeError);
    const down = new Error('offline');
    await expect(readOnnx(bytes, { resolveExternal: () => Promise.reject(down) })).rejects.toBe(down);
  });
});

describe('sparse initializers', () => {
  const sparse = (dims: number[], values: Tensor, indices?: Tensor) =>
    model({
      ...SMALL,
      constants: {},
      more: field(
        15,
        all(
          field(1, tensor('w', values)),
          indices && field(2, tensor('', indices)),
          dims.map((d) => varint(3, d)),
        ),
      ),
    });

  test('are made dense from linear indices and from coordinates', () => {
    const want = f32([0, 5, 0, 0, 0, 7], [2, 3]);
    expect(readOnnxSync(sparse([2, 3], f32([5, 7]), i64([1, 5]))).constants.get('w')).toEqual(want);
    expect(readOnnxSync(sparse([2, 3], f32([5, 7]), i64([0, 1, 1, 2], [2, 2]))).constants.get('w')).toEqual(want);
    expect(readOnnxSync(sparse([3], f32([]), i64([]))).constants.get('w')).toEqual(f32([0, 0, 0]));
    expect(readOnnxSync(sparse([3], f32([]))).constants.get('w')).toEqual(f32([0, 0, 0]));
  });

  test.each<[string, Tensor, RegExp]>([
    ['out of range', i64([1, 6]), /index 6 of element 1 is out of range \(6\)/],
    ['negative', i64([-1, 5]), /index -1 of element 0/],
    ['twice', i64([3, 3]), /not in ascending order at element 1/],
    ['descending', i64([3, 2]), /not in ascending order at element 1/],
    [
      'coordinates out of range',
      i64([0, 3, 1, 0], [2, 2]),
      /index 3 of element 0 is out of range for dimension 1 \(3\)/,
    ],
    ['too few', i64([1]), /indices expected int64 \[2\] or \[2, 2\], got int64 \[1\]/],
    ['wrong rank', i64([0, 0, 1, 0, 0, 2], [2, 3]), /got int64 \[2,3\]/],
    ['wrong type', new Tensor('int32', [0, 1]), /got int32/],
  ])('malformed: %s', (_name, indices, message) => {
    const error = caught(() => readOnnxSync(sparse([2, 3], f32([5, 7]), indices)));
    expect(error).toBeInstanceOf(SparseFormatError);
    expect(error.message).toMatch(message);
  });

  test('a few bytes cannot ask for gigabytes', () => {
    const error = caught(() => readOnnxSync(sparse([2 ** 20, 2 ** 20], f32([1]), i64([0]))));
    expect(error).toBeInstanceOf(ModelFormatError);
    expect(error.message).toMatch(/1099511627776 elements, at most/);
  });
});
