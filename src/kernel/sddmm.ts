import type { PackedPattern } from '../pack/sddmm.ts';
import type { KernelCall } from './call.ts';

/**
 * y[entries] = scale (A B^T) at the pattern's places.
 * @param at address of the packed pattern
 * @param io addresses of A [rows][d], B [cols][d] and y
 */
export function sddmmCalls(
  p: PackedPattern,
  at: number,
  io: { a: number; b: number; y: number; d: number; scale: number },
): KernelCall[] {
  const args = [io.a, io.b, io.y, at, at + 4 * (p.rows + 1), p.rows, io.d, io.scale];
  return [{ kernel: 'f32_csr_sddmm', args }];
}
