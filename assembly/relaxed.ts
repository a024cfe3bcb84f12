// What only the relaxed module exports: kernels of instructions that simd128 lacks.
export * from './int8relaxed';
export * from './spmvint8relaxed';
