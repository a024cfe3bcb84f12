// Files of NumPy and SciPy: read from files they wrote (test/fixtures/files/make.py), written byte for byte as they would.
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { halfToNumber } from '../src/half.ts';
import {
  ArgumentTypeError,
  FileFormatError,
  SparseFormatError,
  SparseMatrix,
  Tensor,
  UnsupportedError,
} from '../src/index.ts';
import {
  type NpyArray,
  readNpy,
  readNpz,
  readSparseNpz,
  writeNpy,
  writeNpz,
  writeSparseNpz,
} from '../src/npy/index.ts';
import { crc32 } from '../src/npy/zip.ts';

const bytes = (name: string) => new Uint8Array(readFileSync(new URL(`./fixtures/files/${name}`, import.meta.url)));
const numbers = ({ type, data }: NpyArray): number[] =>
  Array.from(data as ArrayLike<number>, type === 'float16' ? halfToNumber : Number);

const ramp = Array.from({ length: 24 }, (_, i) => i * 5 - 60);
const unsigned = Array.from({ length: 24 }, (_, i) => i * 5);
const TYPES = {
  f2: 'float16',
  f4: 'float32',
  f8: 'float64',
  i1: 'int8',
  i2: 'int16',
  i4: 'int32',
  i8: 'int64',
  u1: 'uint8',
  u2: 'uint16',
  u4: 'uint32',
  u8: 'uint64',
} as const;
const CODES = Object.keys(TYPES) as (keyof typeof TYPES)[];

describe('arrays', () => {
  test.each(CODES)('%s, either byte order', (code) => {
    for (const order of code[1] === '1' ? ['little'] : ['little', 'big']) {
      const array = readNpy(bytes(`${order}-${code}.npy`));
      expect(array.type).toBe(TYPES[code]);
      expect(array.dims).toEqual([2, 3, 4]);
      expect(numbers(array)).toEqual(code[0] === 'u' ? unsigned : ramp);
    }
  });

  test.each([...CODES.map((code) => `little-${code}`), 'bool', 'scalar', 'empty', 'specials'])(
    '%s: as NumPy writes it',
    (name) => {
      expect(writeNpy(readNpy(bytes(`${name}.npy`)))).toEqual(bytes(`${name}.npy`));
    },
  );

  test('column-major, booleans, scalars, no elements, versions 2 and 3', () => {
    expect(numbers(readNpy(bytes('fortran.npy')))).toEqual(ramp);
    expect(numbers(readNpy(bytes('bool.npy')))).toEqual(ramp.map((_, i) => Number(i % 3 === 0)));
    expect(readNpy(bytes('scalar.npy'))).toEqual({ type: 'float32', dims: [], data: new Float32Array([1.5]) });
    expect(readNpy(bytes('empty.npy'))).toEqual({ type: 'float32', dims: [3, 0, 2], data: new Float32Array(0) });
    for (const v of [2, 3]) expect(numbers(readNpy(bytes(`version${v}.npy`)))).toEqual(ramp);
    const specials = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 65504, 2 ** -24];
    expect(numbers(readNpy(bytes('specials.npy')))).toEqual(specials);
  });

  test('tensors in and out, from any view', () => {
    const tensor = new Tensor('int16', [1, -2, 3, 4], [2, 2]);
    const padded = new Uint8Array([1, ...writeNpy(tensor), 2]);
    const { type, data, dims } = readNpy(padded.subarray(1, -1));
    expect(new Tensor(type, data, dims)).toEqual(tensor);
    expect(() => writeNpy({ ...tensor, dims: [3] })).toThrow(RangeError);
    expect(() => writeNpy({ ...tensor, type: 'int8' } as never)).toThrow(ArgumentTypeError);
    expect(() => readNpy('x' as never)).toThrow(ArgumentTypeError);
  });

  test.each([
    ['complex.npy', /dtype '<c8' is not read/],
    ['record.npy', /cannot read its header at "'descr': \[/],
    ['text.npy', /2 strings/],
  ])('%s is refused', (name, message) => {
    expect(() => readNpy(bytes(name))).toThrow(FileFormatError);
    expect(() => readNpy(bytes(name))).toThrow(message);
  });

  /** A version 1 file with such a header, in bytes written by hand. */
  const made = (header: string, data = 4) =>
    new Uint8Array([
      ...Buffer.from('\x93NUMPY\x01\x00', 'latin1'),
      header.length & 255,
      header.length >> 8,
      ...Buffer.from(header),
      ...new Array(data).fill(0),
    ]);

  test('headers as others write them', () => {
    const spellings = [
      '{"shape": (1,), "descr": "<f4", "fortran_order": False}',
      "{'descr':'=f4','fortran_order':True,'shape':(1L,)}\n",
      "{'descr': 'f4', 'fortran_order': False, 'shape': (1, 1, ), }   ",
    ];
    for (const header of spellings) expect(numbers(readNpy(made(header)))).toEqual([0]);
  });

  test.each([
    ["{'descr': '<f4', 'fortran_order': False}", /needs 'descr'/],
    ["{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", /expected 8 bytes of data .* got 4/],
    ["{'descr': '<f4', 'fortran_order': False, 'shape': (), 'shape': ()}", /'shape' is twice/],
    ["{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", /too large/],
    ["{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", /no integer/],
    ["{'descr': '<f4', 'fortran_order': False, 'shape': (0.5,)}", /cannot read/],
    ["{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", /cannot read/],
    ["{'descr': '<f4', 'fortran_order': 1, 'shape': (1,)}", /cannot read/],
    ["{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", /dtype '\|O' is not read/],
    ["{'__proto__': 'x', 'fortran_order': False, 'shape': (1,)}", /cannot read/],
    [`{'descr': '<f4', 'fortran_order': False, 'shape': (${'1,'.repeat(65)})}`, /65 dimensions/],
    ['[]', /no Python dict/],
  ])('%s', (header, message) => {
    expect(() => readNpy(made(header))).toThrow(message);
  });

  test('truncated at every byte, and 2 000 mutations: a typed error or an array', () => {
    const file = bytes('little-i4.npy');
    for (let n = 0; n < file.length; n++) expect(() => readNpy(file.subarray(0, n))).toThrow(FileFormatError);
    fuzz(file, 2000, (b) => readNpy(b));
  });
});

/** Changes bytes; what is thrown must be typed. */
function fuzz(file: Uint8Array, runs: number, read: (bytes: Uint8Array) => unknown): void {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(file.length - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 }),
      (changes) => {
        const copy = file.slice();
        for (const [at, value] of changes) copy[at] = value;
        try {
          read(copy);
        } catch (error) {
          expect(error).toBeInstanceOf(FileFormatError);
        }
      },
    ),
    { numRuns: runs },
  );
}

describe('archives', () => {
  test.each(['stored.npz', 'deflated.npz'])('%s', async (name) => {
    const arrays = await readNpz(bytes(name));
    expect([...arrays.keys()]).toEqual(['weights', 'bias']);
    expect(arrays.get('weights')).toEqual({ type: 'float32', dims: [6, 4], data: Float32Array.from(ramp) });
    expect(arrays.get('bias')).toMatchObject({ type: 'int64', dims: [24] });
    for (const compress of [false, true]) expect(await readNpz(await writeNpz(arrays, { compress }))).toEqual(arrays);
  });

  test('names are only names', async () => {
    const one = new Tensor('uint8', [7]);
    const names = ['__proto__', 'constructor', '../up', 'ä'];
    const back = await readNpz(await writeNpz(new Map(names.map((name) => [name, one]))));
    expect([...back.keys()]).toEqual(names);
  });

  test('a bomb stops at the limit, and at what it says it holds', async () => {
    const bomb = bytes('bomb.npz');
    await expect(readNpz(bomb, { maxBytes: 1 << 20 })).rejects.toThrow(/unpacks to 16777344 bytes, more than maxBytes/);
    expect((await readNpz(bomb)).get('zeros')!.data.length).toBe(16 << 20);
    // The directory says 1000 bytes.
    const view = new DataView(bomb.buffer);
    const central = new DataView(bomb.buffer, bomb.length - 22).getUint32(16, true);
    view.setUint32(central + 24, 1000, true);
    await expect(readNpz(bomb, { maxBytes: 1 << 20 })).rejects.toThrow(/expected 1000 bytes unpacked, got more/);
  });

  test('corrupt members', async () => {
    const file = bytes('stored.npz');
    const change = (at: number, value: number) => {
      const copy = file.slice();
      copy[at] = value;
      return readNpz(copy);
    };
    await expect(change(200, file[200] ^ 1)).rejects.toThrow(/member "weights.npy" is corrupt|CRC-32/);
    const central = new DataView(file.buffer, file.length - 22).getUint32(16, true);
    await expect(change(central + 10, 12)).rejects.toThrow(/compression method 12/);
    await expect(change(central + 8, 1)).rejects.toThrow(/encrypted/);
    const twice = file.slice();
    twice.set(Buffer.from('bias.npy   '), 0); // not a local header any more
    await expect(readNpz(twice)).rejects.toThrow(FileFormatError);
    await expect(readNpz(new Uint8Array(100))).rejects.toThrow(/no zip archive/);
    await expect(readNpz(file, { maxBytes: Number.NaN })).rejects.toThrow(RangeError);
  });

  test('truncated at every byte, and 1 000 mutations: a typed error or arrays', async () => {
    const file = bytes('deflated.npz');
    for (let n = 0; n < file.length; n++) await expect(readNpz(file.subarray(0, n))).rejects.toThrow(FileFormatError);
    const property = fc.asyncProperty(fc.nat(file.length - 1), fc.integer({ min: 0, max: 255 }), async (at, value) => {
      const copy = file.slice();
      copy[at] = value;
      await readNpz(copy, { maxBytes: 1 << 20 }).catch((error) => expect(error).toBeInstanceOf(FileFormatError));
    });
    await fc.assert(property, { numRuns: 1000 });
  });

  test('in shared memory, or in a buffer sent elsewhere', async () => {
    for (const name of ['deflated.npz', 'stored.npz']) {
      const file = bytes(name);
      const shared = new Uint8Array(new SharedArrayBuffer(file.length));
      shared.set(file);
      expect(await readNpz(shared)).toEqual(await readNpz(file));
    }
    const gone = new ArrayBuffer(8);
    structuredClone(gone, { transfer: [gone] });
    await expect(readNpz(gone)).rejects.toThrow(/"source" expected bytes that are still here/);
    expect(() => readNpy(gone)).toThrow(ArgumentTypeError);
  });

  test('options that are none', async () => {
    const file = bytes('deflated.npz');
    const none = null as never;
    const message = /"options" expected an object, got null/;
    await expect(readNpz(file, none)).rejects.toThrow(message);
    await expect(readSparseNpz(file, none)).rejects.toThrow(message);
    await expect(writeNpz({}, none)).rejects.toThrow(message);
    await expect(readNpz(file, { maxBytes: '5' as never })).rejects.toThrow(/"maxBytes" expected a number/);
  });

  test('a runtime without raw deflate says so, whatever the file', async () => {
    const { DecompressionStream, CompressionStream } = globalThis;
    const old = class {
      constructor(format: string) {
        if (format === 'deflate-raw') throw new TypeError(`${format} is not supported`);
      }
    };
    Object.assign(globalThis, { DecompressionStream: old, CompressionStream: undefined });
    try {
      await expect(readNpz(bytes('deflated.npz'))).rejects.toThrow(UnsupportedError);
      await expect(writeNpz({}, { compress: true })).resolves.toBeInstanceOf(Uint8Array);
      await expect(writeNpz({ a: new Tensor('bool', [1]) }, { compress: true })).rejects.toThrow(UnsupportedError);
      expect((await readNpz(bytes('stored.npz'))).size).toBe(2);
    } finally {
      Object.assign(globalThis, { DecompressionStream, CompressionStream });
    }
  });

  test('CRC-32 has its check value', () => {
    expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
  });
});

describe('sparse matrices', () => {
  const dense = Float32Array.from({ length: 48 }, (_, i) => {
    const [r, c] = [Math.floor(i / 8), i % 8];
    return (r * 3 + c * 5) % 7 < 2 ? i + 1 : 0;
  });
  const blocks = Float32Array.from({ length: 48 }, (_, i) =>
    (Math.floor(i / 16) + Math.floor((i % 8) / 4)) % 2 === 0 ? i + 1 : 0,
  );
  const make = (m: Awaited<ReturnType<typeof readSparseNpz>>) =>
    m.format === 'csr'
      ? SparseMatrix.fromCSR(m)
      : m.format === 'bsr'
        ? SparseMatrix.fromBSR(m)
        : SparseMatrix.fromCOO(m);

  test.each([
    ['csr', 'csr', dense],
    ['csc', 'csr', dense],
    ['coo', 'coo', dense],
    ['array', 'csr', dense],
    ['bsr', 'bsr', blocks],
  ])('%s of SciPy', async (name, format, expected) => {
    const m = await readSparseNpz(bytes(`${name}.npz`));
    expect(m.format).toBe(format);
    expect(make(m).toDense()).toEqual(expected);
    for (const compress of [false, true]) {
      const back = await readSparseNpz(await writeSparseNpz(m, { compress }));
      expect(back.format).toBe(format);
      expect(make(back).toDense()).toEqual(expected);
    }
  });

  test('unsorted lists are sorted', async () => {
    const m = SparseMatrix.fromCSR((await readSparseNpz(bytes('unsorted.npz'))) as never);
    expect(m.toCSR()).toMatchObject({ columnIndices: new Uint32Array([0, 2, 5]), values: new Float32Array([1, 2, 3]) });
  });

  test('what is not read or written says so', async () => {
    await expect(readSparseNpz(bytes('dia.npz'))).rejects.toThrow(/format "dia" is not read/);
    await expect(readSparseNpz(bytes('stored.npz'))).rejects.toThrow(/no "format"/);
    const ragged = { rows: 3, cols: 2, block: [2, 1] as const, rowPointers: [0, 0, 0], columnIndices: [], values: [] };
    await expect(writeSparseNpz(ragged)).rejects.toThrow(/whole blocks of 2x1/);
    const csr = SparseMatrix.fromDense(dense, 6, 8).toCSR();
    await expect(writeSparseNpz({ ...csr, values: [1] })).rejects.toThrow(RangeError);
    const stored = SparseMatrix.fromDense(dense, 6, 8, { dtype: 'int8' }).toStoredCSR();
    await expect(writeSparseNpz(stored)).rejects.toThrow(/"matrix.dtype" expected float32/);
    // SciPy does not look at what it loads.
    const coo = { rows: 2, cols: 3, rowIndices: [0, 1], columnIndices: [2, 0], values: [1, 2] };
    const malformed = [
      { ...csr, columnIndices: csr.columnIndices.map((c) => c + 8) },
      { ...csr, columnIndices: Int32Array.from(csr.columnIndices, (c) => -c) },
      { ...csr, rowPointers: csr.rowPointers.slice(1) },
      { ...csr, rows: 2 ** 31 },
      { ...coo, rowIndices: [0, 2] },
      { ...coo, columnIndices: [2.5, 0] },
      { ...coo, values: [1, '2'] as never },
    ];
    for (const m of malformed) await expect(writeSparseNpz(m)).rejects.toThrow(SparseFormatError);
    for (const m of [{}, null, SparseMatrix.fromCSR(csr)]) {
      await expect(writeSparseNpz(m as never)).rejects.toThrow(/"matrix" expected a CSR, BSR or COO/);
    }
  });

  test('malformed structures are refused', async () => {
    const ints = (...a: number[]) => new Tensor('int32', a);
    const text = { ...(await import('../src/npy/array.ts')) };
    const { zip } = await import('../src/npy/zip.ts');
    const archive = (format: string, arrays: Record<string, Tensor>) =>
      zip(
        new Map([
          ['format.npy', text.writeText(format)],
          ...Object.entries(arrays).map(([k, a]) => [`${k}.npy`, writeNpy(a)] as const),
        ]),
        true,
      );
    const data = new Tensor('float32', [1, 2]);
    const good = { shape: ints(2, 3), data, indices: ints(1, 0), indptr: ints(0, 1, 2) };
    expect(make(await readSparseNpz(await archive('csr', good))).toDense()).toEqual(
      new Float32Array([0, 1, 0, 2, 0, 0]),
    );
    const cases: [string, Record<string, Tensor>, RegExp][] = [
      ['csr', { indptr: ints(0, 1) }, /indptr: expected 3 entries/],
      ['csr', { indptr: ints(0, 5, 2) }, /ascending numbers up to 2/],
      ['csr', { data: new Tensor('float32', [1]) }, /data: expected 2 values/],
      ['csr', { shape: ints(2) }, /2 dimensions/],
      ['csr', { shape: ints(2, -3) }, /shape: expected sizes up to \d+, got 2x-3/],
      ['csc', { shape: new Tensor('int64', [2n ** 40n, 2n]) }, /shape: expected sizes up to \d+, got 1099511627776x2/],
      ['csr', { indices: new Tensor('float32', [1, 0]) }, /int32 or int64/],
      ['csc', { indptr: ints(0, 1, 1, 2), indices: ints(1, 2) }, /rows from 0 to 1, got 2/],
      ['bsr', { data: new Tensor('float32', [1, 2], [2, 1]) }, /data: expected \[2, r, c\]/],
      ['xyz', {}, /format "xyz"/],
    ];
    for (const [format, change, message] of cases) {
      await expect(readSparseNpz(await archive(format, { ...good, ...change }))).rejects.toThrow(message);
    }
    const { indices: _, ...missing } = good;
    await expect(readSparseNpz(await archive('csr', missing))).rejects.toThrow(/no array "indices"/);
    const wild = make.bind(null, await readSparseNpz(await archive('csr', { ...good, indices: ints(1, 9) })));
    expect(wild).toThrow(/columnIndices\[1\]/);
  });
});
