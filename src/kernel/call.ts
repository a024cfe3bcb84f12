/** One kernel call with its arguments fixed: what lowering produces and the executor runs. */
export interface KernelCall {
  /** Export name, e.g. `f32_group4_spmm_8x4`. */
  readonly kernel: string;
  readonly args: readonly number[];
}
