// The first convolution of a network: 3x3, stride 2, few input channels, dense weights.
//
// A band of eight output rows at a time: its input rows are copied to scratch once, padded, and so taken apart that each
// tap of consecutive output pixels is consecutive too, across the ends of rows. Sixteen pixels at a time, the taps go to a
// buffer that stays in the first-level cache while all output channels pass over it, in tiles of eight pixels x four
// channels. Both copies together are a tenth of the time.
import { clamp, madd } from './isa';

// @ts-expect-error: decorator
@inline const BAND: i32 = 8;
// Scratch: min and max splat, a tile for results that are not all live, the taps of sixteen pixels, the planes.
// @ts-expect-error: decorator
@inline const TILE: usize = 64;
// @ts-expect-error: decorator
@inline const TAPS: usize = 192;

/** Columns 2 ow + k - left of one input row at p, for k = 0, 1, 2, to y + k * plane. */
function takeApart(p: usize, width: i32, left: i32, y: usize, plane: usize, outWidth: i32): void {
  for (let ow = 0; ow < outWidth; ) {
    const column = (ow << 1) - left;
    const q = p + (column << 2);
    if (column >= 0 && column + 9 <= width && ow + 4 <= outWidth) {
      const a = v128.load(q);
      const b = v128.load(q, 16);
      v128.store(y, v128.shuffle<i32>(a, b, 0, 2, 4, 6));
      v128.store(y + plane, v128.shuffle<i32>(a, b, 1, 3, 5, 7));
      v128.store(y + (plane << 1), v128.shuffle<i32>(v128.load(q, 8), v128.load(q, 20), 0, 2, 5, 7));
      ow += 4;
      y += 16;
    } else {
      for (let k = 0; k < 3; k++) {
        const at = column + k;
        store<f32>(y + plane * k, <u32>at < <u32>width ? load<f32>(p + (at << 2)) : 0);
      }
      ow++;
      y += 4;
    }
  }
}

/** Eight pixels x four channels; one tap a round, because V8 11.3 runs out of registers with more. */
function tile(x: usize, w: usize, taps: i32, limits: usize, y: usize, yStride: usize): void {
  let a0 = v128.load32_splat(w);
  let b0 = v128.load32_splat(w, 4);
  let c0 = v128.load32_splat(w, 8);
  let d0 = v128.load32_splat(w, 12);
  let a1 = a0;
  let b1 = b0;
  let c1 = c0;
  let d1 = d0;
  for (const end = w + (taps << 4); w < end; x += 64) {
    w += 16;
    const p0 = v128.load(x);
    const p1 = v128.load(x, 16);
    let s = v128.load32_splat(w);
    a0 = madd(a0, p0, s);
    a1 = madd(a1, p1, s);
    s = v128.load32_splat(w, 4);
    b0 = madd(b0, p0, s);
    b1 = madd(b1, p1, s);
    s = v128.load32_splat(w, 8);
    c0 = madd(c0, p0, s);
    c1 = madd(c1, p1, s);
    s = v128.load32_splat(w, 12);
    d0 = madd(d0, p0, s);
    d1 = madd(d1, p1, s);
  }
  const lo = v128.load(limits);
  const hi = v128.load(limits, 16);
  v128.store(y, clamp(a0, lo, hi));
  v128.store(y, clamp(a1, lo, hi), 16);
  y += yStride;
  v128.store(y, clamp(b0, lo, hi));
  v128.store(y, clamp(b1, lo, hi), 16);
  y += yStride;
  v128.store(y, clamp(c0, lo, hi));
  v128.store(y, clamp(c1, lo, hi), 16);
  y += yStride;
  v128.store(y, clamp(d0, lo, hi));
  v128.store(y, clamp(d1, lo, hi), 16);
}

/** The taps of sixteen pixels from the planes to y[taps][16]; the first and third row of windows are `down` apart. */
function collect(x: usize, plane: usize, down: usize, channels: i32, y: usize): void {
  for (; channels > 0; channels--, x += plane * 6) {
    for (let i = 0; i < 3; i++) {
      let p = i == 1 ? x + plane * 3 : i == 2 ? x + down : x;
      for (let j = 0; j < 3; j++, p += plane, y += 64) {
        v128.store(y, v128.load(p));
        v128.store(y, v128.load(p, 16), 16);
        v128.store(y, v128.load(p, 32), 32);
        v128.store(y, v128.load(p, 48), 48);
      }
    }
  }
}

/**
 * @param weights for each four output channels: biases [4], then [channels][3][3][4]
 * @param lanes of an output panel, a multiple of 8; plain output is panels of 8 pixels, 32 bytes apart
 * @param plane bytes of a scratch plane, nine output rows and sixteen pixels more
 */
export function f32_stem_3x3s2(
  x: usize, weights: usize, y: usize, yChannelStride: usize, yPanelStride: usize, lanes: i32, channels: i32, rows: i32,
  height: i32, width: i32, outHeight: i32, outWidth: i32, top: i32, left: i32, min_: f32, max_: f32,
  scratch: usize, plane: usize,
): void {
  v128.store(scratch, f32x4.splat(min_));
  v128.store(scratch, f32x4.splat(max_), 16);
  const taps = channels * 9;
  const buffer = scratch + TAPS;
  const planes = buffer + (taps << 6);
  const row: usize = width << 2;
  const outRow: usize = outWidth << 2;
  const block: usize = (taps + 1) << 4;

  for (let oh = 0; oh < outHeight; oh += BAND) {
    const band = min(BAND, outHeight - oh);
    let source = x;
    let target = planes;
    for (let c = 0; c < channels; c++, source += row * height, target += plane * 6) {
      for (let r = 0; r <= band << 1; r++) {
        const ih = (oh << 1) + r - top;
        let t = target + outRow * (r >> 1);
        if (r & 1) t += plane * 3;
        // A row in the padding is a row of no columns.
        const inside = <u32>ih < <u32>height;
        takeApart(inside ? source + row * ih : x, inside ? width : 0, left, t, plane, outWidth);
      }
    }

    const first = oh * outWidth;
    const pixels = band * outWidth;
    for (let at = 0; at < pixels; at += 16) {
      const pixel = first + at;
      const t0 = y + yPanelStride * (pixel / lanes) + ((pixel % lanes) << 2);
      const t1 = y + yPanelStride * ((pixel + 8) / lanes) + (((pixel + 8) % lanes) << 2);
      const end = min(pixels, at + 16);
      collect(planes + (at << 2), plane, outRow, channels, buffer);
      let w = weights;
      for (let r = 0; r < rows; r += 4, w += block) {
        for (let n = at; n < end; n += 8) {
          const t = (n == at ? t0 : t1) + yChannelStride * r;
          const p = buffer + ((n - at) << 2);
          if (pixels - n >= 8 && rows - r >= 4) {
            tile(p, w, taps, scratch, t, yChannelStride);
          } else {
            tile(p, w, taps, scratch, scratch + TILE, 32);
            const live: usize = min(8, pixels - n) << 2;
            for (let k = 0; k < min(4, rows - r); k++) {
              memory.copy(t + yChannelStride * k, scratch + TILE + (k << 5), live);
            }
          }
        }
      }
    }
  }
}
