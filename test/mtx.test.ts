// MatrixMarket files: read from files that SciPy wrote (test/fixtures/files/make.py), and back.
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  ArgumentRangeError,
  ArgumentTypeError,
  FileFormatError,
  SparseFormatError,
  SparseMatrix,
} from '../src/index.ts';
import { type MtxArray, type MtxCoordinate, readMtx, writeMtx } from '../src/mtx/index.ts';
import { randf } from './support/kernels.ts';

const file = (name: string) => readFileSync(new URL(`./fixtures/files/${name}`, import.meta.url));
const coordinate = (source: Parameters<typeof readMtx>[0]) => readMtx(source) as MtxCoordinate;
const array = (source: Parameters<typeof readMtx>[0]) => readMtx(source) as MtxArray;
/** Doubles, which SparseMatrix would round. */
const expand = ({ rows, cols, rowIndices, columnIndices, values }: MtxCoordinate): Float64Array => {
  const out = new Float64Array(rows * cols);
  values.forEach((v, i) => {
    out[rowIndices[i] * cols + columnIndices[i]] += v;
  });
  return out;
};

const grid = (rows: number, cols: number, f: (r: number, c: number) => number) =>
  Float64Array.from({ length: rows * cols }, (_, i) => f(Math.floor(i / cols), i % cols));
const kept = (r: number, c: number) => ((r * 3 + c * 5) % 7 < 2 ? r * 8 + c + 1 : 0);
const dense = grid(6, 8, kept);
const symmetric = grid(5, 5, (i, j) => ((i + j) % 3 === 0 ? i * j + 1.5 : 0));
const skew = grid(5, 5, (i, j) => ((i + j) % 3 === 0 ? Math.sign(i - j) * (i * j + 1.5) : 0));

describe('files of SciPy', () => {
  test('coordinates: real, integer, pattern, with comments', () => {
    const general = coordinate(file('general.mtx'));
    expect(general).toMatchObject({ kind: 'coordinate', field: 'real', symmetry: 'general', rows: 6, cols: 8 });
    expect(general.comments).toEqual([' a comment', ' and another']);
    expect(expand(general)).toEqual(dense.map((v) => v / 7));
    expect(SparseMatrix.fromCOO(general).toDense()).toEqual(Float32Array.from(dense, (v) => v / 7));
    expect(expand(coordinate(file('integer.mtx')))).toEqual(dense);
    expect(expand(coordinate(file('pattern.mtx')))).toEqual(dense.map((v) => Number(v !== 0)));
  });

  test('arrays, column by column', () => {
    const a = array(file('array.mtx'));
    expect(a).toMatchObject({ kind: 'array', rows: 3, cols: 4 });
    expect(a.data).toEqual(grid(3, 4, (r, c) => kept(r, c) / 3));
  });

  test('symmetric and skew-symmetric, coordinates and arrays', () => {
    expect(expand(coordinate(file('symmetric.mtx')))).toEqual(symmetric);
    expect(expand(coordinate(file('skew.mtx')))).toEqual(skew);
    expect(array(file('symmetric-array.mtx')).data).toEqual(symmetric);
    expect(array(file('skew-array.mtx')).data).toEqual(skew);
  });

  test('complex numbers are refused', () => {
    expect(() => readMtx(file('complex.mtx'))).toThrow(
      /line 1: field: expected real, double, integer or pattern, got "complex"/,
    );
  });
});

describe('by hand', () => {
  const head = '%%MatrixMarket matrix coordinate real general\n';
  test('spellings that are allowed', () => {
    const m = coordinate(
      '%%matrixmarket MATRIX Coordinate Double General\r\n%\r\n\r\n%x\r\n 2\t3  4 \r\n1 1 1D+2\r\n\r\n2 3 -inf\r\n 1 2 .5\r\n2 1 NaN',
    );
    expect([...expand(m)]).toEqual([100, 0.5, 0, Number.NaN, 0, Number.NEGATIVE_INFINITY]);
    expect(m.field).toBe('real');
    expect(coordinate('%%MatrixMarket matrix coordinate pattern general\n0 0 0\n')).toMatchObject({ rows: 0, cols: 0 });
  });

  test('every spelling of a number is the number that JavaScript reads', () => {
    const digits = fc.stringMatching(/^[+-]?(\d{1,20}|\d{0,12}\.\d{1,12}|\d{1,9}\.)([eE][+-]?\d{1,3})?$/);
    fc.assert(
      fc.property(digits, (text) => {
        const { values } = coordinate(`${head}1 1 1\n1 1 ${text}\n`);
        expect(values[0]).toBe(Number(text));
      }),
      { numRuns: 2000 },
    );
    for (const text of ['1e', 'e1', '.', '-', '1e+', '1.2.3', '1 2', '--1', '1e1e1', '1e0001x']) {
      expect(() => readMtx(`${head}1 1 1\n1 1 ${text}\n`)).toThrow(/line 3/);
    }
  });

  test.each<[string, string, RegExp]>([
    ['nothing', '', /line 1: the file is empty/],
    ['no banner', '1 1 1\n', /line 1: expected "%%MatrixMarket/],
    ['another object', '%%MatrixMarket vector coordinate real general\n', /line 1: object: .* got "vector"/],
    ['another format', '%%MatrixMarket matrix csr real general\n', /line 1: format: .* got "csr"/],
    ['a field of Object', '%%MatrixMarket matrix coordinate constructor general\n', /line 1: field/],
    ['Hermitian', '%%MatrixMarket matrix coordinate real hermitian\n', /line 1: symmetry: .* got "hermitian"/],
    ['a banner cut short', '%%MatrixMarket matrix coordinate real\n', /line 1: symmetry: .* got "undefined"/],
    ['a pattern array', '%%MatrixMarket matrix array pattern general\n', /line 1: an array cannot be a pattern/],
    ['no size', `${head}% only\n% comments\n`, /line 3: the file ends before its size/],
    ['a size of two', `${head}2 3\n`, /line 2: expected entries, got the end of the line/],
    ['a size of four', `${head}2 3 0 1\n`, /line 2: expected the end of the line, got "1"/],
    ['a negative size', `${head}-2 3 1\n`, /line 2: rows: expected an integer from 0 to 67108863, got "-2"/],
    ['a size of 2^31', `${head}2147483648 3 1\n`, /line 2: rows/],
    ['a size of 2^53', `${head}2 9007199254740993 1\n`, /line 2: columns/],
    [
      'more entries than the file could hold',
      `${head}9 9 2000000000\n1 1 1\n`,
      /line 2: 2000000000 entries do not fit/,
    ],
    ['too few entries', `${head}3 3 2\n1 1 1\n\n`, /line 4: the file ends after 1 of 2 entries/],
    ['too many', `${head}3 3 1\n1 1 1\n\n2 2 2\n`, /line 5: expected the end of the file after 1 entries/],
    ['row 0', `${head}3 3 1\n0 1 1\n`, /line 3: row: expected an integer from 1 to 3, got "0"/],
    ['a column too far', `${head}3 3 1\n1 4 1\n`, /line 3: column: expected an integer from 1 to 3, got "4"/],
    ['a fractional row', `${head}3 3 1\n1.0 1 1\n`, /line 3: row: .* got "1.0"/],
    ['no value', `${head}3 3 1\n1 1\n`, /line 3: expected a number, got the end of the line/],
    ['two values', `${head}3 3 1\n1 1 1 2\n`, /line 3: expected the end of the line, got "2"/],
    ['no number', `${head}3 3 1\n1 1 0x10\n`, /line 3: expected a number, got "0x10"/],
    ['a comment among entries', `${head}3 3 1\n% no\n1 1 1\n`, /line 3: row: .* got "%"/],
    [
      'a fraction as integer',
      `${head.replace('real', 'integer')}3 3 1\n1 1 1.5\n`,
      /line 3: expected an integer, got "1.5"/,
    ],
    [
      'above the diagonal',
      `${head.replace('general', 'symmetric')}3 3 1\n1 2 5\n`,
      /line 3: row 1, column 2 is not below/,
    ],
    ['on a skew diagonal', `${head.replace('general', 'skew-symmetric')}3 3 1\n2 2 5\n`, /line 3: row 2, column 2/],
    ['not square', `${head.replace('general', 'symmetric')}3 2 1\n1 1 5\n`, /line 2: a symmetric matrix is square/],
    [
      'an array of more',
      `${head.replace('coordinate', 'array')}40000 40000\n1\n`,
      /line 2: 1600000000 values do not fit/,
    ],
    [
      'a short array',
      `${head.replace('coordinate', 'array')}2 2\n1\n2\n3\n    \n   `,
      /line 7: the file ends after 3 of 4 values/,
    ],
  ])('%s is refused', (_, text, message) => {
    expect(() => readMtx(text)).toThrow(FileFormatError);
    expect(() => readMtx(text)).toThrow(message);
  });

  test('truncated at every byte, and 2 000 mutations: a typed error or a matrix', () => {
    const whole = new Uint8Array(file('general.mtx'));
    const read = (bytes: Uint8Array) => {
      try {
        readMtx(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(FileFormatError);
      }
    };
    for (let n = 0; n <= whole.length; n++) read(whole.subarray(0, n));
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 255 }), (at, value) => {
        const copy = whole.slice();
        copy[at] = value;
        read(copy);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('written', () => {
  test('coordinates come back bit for bit', () => {
    const w = randf(20 * 30, 3).map((v, i) => (i % 4 ? 0 : v * 10 ** ((i % 60) - 30)));
    w.set([Number.NaN, Number.POSITIVE_INFINITY, 1e-45, 3.4028235e38, 16777216]);
    const csr = SparseMatrix.fromDense(w, 20, 30).toCSR();
    const text = writeMtx(csr, { comment: 'one\ntwo' });
    expect(text.split('\n').slice(0, 4)).toEqual([
      '%%MatrixMarket matrix coordinate real general',
      '%one',
      '%two',
      `20 30 ${csr.values.length}`,
    ]);
    expect(SparseMatrix.fromCOO(coordinate(text)).toCSR()).toEqual(csr);
    const doubles = { ...csr, values: Float64Array.from(csr.values, (v) => v / 3) };
    expect(coordinate(writeMtx(doubles)).values).toEqual(doubles.values);
  });

  test('symmetric ones keep the lower half', () => {
    for (const [matrix, symmetry] of [
      [symmetric, 'symmetric'],
      [skew, 'skew-symmetric'],
    ] as const) {
      const text = writeMtx(SparseMatrix.fromDense(matrix, 5, 5).toCSR(), { symmetry });
      expect(expand(coordinate(text))).toEqual(matrix);
      expect(text.split('\n')[1]).toBe(symmetry === 'symmetric' ? '5 5 5' : '5 5 3');
      const full = writeMtx({ data: matrix, rows: 5, cols: 5 }, { symmetry });
      expect(array(full).data).toEqual(matrix);
    }
    expect(() => writeMtx({ data: skew, rows: 5, cols: 5 }, { symmetry: 'symmetric' })).toThrow(ArgumentRangeError);
    const csr = SparseMatrix.fromDense([0, 1, 0, 0], 2, 2).toCSR();
    expect(() => writeMtx(csr, { symmetry: 'symmetric' })).toThrow(/row 0, column 1/);
  });

  test('patterns, integers, dense matrices; options that do not fit', () => {
    const m = SparseMatrix.fromDense(dense, 6, 8).toCSR();
    expect(expand(coordinate(writeMtx(m, { field: 'integer' })))).toEqual(dense);
    expect(expand(coordinate(writeMtx(m, { field: 'pattern' })))).toEqual(dense.map((v) => Number(v !== 0)));
    expect(array(writeMtx({ data: dense, rows: 6, cols: 8 })).data).toEqual(dense);
    expect(() => writeMtx({ data: dense, rows: 6, cols: 7 })).toThrow(RangeError);
    expect(() => writeMtx({ data: [0.5], rows: 1, cols: 1 }, { field: 'integer' })).toThrow(/integers/);
    expect(() => writeMtx({ data: [0.5], rows: 1, cols: 1 }, { field: 'pattern' })).toThrow(/"field"/);
    expect(() => writeMtx(m, { symmetry: 'symmetric' })).toThrow(/not square/);
    expect(() => writeMtx(m, { field: 'complex' as never })).toThrow(/"field"/);
    expect(() => writeMtx(null as never)).toThrow(ArgumentTypeError);
    const csr = { rows: 2, cols: 2, rowPointers: [0, 1, 2], columnIndices: [0, 1], values: [1, 2] };
    const coo = { rows: 2, cols: 2, rowIndices: [0, 1], columnIndices: [0, 1], values: [1, 2] };
    const malformed = [
      { ...csr, rowPointers: [0, 9, 2] },
      { ...csr, columnIndices: [0, 7] },
      { ...coo, rowIndices: ['0', 1] as never },
      { ...coo, values: ['x', 1] as never },
      { data: ['x'] as never, rows: 1, cols: 1 },
    ];
    for (const bad of malformed) expect(() => writeMtx(bad)).toThrow(SparseFormatError);
    for (const no of [{}, SparseMatrix.fromCSR(csr), { ...csr, block: [1, 1] }]) {
      expect(() => writeMtx(no as never)).toThrow(ArgumentTypeError);
    }
    expect(() => readMtx(5 as never)).toThrow(ArgumentTypeError);
  });
});

test('integers and half bits are not taken for numbers', () => {
  const dense = Float32Array.from([0, 1.5, -0.25, 0]);
  for (const dtype of ['int8', 'float16'] as const) {
    const m = SparseMatrix.fromDense(dense, 2, 2, { dtype });
    expect(() => writeMtx(m.toStoredCSR())).toThrow(/"matrix.dtype" expected float32, which SparseMatrix.toCSR/);
    expect(readMtx(writeMtx(m.toCSR()))).toMatchObject({ rows: 2, cols: 2 });
  }
  writeMtx(SparseMatrix.fromDense(dense, 2, 2).toStoredCSR());
});

test('a few bytes that claim 2^31 rows or columns are refused at once', () => {
  for (const sizes of ['coordinate real general\n2147483647 1 1\n1 1 1', 'array real general\n0 2147483647']) {
    expect(() => readMtx(`%%MatrixMarket matrix ${sizes}\n`)).toThrow(/: expected an integer from 0 to 67108863/);
  }
  const m = readMtx('%%MatrixMarket matrix array real general\n0 67108863\n');
  expect([m.rows, m.cols]).toEqual([0, 67108863]);
});

test('bytes in shared memory are read, those that went elsewhere are refused', () => {
  const text = '%%MatrixMarket matrix array real general\n1 1\n3\n';
  const shared = new Uint8Array(new SharedArrayBuffer(text.length));
  shared.set(new TextEncoder().encode(text));
  for (const source of [shared, shared.buffer]) expect(readMtx(source as never)).toEqual(readMtx(text));
  const gone = new Uint8Array(8);
  structuredClone(gone, { transfer: [gone.buffer] });
  for (const source of [gone.buffer, gone]) expect(() => readMtx(source)).toThrow(/"source" expected .*|line 1/);
  expect(() => readMtx(gone.buffer)).toThrow(ArgumentTypeError);
});
