/**
 * MatrixMarket files (https://math.nist.gov/MatrixMarket/formats.html): text, 1-based,
 *
 *     %%MatrixMarket matrix coordinate real general     field: real, double, integer, pattern
 *     % comments                                        symmetry: general, symmetric, skew-symmetric
 *     rows columns entries
 *     row column value …                                array: columns one after the other, a value a line
 */
import { toBytes } from '../bytes.ts';
import { FileFormatError } from '../errors.ts';
import { MAX_SIZE } from '../sparse/check.ts';
import type { CooMatrix } from '../sparse/types.ts';

export type MtxField = 'real' | 'integer' | 'pattern';
export type MtxSymmetry = 'general' | 'symmetric' | 'skew-symmetric';

interface MtxHeader {
  /** What the file says; what is returned is complete either way. */
  readonly symmetry: MtxSymmetry;
  /** `double` is `real`. */
  readonly field: MtxField;
  /** Lines that start with %, without it. */
  readonly comments: readonly string[];
}

/** Entries in the order of the file, those that symmetry implies after each; for `SparseMatrix.fromCOO`. Patterns have ones. */
export interface MtxCoordinate extends MtxHeader, CooMatrix {
  readonly kind: 'coordinate';
  readonly rowIndices: Uint32Array;
  readonly columnIndices: Uint32Array;
  readonly values: Float64Array;
}

/** A dense matrix; for `SparseMatrix.fromDense`. */
export interface MtxArray extends MtxHeader {
  readonly kind: 'array';
  readonly rows: number;
  readonly cols: number;
  /** [rows][cols] */
  readonly data: Float64Array;
}

const MAX_ENTRIES = 2 ** 31 - 1;
const [NEWLINE, SPACE, PERCENT, PLUS, MINUS, POINT] = [10, 32, 37, 43, 45, 46];
/** Powers of ten that a double holds exactly. */
const POWERS = Float64Array.from({ length: 23 }, (_, i) => Number(`1e${i}`));
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?$/;
const SPECIAL = /^([+-]?)(?:(nan)|inf(?:inity)?)$/i;

/** Goes through the lines of a file; every error names the line. */
class Lines {
  /** Of the current line, 1-based. */
  line = 0;
  private readonly bytes: Uint8Array;
  private at = 0;
  private end = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  fail(message: string): never {
    throw new FileFormatError(`mtx, line ${this.line}`, message);
  }

  /** Moves to the next line; false at the end of the file. */
  next(): boolean {
    const from = this.line ? this.end + 1 : 0;
    if (from >= this.bytes.length) return false;
    const end = this.bytes.indexOf(NEWLINE, from);
    this.at = from;
    this.end = end < 0 ? this.bytes.length : end;
    this.line++;
    return true;
  }

  /** Moves to the next line that is not blank. */
  nextFilled(): boolean {
    while (this.next()) if (!this.atEnd()) return true;
    return false;
  }

  get isComment(): boolean {
    return this.bytes[this.at] === PERCENT;
  }

  /** Bytes from the start of the line to the end of the file. */
  get left(): number {
    return this.bytes.length - this.at;
  }

  /** The rest of the line. */
  text(): string {
    return new TextDecoder().decode(this.bytes.subarray(this.at, this.end)).trim();
  }

  /** Skips blanks; whether nothing follows. */
  atEnd(): boolean {
    while (this.at < this.end && this.bytes[this.at] <= SPACE) this.at++;
    return this.at >= this.end;
  }

  private token(what: string): string {
    if (this.atEnd()) this.fail(`expected ${what}, got the end of the line`);
    const from = this.at;
    while (this.at < this.end && this.bytes[this.at] > SPACE) this.at++;
    if (this.at - from > 400) this.fail(`expected ${what}, got ${this.at - from} characters`);
    return String.fromCharCode(...this.bytes.subarray(from, this.at));
  }

  /** An integer in [least, most]. */
  integer(what: string, least: number, most: number): number {
    let value = 0;
    if (!this.atEnd()) {
      const from = this.at;
      for (; this.at < this.end && this.at - from < 16; this.at++) {
        const digit = this.bytes[this.at] - 48;
        if (digit < 0 || digit > 9) break;
        value = 10 * value + digit;
      }
      const whole = this.at > from && (this.at === this.end || this.bytes[this.at] <= SPACE);
      if (whole && value >= least && value <= most) return value;
      this.at = from;
    }
    return this.fail(`${what}: expected an integer from ${least} to ${most}, got "${this.token(what)}"`);
  }

  /**
   * A decimal of at most 15 digits and a small exponent: an exact integer, times or by an exact power of ten, rounded once.
   * 5 times faster than text. Undefined where it is something else; nothing is consumed then.
   */
  private decimal(): number | undefined {
    const { bytes, end } = this;
    let at = this.at;
    const negative = bytes[at] === MINUS;
    if (negative || bytes[at] === PLUS) at++;
    const start = at;
    let [digits, power] = [0, 0];
    let point = -1;
    for (; at < end; at++) {
      const digit = bytes[at] - 48;
      if (digit >= 0 && digit <= 9) digits = 10 * digits + digit;
      else if (bytes[at] === POINT && point < 0) point = at;
      else break;
    }
    const length = at - start - Number(point >= 0);
    if (point >= 0) power = point + 1 - at;
    if ((bytes[at] | 32) === 101 && at < end) {
      const minus = bytes[++at] === MINUS;
      if (minus || bytes[at] === PLUS) at++;
      const from = at;
      let exponent = 0;
      for (; at < end && bytes[at] >= 48 && bytes[at] <= 57; at++) exponent = 10 * exponent + bytes[at] - 48;
      if (at === from || at - from > 3) return undefined;
      power += minus ? -exponent : exponent;
    }
    if (!length || length > 15 || Math.abs(power) > 22 || (at < end && bytes[at] > SPACE)) return undefined;
    this.at = at;
    const value = power < 0 ? digits / POWERS[-power] : digits * POWERS[power];
    return negative ? -value : value;
  }

  number(field: MtxField): number {
    if (!this.atEnd()) {
      const from = this.at;
      const value = this.decimal();
      if (value !== undefined && (field !== 'integer' || Number.isInteger(value))) return value;
      this.at = from;
    }
    const text = this.token('a number');
    if (NUMBER.test(text)) {
      const value = Number(text.replace(/[dD]/, 'e'));
      if (field === 'integer' && !Number.isInteger(value)) this.fail(`expected an integer, got "${text}"`);
      return value;
    }
    const [, sign, nan] = (field === 'real' && SPECIAL.exec(text)) || this.fail(`expected a number, got "${text}"`);
    return nan ? Number.NaN : sign === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }

  finish(): void {
    if (!this.atEnd()) this.fail(`expected the end of the line, got "${this.text().slice(0, 40)}"`);
  }
}

/**
 * Reads a MatrixMarket file.
 * @param source its bytes, or its text
 * @throws FileFormatError that names the line; of sizes from 2^26 on too
 */
export function readMtx(source: string | ArrayBuffer | ArrayBufferView): MtxCoordinate | MtxArray {
  const bytes =
    typeof source === 'string' ? new TextEncoder().encode(source) : toBytes(source, 'source', 'text or bytes');
  const lines = new Lines(bytes);
  if (!lines.next()) throw new FileFormatError('mtx, line 1', 'the file is empty');
  const [banner, object, kind, field, symmetry, ...rest] = lines.text().slice(0, 200).toLowerCase().split(/\s+/);
  if (banner !== '%%matrixmarket') lines.fail('expected "%%MatrixMarket matrix …"');
  if (object !== 'matrix') lines.fail(`object: expected matrix, got "${object}"`);
  if (kind !== 'coordinate' && kind !== 'array')
    return lines.fail(`format: expected coordinate or array, got "${kind}"`);
  const fields: Record<string, MtxField> = { real: 'real', double: 'real', integer: 'integer', pattern: 'pattern' };
  if (!Object.hasOwn(fields, field ?? ''))
    lines.fail(`field: expected real, double, integer or pattern, got "${field}"`);
  if (symmetry !== 'general' && symmetry !== 'symmetric' && symmetry !== 'skew-symmetric') {
    return lines.fail(`symmetry: expected general, symmetric or skew-symmetric, got "${symmetry}"`);
  }
  if (rest.length) lines.fail(`expected nothing after "${symmetry}", got "${rest.join(' ')}"`);
  if (fields[field] === 'pattern' && kind === 'array') lines.fail('an array cannot be a pattern');
  if (fields[field] === 'pattern' && symmetry === 'skew-symmetric') lines.fail('a pattern cannot be skew-symmetric');
  const comments: string[] = [];
  let found = lines.nextFilled();
  for (; found && lines.isComment; found = lines.nextFilled()) comments.push(lines.text().slice(1));
  if (!found) lines.fail('the file ends before its size');
  const rows = lines.integer('rows', 0, MAX_SIZE);
  const cols = lines.integer('columns', 0, MAX_SIZE);
  if (symmetry !== 'general' && rows !== cols) lines.fail(`a ${symmetry} matrix is square, this is ${rows} x ${cols}`);
  const header = { symmetry, field: fields[field], comments, rows, cols } as const;
  return kind === 'array' ? readArray(lines, header) : readCoordinate(lines, header);
}

type Header = MtxHeader & { readonly rows: number; readonly cols: number };

function readCoordinate(lines: Lines, header: Header): MtxCoordinate {
  const { rows, cols, field, symmetry } = header;
  const entries = lines.integer('entries', 0, MAX_ENTRIES);
  lines.finish();
  // "1 1\n" is the shortest entry. Nothing is allocated for what cannot be there.
  if (entries * 4 > lines.left + 1)
    lines.fail(`${entries} entries do not fit in the file, which has ${lines.left} bytes left`);
  const most = symmetry === 'general' ? entries : 2 * entries;
  const rowIndices = new Uint32Array(most);
  const columnIndices = new Uint32Array(most);
  const values = new Float64Array(most);
  const skew = symmetry === 'skew-symmetric';
  let n = 0;
  for (let i = 0; i < entries; i++) {
    if (!lines.nextFilled()) lines.fail(`the file ends after ${i} of ${entries} entries`);
    const row = lines.integer('row', 1, rows) - 1;
    const column = lines.integer('column', 1, cols) - 1;
    const value = field === 'pattern' ? 1 : lines.number(field);
    lines.finish();
    if (symmetry !== 'general' && (column > row || (skew && column === row))) {
      lines.fail(`row ${row + 1}, column ${column + 1} is not below the diagonal of a ${symmetry} matrix`);
    }
    rowIndices[n] = row;
    columnIndices[n] = column;
    values[n++] = value;
    if (symmetry === 'general' || row === column) continue;
    rowIndices[n] = column;
    columnIndices[n] = row;
    values[n++] = skew ? 0 - value : value;
  }
  if (lines.nextFilled()) lines.fail(`expected the end of the file after ${entries} entries`);
  return {
    kind: 'coordinate',
    ...header,
    rowIndices: rowIndices.subarray(0, n),
    columnIndices: columnIndices.subarray(0, n),
    values: values.subarray(0, n),
  };
}

function readArray(lines: Lines, header: Header): MtxArray {
  const { rows, cols, field, symmetry } = header;
  lines.finish();
  const [general, skew] = [symmetry === 'general', symmetry === 'skew-symmetric'];
  const stored = general ? rows * cols : (rows * (skew ? rows - 1 : rows + 1)) / 2;
  if (stored * 2 > lines.left + 1)
    lines.fail(`${stored} values do not fit in the file, which has ${lines.left} bytes left`);
  if (rows * cols > 2 ** 32) lines.fail(`${rows} x ${cols} values do not fit in memory`);
  const data = new Float64Array(rows * cols);
  let n = 0;
  for (let c = 0; stored && c < cols; c++) {
    for (let r = general ? 0 : skew ? c + 1 : c; r < rows; r++) {
      if (!lines.nextFilled()) lines.fail(`the file ends after ${n} of ${stored} values`);
      const value = lines.number(field);
      lines.finish();
      n++;
      data[r * cols + c] = value;
      if (!general && r !== c) data[c * cols + r] = skew ? 0 - value : value;
    }
  }
  if (lines.nextFilled()) lines.fail(`expected the end of the file after ${stored} values`);
  return { kind: 'array', ...header, data };
}
