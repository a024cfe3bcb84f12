/** The SpMM kernels' rows of the table of kernels (variants.ts), which is all that choosing and packing need. */

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
  /** The module that has it, where not both do. */
  readonly isa?: 'relaxed';
}

/** A matrix kernel: its format and its tile, `<lanes>x<channels>`. */
const matrix = (op: string, format: Variant['format'], tile: string): Variant => ({
  name: `f32_${format}_${op}_${tile}`,
  op,
  format,
  lanes: 16,
  channels: Number(tile.slice(tile.indexOf('x') + 1)),
});

/** What chooses among kernels knows these. */
export const SPMM: readonly Variant[] = [
  matrix('spmm', 'csr', '32x1'),
  matrix('spmm', 'csr', '16x1'),
  matrix('spmm', 'group2', '16x2'),
  matrix('spmm', 'group2', '24x2'),
  matrix('spmm', 'group4', '8x4'),
  matrix('spmm', 'dense', '8x4'),
  matrix('spmm', 'dense', '16x2'),
  matrix('spmm', 'dense', '8x6'),
];

/** Takes the place of csr 32x1 where rows are short, see packSpmm. */
export const SHORT_ROWS = matrix('spmm', 'csr', '256x1');
