import { N0, N1, N2, N4, N6, N8, spmm } from './tile';

export function f32_csr_spmm_32x1(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, min: f32, max: f32, add: i32,
): void {
  spmm<N8, N1, N0>(x, xp, y, yp, yc, columns, s, last, min, max, add);
}
export function f32_csr_spmm_16x1(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, min: f32, max: f32, add: i32,
): void {
  spmm<N4, N1, N0>(x, xp, y, yp, yc, columns, s, last, min, max, add);
}
