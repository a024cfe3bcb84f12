// Sampled dense-dense product: dot products of rows of A and B at the places of a sparse pattern. Layout: src/pack/sddmm.ts.
//
// Four entries of a row at a time share the loads of A's row; each has its own sums in four lanes, added up at the end by
// three shuffles for all four together. At d = 64 that is 1.25 loads a multiplication, and horizontal sums are 3 % of it.
import { madd } from './isa';

/** The four lanes' sums of a, b, c, d. */
// @ts-expect-error: decorator
@inline function sums(a: v128, b: v128, c: v128, d: v128): v128 {
  const ab = f32x4.add(i32x4.shuffle(a, b, 0, 1, 4, 5), i32x4.shuffle(a, b, 2, 3, 6, 7));
  const cd = f32x4.add(i32x4.shuffle(c, d, 0, 1, 4, 5), i32x4.shuffle(c, d, 2, 3, 6, 7));
  return f32x4.add(i32x4.shuffle(ab, cd, 0, 2, 4, 6), i32x4.shuffle(ab, cd, 1, 3, 5, 7));
}

/**
 * y[e] = scale (A[r] . B[columns[e]]) for the entries e of each row r: [pointers[r], pointers[r + 1]). A and B row-major with d
 * floats a row; columns ascending within a row is not needed.
 */
export function f32_csr_sddmm(a: usize, b: usize, y: usize, pointers: usize, columns: usize, rows: i32, d: i32, scale: f32): void {
  const stride: usize = d << 2;
  const whole: usize = stride & ~15;
  for (let r = 0; r < rows; r++, pointers += 4, a += stride) {
    let e = <usize>load<u32>(pointers);
    const end = <usize>load<u32>(pointers, 4);
    while (e < end) {
      // The last entries of a row are done once more in place of those that are missing.
      const last = end - 1;
      const b0 = b + <usize>load<u32>(columns + (e << 2)) * stride;
      const b1 = b + <usize>load<u32>(columns + (min(e + 1, last) << 2)) * stride;
      const b2 = b + <usize>load<u32>(columns + (min(e + 2, last) << 2)) * stride;
      const b3 = b + <usize>load<u32>(columns + (min(e + 3, last) << 2)) * stride;
      let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
      let i: usize = 0;
      for (; i < whole; i += 16) {
        const v = v128.load(a + i);
        s0 = madd(s0, v, v128.load(b0 + i));
        s1 = madd(s1, v, v128.load(b1 + i));
        s2 = madd(s2, v, v128.load(b2 + i));
        s3 = madd(s3, v, v128.load(b3 + i));
      }
      let s = sums(s0, s1, s2, s3);
      for (; i < stride; i += 4) {
        const v = v128.load32_splat(a + i);
        let w = v128.load32_zero(b0 + i);
        w = v128.load32_lane(b1 + i, w, 1);
        w = v128.load32_lane(b2 + i, w, 2);
        s = madd(s, v, v128.load32_lane(b3 + i, w, 3));
      }
      s = f32x4.mul(s, f32x4.splat(scale));
      const t = y + (e << 2);
      if (end - e > 3) v128.store(t, s);
      else {
        v128.store32_lane(t, s, 0);
        if (end - e > 1) v128.store32_lane(t, s, 1, 4);
        if (end - e > 2) v128.store32_lane(t, s, 2, 8);
      }
      e += 4;
    }
  }
}
