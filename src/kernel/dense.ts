/** Calls of the row-major product and of the fully-connected layer for few tokens. */
import type { PackedGemv } from '../pack/dense.ts';
import type { KernelCall } from './call.ts';

/**
 * Y[m][n] = A[m][k] B[k][n], row-major.
 * @param io addresses, sizes, and the elements between rows where they are not k, n, n
 */
export function matmulCalls(io: {
  a: number;
  b: number;
  y: number;
  m: number;
  n: number;
  k: number;
  aStride?: number;
  bStride?: number;
  yStride?: number;
}): KernelCall[] {
  const { a, b, y, m, n, k, aStride = k, bStride = n, yStride = n } = io;
  return [{ kernel: 'f32_dense_matmul', args: [a, 4 * aStride, b, 4 * bStride, y, 4 * yStride, m, n, k] }];
}

/**
 * Y[tokens][rows] = clamp(X[tokens][cols] W^T + bias), row-major, in one call.
 * @param at address the packed data was copied to, a multiple of 64
 */
export function gemvCalls(
  p: PackedGemv,
  at: number,
  io: { x: number; y: number; tokens: number; min: number; max: number },
): KernelCall[] {
  if (!io.tokens) return [];
  const { rows, cols } = p;
  return [
    {
      kernel: 'f32_dense_gemv',
      args: [io.x, 4 * cols, io.y, 4 * rows, at, io.tokens, rows, cols, io.min, io.max],
    },
  ];
}
