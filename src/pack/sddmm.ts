/**
 * The pattern of a sampled dense-dense product as its kernel reads it:
 *
 *     [rows + 1] u32 pointers   [entries] u32 columns
 */
import { type CsrMatrix, validateCSR } from './csr.ts';

export interface PackedPattern {
  readonly rows: number;
  readonly cols: number;
  readonly entries: number;
  /** To be copied into WebAssembly memory. */
  readonly data: Uint8Array;
}

/** @throws SparseFormatError */
export function packPattern(m: CsrMatrix): PackedPattern {
  validateCSR(m);
  const entries = m.columnIndices.length;
  const data = new Uint32Array(m.rows + 1 + entries);
  data.set(m.rowPointers);
  data.set(m.columnIndices, m.rows + 1);
  return { rows: m.rows, cols: m.cols, entries, data: new Uint8Array(data.buffer) };
}
