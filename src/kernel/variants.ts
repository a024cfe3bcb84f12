import { BINARY, UNARY } from './pointwise.ts';
import { SHORT_ROWS, SPMM, type Variant } from './tiles.ts';

export type { Variant };

/** Rows of a family that has no channel tile. */
const family = (op: string, lanes: Variant['lanes'], names: string): Variant[] =>
  names.split(' ').map((name) => ({ name, op, lanes, channels: 0 }));

/** An int8 product; on u7 activations (`q7spmm`) it needs relaxed SIMD. */
const int8 = (format: Variant['format'], name: string): Variant => ({
  name: `i8_${format}_${name}`,
  op: 'qspmm',
  format,
  lanes: 8,
  channels: format === 'csr' ? 1 : 4,
  ...(name.startsWith('q7') && { isa: 'relaxed' }),
});

/**
 * The one table of kernels. A row feeds selection, tests and benchmarks; a test fails when the rows and the exports of the
 * wasm modules differ.
 */
export const VARIANTS: readonly Variant[] = [
  ...SPMM,
  SHORT_ROWS,
  { name: 'f32_dense_matmul', op: 'matmul', lanes: 0, channels: 4 },
  { name: 'f32_dense_gemv', op: 'gemv', lanes: 0, channels: 16 },
  ...family('spmv', 0, 'f32_group16_spmv f32_group8_spmv f32_group4_spmv f32_window_spmv i8_window_spmv'),
  ...family('spmv', 0, 'f16_group16_spmv f32_window_split i8_window_quantize i8_bytes_spmv i8_window_f32spmv'),
  ...family('spmv', 0, 'i8_signs_spmv i8_quads_q7spmv').map((v): Variant => ({ ...v, isa: 'relaxed' })),
  ...family('layout', 8, 'f32_plain_pack_8 f32_panels_unpack_8'),
  ...family('layout', 16, 'f32_plain_pack_16 f32_panels_unpack_16'),
  ...family('layout', 32, 'f32_plain_pack_32 f32_panels_unpack_32'),
  ...family('layout', 0, 'f32_plain_transpose f32_tokens_pack f32_tokens_unpack'),
  ...family('pool', 0, 'f32_plain_maxpool f32_plain_averagepool f32_panels_global_average f32_panels_global_max'),
  ...family('pool', 0, 'f32_plain_reduce_sum f32_plain_reduce_max f32_plain_reduce_min'),
  ...family('depthwise', 0, 'f32_depthwise_3x3s1 f32_depthwise_3x3s2 f32_depthwise_kxk'),
  ...family('conv', 0, 'f32_plain_im2panel f32_plain_rows f32_plain_col2im f32_stem_3x3s2'),
  ...family('pointwise', 0, UNARY.map((kind) => `f32_plain_${kind}`).join(' ')),
  ...family('pointwise', 0, BINARY.map((kind) => `f32_plain_${kind}_row f32_plain_${kind}_splat`).join(' ')),
  int8('dense', 'qspmm_8x4'),
  int8('group4', 'qspmm_8x4'),
  int8('csr', 'qspmm_16x1'),
  int8('dense', 'q7spmm_8x4'),
  int8('group4', 'q7spmm_8x4'),
  int8('csr', 'q7spmm_16x1'),
  ...family('int8', 8, 'i8_panels_range i8_tokens_range i8_panels_quantize i8_tokens_quantize i8_panels_apart'),
  ...family('sddmm', 0, 'f32_csr_sddmm'),
  ...family('softmax', 0, 'f32_plain_softmax_rows f32_plain_softmax_columns'),
];
