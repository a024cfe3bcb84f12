// SpMM for groups of 2 output channels on a tile of 24 lanes, a panel and half of its neighbour. Layout: src/pack/spmm.ts.
//
// A fused multiply-add takes four cycles and two start in each, so the eight accumulators of 16x2 and 8x4 leave no slack: 91 %
// of the roofline at best. Twelve do, with two weights and one input that is all of the 15 registers that V8 13.6 has.
// Narrow layers stay below: K = 16 at 80 % zeros gives 37 to 40 GFLOP/s (of 58) whether Y is 36 KB or 5 MB, so it is not the memory:
// three inputs a group do not hide its header and twelve stores. Cutting K = 3072 into runs of 96 or 192 columns changes nothing.
// The separate multiply of simd128 needs one more and spills (35 instead of 44 GFLOP/s, Node 24): the cost model leaves it to relaxed modules.
import { f32_group2_spmm_16x2 } from './group';
import { madd } from './isa';
import { bring, limitsOf } from './tile';

/** 16 lanes at x and 8 at x2, of all groups between `s` and `last`. */
function tile24(
  x: usize, x2: usize, y: usize, y2: usize, yc: usize, s: usize, last: usize, min: f32, max: f32, limits: i32, add: i32,
): void {
  const lo = f32x4.splat(min);
  const hi = f32x4.splat(max);
  while (s < last) {
    const quads = s + <usize>load<u16>(s);
    const end = s + <usize>load<u16>(s, 2);
    s += 4;
    let a0: v128, a1: v128, a2: v128, a3: v128, a4: v128, a5: v128;
    let b0: v128, b1: v128, b2: v128, b3: v128, b4: v128, b5: v128;
    if (add) {
      a0 = v128.load(y);
      a1 = v128.load(y, 16);
      a2 = v128.load(y, 32);
      a3 = v128.load(y, 48);
      a4 = v128.load(y2);
      a5 = v128.load(y2, 16);
      const z = y + yc, z2 = y2 + yc;
      b0 = v128.load(z);
      b1 = v128.load(z, 16);
      b2 = v128.load(z, 32);
      b3 = v128.load(z, 48);
      b4 = v128.load(z2);
      b5 = v128.load(z2, 16);
    } else {
      a5 = a4 = a3 = a2 = a1 = a0 = v128.load32_splat(s);
      b5 = b4 = b3 = b2 = b1 = b0 = v128.load32_splat(s, 4);
    }
    s += 8;
    while (s < quads) {
      const o = load<u64>(s);
      s += 8;
      let k = <usize>(<u32>o & 0xffff);
      let i = x + k;
      let w = v128.load32_splat(s);
      let u = v128.load32_splat(s, 4);
      let v = v128.load(i);
      a0 = madd(a0, w, v);
      b0 = madd(b0, u, v);
      v = v128.load(i, 16);
      a1 = madd(a1, w, v);
      b1 = madd(b1, u, v);
      v = v128.load(i, 32);
      a2 = madd(a2, w, v);
      b2 = madd(b2, u, v);
      v = v128.load(i, 48);
      a3 = madd(a3, w, v);
      b3 = madd(b3, u, v);
      i = x2 + k;
      v = v128.load(i);
      a4 = madd(a4, w, v);
      b4 = madd(b4, u, v);
      v = v128.load(i, 16);
      a5 = madd(a5, w, v);
      b5 = madd(b5, u, v);
      s += 8;
      k = <usize>(<u32>o >> 16);
      i = x + k;
      if (!i) break;
      w = v128.load32_splat(s);
      u = v128.load32_splat(s, 4);
      v = v128.load(i);
      a0 = madd(a0, w, v);
      b0 = madd(b0, u, v);
      v = v128.load(i, 16);
      a1 = madd(a1, w, v);
      b1 = madd(b1, u, v);
      v = v128.load(i, 32);
      a2 = madd(a2, w, v);
      b2 = madd(b2, u, v);
      v = v128.load(i, 48);
      a3 = madd(a3, w, v);
      b3 = madd(b3, u, v);
      i = x2 + k;
      v = v128.load(i);
      a4 = madd(a4, w, v);
      b4 = madd(b4, u, v);
      v = v128.load(i, 16);
      a5 = madd(a5, w, v);
      b5 = madd(b5, u, v);
      s += 8;
      k = <usize>(<u32>(o >> 32) & 0xffff);
      i = x + k;
      if (!i) break;
      w = v128.load32_splat(s);
      u = v128.load32_splat(s, 4);
      v = v128.load(i);
      a0 = madd(a0, w, v);
      b0 = madd(b0, u, v);
      v = v128.load(i, 16);
      a1 = madd(a1, w, v);
      b1 = madd(b1, u, v);
      v = v128.load(i, 32);
      a2 = madd(a2, w, v);
      b2 = madd(b2, u, v);
      v = v128.load(i, 48);
      a3 = madd(a3, w, v);
      b3 = madd(b3, u, v);
      i = x2 + k;
      v = v128.load(i);
      a4 = madd(a4, w, v);
      b4 = madd(b4, u, v);
      v = v128.load(i, 16);
      a5 = madd(a5, w, v);
      b5 = madd(b5, u, v);
      s += 8;
      k = <usize>(o >> 48);
      i = x + k;
      if (!i) break;
      w = v128.load32_splat(s);
      u = v128.load32_splat(s, 4);
      v = v128.load(i);
      a0 = madd(a0, w, v);
      b0 = madd(b0, u, v);
      v = v128.load(i, 16);
      a1 = madd(a1, w, v);
      b1 = madd(b1, u, v);
      v = v128.load(i, 32);
      a2 = madd(a2, w, v);
      b2 = madd(b2, u, v);
      v = v128.load(i, 48);
      a3 = madd(a3, w, v);
      b3 = madd(b3, u, v);
      i = x2 + k;
      v = v128.load(i);
      a4 = madd(a4, w, v);
      b4 = madd(b4, u, v);
      v = v128.load(i, 16);
      a5 = madd(a5, w, v);
      b5 = madd(b5, u, v);
      s += 8;
    }
    if (s < end) {
      const o = load<u64>(s);
      s += 8;
      let k = <usize>(<u32>o & 0xffff);
      let i = x + k;
      let w = v128.load32_splat(s);
      let u = v128.load32_splat(s, 4);
      let v = v128.load(i);
      a0 = madd(a0, w, v);
      b0 = madd(b0, u, v);
      v = v128.load(i, 16);
      a1 = madd(a1, w, v);
      b1 = madd(b1, u, v);
      v = v128.load(i, 32);
      a2 = madd(a2, w, v);
      b2 = madd(b2, u, v);
      v = v128.load(i, 48);
      a3 = madd(a3, w, v);
      b3 = madd(b3, u, v);
      i = x2 + k;
      v = v128.load(i);
      a4 = madd(a4, w, v);
      b4 = madd(b4, u, v);
      v = v128.load(i, 16);
      a5 = madd(a5, w, v);
      b5 = madd(b5, u, v);
      s += 8;
      if (s < end) {
        k = <usize>(<u32>o >> 16);
        i = x + k;
        w = v128.load32_splat(s);
        u = v128.load32_splat(s, 4);
        v = v128.load(i);
        a0 = madd(a0, w, v);
        b0 = madd(b0, u, v);
        v = v128.load(i, 16);
        a1 = madd(a1, w, v);
        b1 = madd(b1, u, v);
        v = v128.load(i, 32);
        a2 = madd(a2, w, v);
        b2 = madd(b2, u, v);
        v = v128.load(i, 48);
        a3 = madd(a3, w, v);
        b3 = madd(b3, u, v);
        i = x2 + k;
        v = v128.load(i);
        a4 = madd(a4, w, v);
        b4 = madd(b4, u, v);
        v = v128.load(i, 16);
        a5 = madd(a5, w, v);
        b5 = madd(b5, u, v);
        s += 8;
        if (s < end) {
          k = <usize>(<u32>(o >> 32) & 0xffff);
          i = x + k;
          w = v128.load32_splat(s);
          u = v128.load32_splat(s, 4);
          v = v128.load(i);
          a0 = madd(a0, w, v);
          b0 = madd(b0, u, v);
          v = v128.load(i, 16);
          a1 = madd(a1, w, v);
          b1 = madd(b1, u, v);
          v = v128.load(i, 32);
          a2 = madd(a2, w, v);
          b2 = madd(b2, u, v);
          v = v128.load(i, 48);
          a3 = madd(a3, w, v);
          b3 = madd(b3, u, v);
          i = x2 + k;
          v = v128.load(i);
          a4 = madd(a4, w, v);
          b4 = madd(b4, u, v);
          v = v128.load(i, 16);
          a5 = madd(a5, w, v);
          b5 = madd(b5, u, v);
          s += 8;
        }
      }
    }
    if (limits) {
      a0 = f32x4.pmax(a0, lo);
      b0 = f32x4.pmax(b0, lo);
      a1 = f32x4.pmax(a1, lo);
      b1 = f32x4.pmax(b1, lo);
      a2 = f32x4.pmax(a2, lo);
      b2 = f32x4.pmax(b2, lo);
      a3 = f32x4.pmax(a3, lo);
      b3 = f32x4.pmax(b3, lo);
      a4 = f32x4.pmax(a4, lo);
      b4 = f32x4.pmax(b4, lo);
      a5 = f32x4.pmax(a5, lo);
      b5 = f32x4.pmax(b5, lo);
      if (limits > 1) {
        a0 = f32x4.pmin(a0, hi);
        b0 = f32x4.pmin(b0, hi);
        a1 = f32x4.pmin(a1, hi);
        b1 = f32x4.pmin(b1, hi);
        a2 = f32x4.pmin(a2, hi);
        b2 = f32x4.pmin(b2, hi);
        a3 = f32x4.pmin(a3, hi);
        b3 = f32x4.pmin(b3, hi);
        a4 = f32x4.pmin(a4, hi);
        b4 = f32x4.pmin(b4, hi);
        a5 = f32x4.pmin(a5, hi);
        b5 = f32x4.pmin(b5, hi);
      }
    }
    v128.store(y, a0);
    v128.store(y, a1, 16);
    v128.store(y, a2, 32);
    v128.store(y, a3, 48);
    v128.store(y2, a4);
    v128.store(y2, a5, 16);
    y += yc;
    y2 += yc;
    v128.store(y, b0);
    v128.store(y, b1, 16);
    v128.store(y, b2, 32);
    v128.store(y, b3, 48);
    v128.store(y2, b4);
    v128.store(y2, b5, 16);
    y += yc;
    y2 += yc;
  }
}

export function f32_group2_spmm_24x2(
  x: usize, xp: usize, y: usize, yp: usize, yc: usize, columns: i32, s: usize, last: usize, min: f32, max: f32, how: i32,
): void {
  let n = columns;
  const limits = limitsOf(min, max);
  const add = how & 1, inputs = how >> 1;
  x -= 1; // offsets are one more than they are
  // Three panels are two tiles.
  for (; n > 47; n -= 48) {
    if (inputs) {
      bring(x + 1, inputs);
      bring(x + xp + 1, inputs);
    }
    tile24(x, x + xp, y, y + yp, yc, s, last, min, max, limits, add);
    x += xp;
    y += yp;
    if (inputs) bring(x + xp + 1, inputs);
    tile24(x + xp, x + 32, y + yp, y + 32, yc, s, last, min, max, limits, add);
    x += 2 * xp;
    y += 2 * yp;
  }
  f32_group2_spmm_16x2(x + 1, xp, y, yp, yc, n, s, last, min, max, how);
}
