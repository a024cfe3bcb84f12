// The first convolution of a network: 3x3, stride 2, few input channels, dense weights. The taps of sixteen pixels at a time
// go to a buffer that stays in the first-level cache while all output channels pass over it, in tiles of eight pixels x four
// channels.
import { clamp, madd } from './isa';

// Scratch: min and max splat, a tile for results that are not all live, the taps of sixteen pixels.
// @ts-expect-error: decorator
@inline const TILE: usize = 64;
// @ts-expect-error: decorator
@inline const TAPS: usize = 192;

/** The taps of four pixels side by side that see no padding, to y[channels * 9][16]. Nine floats of each row. */
function collect4(p: usize, row: usize, plane: usize, channels: i32, y: usize): void {
  for (; channels > 0; channels--, p += plane) {
    let q = p;
    for (let i = 0; i < 3; i++, q += row, y += 192) {
      const a = v128.load(q);
      const b = v128.load(q, 16);
      v128.store(y, v128.shuffle<i32>(a, b, 0, 2, 4, 6));
      v128.store(y, v128.shuffle<i32>(a, b, 1, 3, 5, 7), 64);
      v128.store(y, v128.shuffle<i32>(v128.load(q, 8), v128.load(q, 20), 0, 2, 5, 7), 128);
    }
  }
}

/** The taps of the pixel whose window begins at row r, column c. */
function collect1(x: usize, r: i32, c: i32, height: i32, width: i32, channels: i32, y: usize): void {
  for (; channels > 0; channels--, x += (height * width) << 2) {
    for (let i = r; i < r + 3; i++) {
      for (let j = c; j < c + 3; j++, y += 64) {
        const inside = <u32>i < <u32>height && <u32>j < <u32>width;
        store<f32>(y, inside ? load<f32>(x + ((i * width + j) << 2)) : 0);
      }
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

/**
 * @param weights for each four output channels: biases [4], then [channels][3][3][4]
 * @param lanes of an output panel, a multiple of 8; plain output is panels of 8 pixels, 32 bytes apart
 */
export function f32_stem_3x3s2(
  x: usize, weights: usize, y: usize, yChannelStride: usize, yPanelStride: usize, lanes: i32, channels: i32, rows: i32,
  height: i32, width: i32, outHeight: i32, outWidth: i32, top: i32, left: i32, min_: f32, max_: f32, scratch: usize,
): void {
  v128.store(scratch, f32x4.splat(min_));
  v128.store(scratch, f32x4.splat(max_), 16);
  const taps = channels * 9;
  const buffer = scratch + TAPS;
  const row: usize = width << 2;
  const block: usize = (taps + 1) << 4;
  const pixels = outHeight * outWidth;
  let oh = 0;
  let ow = 0;
  for (let at = 0; at < pixels; at += 16) {
    for (let lane = 0; lane < 64; ) {
      const r = (oh << 1) - top;
      const c = (ow << 1) - left;
      if (r >= 0 && r <= height - 3 && c >= 0 && c <= width - 9 && ow <= outWidth - 4 && lane <= 48) {
        collect4(x + row * r + (c << 2), row, row * height, channels, buffer + lane);
        lane += 16;
        ow += 4;
      } else {
        collect1(x, r, c, height, width, channels, buffer + lane);
        lane += 4;
        ow++;
      }
      if (ow == outWidth) {
        ow = 0;
        oh++;
      }
    }

    const live = pixels - at;
    const t0 = y + yPanelStride * (at / lanes) + ((at % lanes) << 2);
    const t1 = y + yPanelStride * ((at + 8) / lanes) + (((at + 8) % lanes) << 2);
    let w = weights;
    for (let k = 0; k < rows; k += 4, w += block) {
      for (let n = 0; n < min(16, live); n += 8) {
        const t = (n ? t1 : t0) + yChannelStride * k;
        const p = buffer + (n << 2);
        if (live - n >= 8 && rows - k >= 4) tile(p, w, taps, scratch, t, yChannelStride);
        else {
          tile(p, w, taps, scratch, scratch + TILE, 32);
          const bytes: usize = min(8, live - n) << 2;
          for (let m = 0; m < min(4, rows - k); m++) memory.copy(t + yChannelStride * m, scratch + TILE + (m << 5), bytes);
        }
      }
    }
  }
}
