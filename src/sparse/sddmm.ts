/** Sampled dense-dense products. */
import { ArgumentRangeError } from '../errors.ts';
import { sddmmCalls } from '../kernel/sddmm.ts';
import { packPattern } from '../pack/sddmm.ts';
import { checkArray, kept } from './arguments.ts';
import { Bsr } from './bsr.ts';
import { Csr } from './csr.ts';
import { fromParts, partsOf, type SparseMatrix } from './matrix.ts';
import type { Pattern } from './pattern.ts';
import type { OperatorHost } from './products.ts';

/**
 * One sampled product: engine.sddmm.
 * @returns scale (A B^T) at the places that `pattern` stores, in its format (csr or bsr); other formats: csr, at its nonzeros
 */
export function sddmm(
  host: OperatorHost,
  pattern: SparseMatrix,
  a: Float32Array,
  b: Float32Array,
  { scale = 1 }: { scale?: number } = {},
): SparseMatrix {
  host.check();
  const given = partsOf(pattern, 'pattern').pattern;
  checkArray('a', a);
  checkArray('b', b);
  const { rows, cols } = given;
  const d = rows ? a.length / rows : cols ? b.length / cols : 0;
  if (!Number.isInteger(d))
    throw new ArgumentRangeError(rows ? 'a' : 'b', `a multiple of ${rows || cols} values`, rows ? a : b);
  checkArray('a', a, rows * d);
  checkArray('b', b, cols * d);
  a = kept(host.arena, a);
  b = kept(host.arena, b);
  if (typeof scale !== 'number' || Number.isNaN(scale)) throw new ArgumentRangeError('scale', 'a number', scale);
  const places = given instanceof Csr || given instanceof Bsr ? given : Csr.from(pattern.toCSR());
  const { pointers, columns, slots } = rowLists(places);
  const packed = packPattern(pointers, columns);
  const blocks: number[] = [];
  const alloc = (bytes: number) => {
    const at = host.arena.alloc(bytes);
    blocks.push(at);
    return at;
  };
  const put = (data: Float32Array | Uint8Array) => {
    const at = alloc(data.byteLength);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    host.arena.view('uint8', at, bytes.length).set(bytes);
    return at;
  };
  try {
    const at = put(packed.data);
    const io = { a: put(a), b: put(b), y: alloc(4 * packed.entries), d, scale };
    host.guard(host.bind(sddmmCalls(packed, at, io)));
    const y = host.arena.view('float32', io.y, packed.entries);
    const values = slots ? new Float32Array(places.stored) : y.slice();
    slots?.forEach((slot, e) => {
      values[slot] = y[e];
    });
    return fromParts(places, { type: 'float32', data: values });
  } finally {
    for (const block of blocks) host.arena.release(block);
  }
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
