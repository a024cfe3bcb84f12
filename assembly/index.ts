// What the wasm module exports: every kernel family and the ABI version, which the loader compares with src/kernel/abi.ts.
export * from './col2im';
export * from './conv';
export * from './csr';
export * from './dense';
export * from './depthwise';
export * from './depthwisekxk';
export * from './group';
export * from './group24';
export * from './int8';
export * from './int8dense';
export * from './int8quant';
export * from './layout';
export * from './pointwise';
export * from './pool';
export * from './sddmm';
export * from './softmax';
export * from './spmv';
export * from './spmvint8';
export * from './stem';

/** Raised in a release in which a kernel's arguments or a packed layout changed. */
export function abi_version(): i32 {
  return 1;
}

/** 1 in the module that may use relaxed SIMD, so that one cannot be taken for the other. */
export function relaxed_simd(): i32 {
  return ASC_FEATURE_RELAXED_SIMD ? 1 : 0;
}
