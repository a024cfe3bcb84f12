// Depthwise convolutions of any square kernel, on plain (CHW) planes; the output goes anywhere the address formula reaches.
import { clamp, madd } from './isa';
import { even, odd, spread } from './planes';

/** Copies rows of a plane into the padded scratch plane at s; with stride 2, even and odd columns to halves of a row. */
// @ts-expect-error: decorator
@inline function pad(
  STRIDE: i32, x: usize, s: usize, pitch: i32, rows: i32, columns: i32, width: i32, padTop: i32, padLeft: i32,
): void {
  const half = pitch >> 1;
  const bytes = columns << 2;
  s += padTop * pitch;
  let f = s + (padLeft << 2);
  let g = f;
  if (STRIDE == 2) {
    f = s + (padLeft & 1) * half + ((padLeft >> 1) << 2);
    g = s + (~padLeft & 1) * half + (((padLeft + 1) >> 1) << 2);
  }
  for (; rows > 0; rows--) {
    let i: i32 = 0;
    if (STRIDE == 1) {
      for (; i <= bytes - 16; i += 16) v128.store(f + i, v128.load(x + i));
      for (; i < bytes; i += 4) i32.store(f + i, i32.load(x + i));
    } else {
      for (; i <= bytes - 32; i += 32) {
        const a = v128.load(x + i);
        const b = v128.load(x + i, 16);
        v128.store(f + (i >> 1), even(a, b));
        v128.store(g + (i >> 1), odd(a, b));
      }
      for (; i < bytes; i += 8) {
        i32.store(f + (i >> 1), i32.load(x + i));
        if (i + 4 < bytes) i32.store(g + (i >> 1), i32.load(x + i, 4));
      }
    }
    x += width << 2;
    f += pitch;
    g += pitch;
  }
}

// @ts-expect-error: decorator
@inline function depthwise(
  STRIDE: i32, kernel: i32, x: usize, w: usize, y: usize, channelStride: usize, panelStride: i32, lanes: i32, channels: i32,
  height: i32, width: i32, outHeight: i32, outWidth: i32, padTop: i32, padLeft: i32, lo: f32, hi: f32, scratch: usize,
): void {
  const low = f32x4.splat(lo);
  const high = f32x4.splat(hi);
  const needed = (((outHeight + 3) & ~3) - 1) * STRIDE + kernel;
  const half = ((outWidth + 3) & ~3) + ((kernel + 3) & ~3);
  const pitch: i32 = (STRIDE * half) << 2;
  const rows = min(height, needed - padTop);
  const columns = min(width, STRIDE * half - padLeft);
  const t0 = scratch + needed * pitch;
  const outPitch: i32 = outWidth << 2;
  const weights = (kernel * kernel + 1) << 2;
  memory.fill(scratch, 0, needed * pitch);
  for (let c = 0; c < channels; c++) {
    pad(STRIDE, x, scratch, pitch, rows, columns, width, padTop, padLeft);
    const bias = v128.load32_splat(w + weights - 4);
    for (let i = 0; i < outWidth; i += 4) {
      const at = max(0, min(i, outWidth - 4)) << 2;
      let s = scratch + at;
      let t = t0 + at;
      for (let o = 0; o < outHeight; o += 4) {
        let a = bias;
        let b = bias;
        let d = bias;
        let e = bias;
        for (let kx = 0; kx < kernel; kx++) {
          let p = s + (STRIDE == 1 ? kx << 2 : (kx & 1) * (half << 2) + ((kx >> 1) << 2));
          let u = w + (kx << 2);
          const end = u + kernel * (kernel << 2);
          while (u < end) {
            const v = v128.load32_splat(u);
            a = madd(a, v, v128.load(p));
            b = madd(b, v, v128.load(p + STRIDE * pitch));
            d = madd(d, v, v128.load(p + 2 * STRIDE * pitch));
            e = madd(e, v, v128.load(p + 3 * STRIDE * pitch));
            p += pitch;
            u += kernel << 2;
          }
        }
        // Rows past the last go to the slack of scratch.
        v128.store(t, clamp(a, low, high));
        v128.store(t + outPitch, clamp(b, low, high));
        v128.store(t + 2 * outPitch, clamp(d, low, high));
        v128.store(t + 3 * outPitch, clamp(e, low, high));
        s += 4 * STRIDE * pitch;
        t += 4 * outPitch;
      }
    }
    spread(t0, outHeight * outWidth, y, lanes, panelStride);
    x += (height * width) << 2;
    w += weights;
    y += channelStride;
  }
}

/** Depthwise of any square kernel, stride 1 or 2, any padding, by way of a padded scratch plane. w: [channels][taps, bias]. */
export function f32_depthwise_kxk(
  x: usize, w: usize, y: usize, channelStride: usize, panelStride: i32, lanes: i32, channels: i32, height: i32, width: i32,
  outHeight: i32, outWidth: i32, padTop: i32, padLeft: i32, lo: f32, hi: f32, scratch: usize, kernel: i32, stride: i32,
): void {
  if (stride == 1) {
    depthwise(
      1, kernel, x, w, y, channelStride, panelStride, lanes, channels, height, width, outHeight, outWidth, padTop, padLeft, lo,
      hi, scratch,
    );
  } else {
    depthwise(
      2, kernel, x, w, y, channelStride, panelStride, lanes, channels, height, width, outHeight, outWidth, padTop, padLeft, lo,
      hi, scratch,
    );
  }
}
