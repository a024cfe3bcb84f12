/**
 * The one table of kernels. A row feeds selection, tests and benchmarks; a test fails when the rows and the exports of the
 * wasm modules differ.
 */

export interface Variant {
  /** Export name: `<dtype>_<format>_<op>_<lanes>x<channels>`. */
  readonly name: string;
  /** What it computes; kernels of one op are interchangeable up to their layout. */
  readonly op: string;
  /** Weight format, where the op has more than one. */
  readonly format?: 'dense' | 'csr' | 'group2' | 'group4';
  /** Lanes of a panel of its input or output; 0 where it has none. */
  readonly lanes: number;
  /** Output channels of a tile; 0 where it has none. */
  readonly channels: number;
}

export const VARIANTS: readonly Variant[] = [];
