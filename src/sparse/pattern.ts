/** Where the stored values of a matrix lie. Every format is one class with this face. */
import type { SparseFormat } from './types.ts';

export interface Pattern {
  readonly format: SparseFormat;
  readonly rows: number;
  readonly cols: number;
  /** Values stored, padding included. */
  readonly stored: number;
  /** Bytes of pointers and indices. */
  readonly bytes: number;
  /** Whether some stored values lie outside the matrix. */
  readonly ragged: boolean;
  /** Calls `f` for each stored value inside the matrix; those of a row come in the order of their columns. */
  visit(f: (slot: number, row: number, col: number) => void): void;
}

/** Collects numbers whose count is not known ahead. */
export class Growing {
  private data = new Uint32Array(1024);
  length = 0;

  push(x: number): void {
    if (this.length === this.data.length) {
      const more = new Uint32Array(2 * this.length);
      more.set(this.data);
      this.data = more;
    }
    this.data[this.length++] = x;
  }

  done(): Uint32Array {
    return this.data.slice(0, this.length);
  }
}
