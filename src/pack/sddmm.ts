/**
 * The pattern of a sampled dense-dense product as its kernel reads it:
 *
 *     [rows + 1] u32 pointers   [entries] u32 columns
 */
export interface PackedPattern {
  readonly rows: number;
  readonly entries: number;
  /** To be copied into WebAssembly memory. */
  readonly data: Uint8Array;
}

/** @param pointers, columns of a checked matrix: row r holds entries pointers[r] to pointers[r + 1] */
export function packPattern(pointers: ArrayLike<number>, columns: ArrayLike<number>): PackedPattern {
  const data = new Uint32Array(pointers.length + columns.length);
  data.set(pointers);
  data.set(columns, pointers.length);
  return { rows: pointers.length - 1, entries: columns.length, data: new Uint8Array(data.buffer) };
}
