/** Sampled dense-dense products. */
import { ArgumentRangeError, checkOptions } from '../errors.ts';
import { sddmmCalls } from '../kernel/sddmm.ts';
import { packPattern } from '../pack/sddmm.ts';
import { checkApart, checkArray, overlap } from './arguments.ts';
import { Bsr } from './bsr.ts';
import { Csr } from './csr.ts';
import { fromParts, partsOf, type SparseMatrix } from './matrix.ts';
import { Operator, type OperatorHost } from './operator.ts';
import type { Pattern } from './pattern.ts';

export interface SddmmOptions {
  /** Numbers in a row of A, and of B. */
  d: number;
  /** Default 1. */
  scale?: number;
}

/**
 * Y = scale (A B^T) at the places of one pattern, with its memory: packed once, run many times. The places are those that the
 * pattern stores where its format is csr or bsr, else those of its nonzeros.
 */
export class SddmmOperator extends Operator {
  static override readonly name: string = 'SddmmOperator';
  readonly rows: number;
  readonly cols: number;
  readonly d: number;
  /** Places, and values in `output`. */
  readonly entries: number;
  readonly kernel = 'f32_csr_sddmm';
  private readonly places: Csr | Bsr;
  /** Where each entry is stored in `places`; undefined: in this order. */
  private readonly slots: Uint32Array | undefined;
  private readonly at: { a: number; b: number; y: number };
  private readonly work: () => void;

  /** @internal Made by Engine.prepareSddmm. */
  constructor(host: OperatorHost, pattern: SparseMatrix, options: SddmmOptions) {
    super(host);
    const given = partsOf(pattern, 'pattern').pattern;
    checkOptions(options);
    const { d, scale = 1 } = options;
    if (!Number.isSafeInteger(d) || d < 0) throw new ArgumentRangeError('d', 'an integer >= 0', d);
    checkScale(scale);
    const places = given instanceof Csr || given instanceof Bsr ? given : Csr.from(pattern.toCSR());
    const { pointers, columns, slots } = rowLists(places);
    const packed = packPattern(pointers, columns);
    this.rows = given.rows;
    this.cols = given.cols;
    this.d = d;
    this.entries = packed.entries;
    this.places = places;
    this.slots = slots;
    try {
      const at = this.memory.put(packed);
      const alloc = (numbers: number) => this.memory.alloc(4 * numbers);
      this.at = { a: alloc(this.rows * d), b: alloc(this.cols * d), y: alloc(packed.entries) };
      this.work = host.bind(sddmmCalls(packed, at, { ...this.at, d, scale }));
    } catch (error) {
      this.memory.release();
      throw error;
    }
  }

  /** Where run() puts A, [rows][d]. A view of the engine's memory: valid until that grows, which any allocation may do. */
  get a(): Float32Array {
    return this.view(this.at.a, this.rows * this.d);
  }

  /** Where run() puts B, [cols][d]. A view of the engine's memory: valid until that grows, which any allocation may do. */
  get b(): Float32Array {
    return this.view(this.at.b, this.cols * this.d);
  }

  /**
   * What the last run made, [entries]: row by row, by ascending columns. A view of the engine's memory: valid until that grows,
   * which any allocation may do.
   */
  get output(): Float32Array {
    return this.view(this.at.y, this.entries);
  }

  /** Multiplies what `a` and `b` hold; the result is in `output`. Nothing is copied. */
  execute(): void {
    this.check();
    this.host.guard(this.work);
  }

  /**
   * @param a [rows][d]
   * @param b [cols][d]; may be `a` itself
   * @param out [entries], takes the result; must not share memory with a or b. Left out, a new array
   * @returns values row by row, by ascending columns; matrix() has them as a matrix
   * @throws ArgumentTypeError, ArgumentRangeError for wrong arrays; DisposedError
   */
  run(a: Float32Array, b: Float32Array, out?: Float32Array): Float32Array {
    this.check();
    checkArray('a', a, this.rows * this.d);
    checkArray('b', b, this.cols * this.d);
    if (out !== undefined) {
      checkArray('out', out, this.entries);
      checkApart(a, out, 'a');
      checkApart(b, out, 'b');
    }
    // One may be the view of the other's place.
    if (overlap(b, this.a, this.host.arena)) b = b.slice();
    this.a.set(a);
    this.b.set(b);
    this.host.guard(this.work);
    if (!out) return this.output.slice();
    out.set(this.output);
    return out;
  }

  /** What the last run made as a new matrix [rows][cols], in the format of the pattern where that is csr or bsr, else csr. */
  matrix(): SparseMatrix {
    const y = this.output;
    const { places, slots } = this;
    const values = slots ? new Float32Array(places.stored) : y.slice();
    slots?.forEach((slot, e) => {
      values[slot] = y[e];
    });
    return fromParts(places, { type: 'float32', data: values });
  }
}

/** One sampled product: engine.sddmm. */
export function sddmm(
  host: OperatorHost,
  pattern: SparseMatrix,
  a: Float32Array,
  b: Float32Array,
  options: { scale?: number } = {},
): SparseMatrix {
  host.check();
  checkOptions(options);
  const { scale = 1 } = options;
  const { rows, cols } = partsOf(pattern, 'pattern').pattern;
  checkArray('a', a);
  checkArray('b', b);
  const d = rows ? a.length / rows : cols ? b.length / cols : 0;
  if (!Number.isInteger(d))
    throw new ArgumentRangeError(rows ? 'a' : 'b', `a multiple of ${rows || cols} values`, rows ? a : b);
  checkArray('a', a, rows * d);
  checkArray('b', b, cols * d);
  checkScale(scale);
  const operator = new SddmmOperator(host, pattern, { d, scale });
  try {
    operator.a.set(a);
    operator.b.set(b);
    operator.execute();
    return operator.matrix();
  } finally {
    operator.dispose();
  }
}

function checkScale(scale: unknown): void {
  if (typeof scale !== 'number' || !Number.isFinite(scale))
    throw new ArgumentRangeError('scale', 'a finite number', scale);
}

/** The places of a pattern row by row; `slots` says where each is stored, undefined: in this order. */
function rowLists(p: Pattern): { pointers: Uint32Array; columns: ArrayLike<number>; slots?: Uint32Array } {
  if (p instanceof Csr) return { pointers: p.pointers, columns: p.indices };
  const pointers = new Uint32Array(p.rows + 1);
  p.visit((_, row) => {
    pointers[row + 1]++;
  });
  for (let r = 0; r < p.rows; r++) pointers[r + 1] += pointers[r];
  const next = pointers.slice();
  const columns = new Uint32Array(pointers[p.rows]);
  const slots = new Uint32Array(pointers[p.rows]);
  p.visit((slot, row, col) => {
    slots[next[row]] = slot;
    columns[next[row]++] = col;
  });
  return { pointers, columns, slots };
}
