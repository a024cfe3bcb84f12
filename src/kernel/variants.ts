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
  readonly lanes: 0 | 8 | 16 | 32;
  /** Output channels of a tile; 0 where it has none. */
  readonly channels: number;
}

const row = (op: string, format: Variant['format'], lanes: Variant['lanes'], tile: string): Variant => ({
  name: `f32_${format}_${op}_${tile}`,
  op,
  format,
  lanes,
  channels: Number(tile.slice(tile.indexOf('x') + 1)),
});

export const VARIANTS: readonly Variant[] = [
  row('spmm', 'csr', 16, '32x1'),
  row('spmm', 'csr', 16, '16x1'),
  row('spmm', 'group2', 16, '16x2'),
  row('spmm', 'group4', 16, '8x4'),
  row('spmm', 'dense', 16, '8x4'),
  row('spmm', 'dense', 16, '16x2'),
  row('spmm', 'dense', 16, '8x6'),
