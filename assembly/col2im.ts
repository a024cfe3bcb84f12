// The last step of a transposed convolution: products of every input pixel with every tap, added up where they land.
import { clamp } from './isa';

/** The first input row or column whose tap, `at` away from its window's begin, lands at 0 or beyond. */
// @ts-expect-error: decorator
@inline function firstInside(at: i32, stride: i32): i32 {
  return at < 0 ? (stride - 1 - at) / stride : 0;
}

/** How many of `size` land below `out`. */
// @ts-expect-error: decorator
@inline function endInside(size: i32, out: i32, at: i32, stride: i32): i32 {
  return out > at ? min(size, (out - 1 - at) / stride + 1) : 0;
}

/** y[c][oh][ow] = clamp(bias[c] + the x[(c, i, j)][ih][iw] with oh = ih sh + i dh - top, ow = iw sw + j dw - left). */
export function f32_plain_col2im(
  x: usize, y: usize, bias: usize, channels: i32, height: i32, width: i32, outHeight: i32, outWidth: i32,
  kh: i32, kw: i32, sh: i32, sw: i32, dh: i32, dw: i32, top: i32, left: i32, min_: f32, max_: f32,
): void {
  const plane: usize = (height * width) << 2;
  const outPlane: usize = (outHeight * outWidth) << 2;
  const step: usize = sw << 2;
  const lo = f32x4.splat(min_);
  const hi = f32x4.splat(max_);
  const none = i32x4.splat(0);
  for (; channels > 0; channels--, y += outPlane, bias += 4) {
    const end = y + outPlane;
    const whole = y + (outPlane & ~15);
    const b = v128.load32_splat(bias);
    let q = y;
    for (; q < whole; q += 16) v128.store(q, b);
    for (; q < end; q += 4) v128.store_lane<f32>(q, b, 0);

    for (let i = 0; i < kh; i++) {
      const atRow = i * dh - top;
      const firstRow = firstInside(atRow, sh);
      const endRow = endInside(height, outHeight, atRow, sh);
      for (let j = 0; j < kw; j++, x += plane) {
        const atColumn = j * dw - left;
        const first = firstInside(atColumn, sw);
        const count = endInside(width, outWidth, atColumn, sw) - first;
        for (let r = firstRow; r < endRow; r++) {
          let p = x + ((r * width + first) << 2);
          q = y + (((atRow + r * sh) * outWidth + atColumn + first * sw) << 2);
          let n = count;
          if (sw == 1) {
            for (; n >= 4; n -= 4, p += 16, q += 16) v128.store(q, f32x4.add(v128.load(q), v128.load(p)));
          } else if (sw == 2) {
            // Seven outputs; what lies between keeps its bits, as -0 + 0 would not.
            for (; n >= 4; n -= 4, p += 16, q += 32) {
              const v = v128.load(p);
              const a = v128.load(q);
              const d = v128.load(q, 12);
              v128.store(q, v128.shuffle<i32>(f32x4.add(a, v128.shuffle<i32>(v, none, 0, 4, 1, 4)), a, 0, 5, 2, 7));
              v128.store(q, v128.shuffle<i32>(f32x4.add(d, v128.shuffle<i32>(none, v, 0, 6, 0, 7)), d, 4, 1, 6, 3), 12);
            }
          }
          for (; n > 0; n--, p += 4, q += step) store<f32>(q, load<f32>(q) + load<f32>(p));
        }
      }
    }

    for (q = y; q < whole; q += 16) v128.store(q, clamp(v128.load(q), lo, hi));
    for (; q < end; q += 4) {
      v128.store_lane<f32>(q, clamp(v128.load32_splat(q), lo, hi), 0);
    }
  }
}
