// Copies between layouts: plain rows <-> panels, and transposes. Kernels see bytes: strides in bytes, counts in floats.

/** n floats from x to y, nothing beyond; for the ragged end of a row, where n < lanes. */
function copyTail(x: usize, y: usize, n: i32): void {
  for (; n >= 4; n -= 4, x += 16, y += 16) v128.store(y, v128.load(x));
  for (; n > 0; n--, x += 4, y += 4) store<f32>(y, load<f32>(x));
}

/**
 * Plain rows <-> panels. Eight channels at a time walk the panels together: eight sequential streams on the plain side,
 * whole cache lines on the panel side.
 */
// @ts-expect-error: decorator
@inline function panels(
  pack: bool, lanes: i32, x: usize, y: usize, channels: i32, pixels: i32, panelStride: usize,
): void {
  const row: usize = <usize>pixels << 2;
  const width: usize = lanes << 2;
  const plain = pack ? x : y;
  const packed = pack ? y : x;
  for (let c0 = 0; c0 < channels; c0 += 8) {
    const count = min(8, channels - c0);
    let atPlain = plain + <usize>c0 * row;
    let atPanel = packed + <usize>c0 * width;
    for (let left = pixels; left > 0; left -= lanes, atPlain += width, atPanel += panelStride) {
      let p = atPlain;
      let q = atPanel;
      if (left >= lanes) {
        for (let c = 0; c < count; c++, p += row, q += width) {
          const from = pack ? p : q;
          const to = pack ? q : p;
          v128.store(to, v128.load(from));
          v128.store(to, v128.load(from, 16), 16);
          if (lanes > 8) {
            v128.store(to, v128.load(from, 32), 32);
            v128.store(to, v128.load(from, 48), 48);
          }
          if (lanes > 16) {
            v128.store(to, v128.load(from, 64), 64);
            v128.store(to, v128.load(from, 80), 80);
            v128.store(to, v128.load(from, 96), 96);
            v128.store(to, v128.load(from, 112), 112);
          }
        }
      } else {
        for (let c = 0; c < count; c++, p += row, q += width) copyTail(pack ? p : q, pack ? q : p, left);
      }
    }
  }
}

export function f32_plain_pack_8(x: usize, y: usize, channels: i32, pixels: i32, panelStride: usize): void {
  panels(true, 8, x, y, channels, pixels, panelStride);
}
export function f32_plain_pack_16(x: usize, y: usize, channels: i32, pixels: i32, panelStride: usize): void {
  panels(true, 16, x, y, channels, pixels, panelStride);
}
export function f32_plain_pack_32(x: usize, y: usize, channels: i32, pixels: i32, panelStride: usize): void {
  panels(true, 32, x, y, channels, pixels, panelStride);
}
export function f32_panels_unpack_8(x: usize, y: usize, channels: i32, pixels: i32, panelStride: usize): void {
  panels(false, 8, x, y, channels, pixels, panelStride);
}
export function f32_panels_unpack_16(x: usize, y: usize, channels: i32, pixels: i32, panelStride: usize): void {
  panels(false, 16, x, y, channels, pixels, panelStride);
}
export function f32_panels_unpack_32(x: usize, y: usize, channels: i32, pixels: i32, panelStride: usize): void {
  panels(false, 32, x, y, channels, pixels, panelStride);
}

/**
 * y[c][r] = x[r][c] with any row strides, in 4x4 blocks. Sixteen rows of x go together, so that each row of y is written a
 * cache line at a time.
 */
function transpose(x: usize, xStride: usize, y: usize, yStride: usize, rows: i32, cols: i32): void {
  for (let r0 = 0; r0 < rows; r0 += 16) {
    const end = min(rows, r0 + 16);
    const whole = r0 + ((end - r0) & ~3);
    let c = 0;
    for (; c + 4 <= cols; c += 4) {
      let p = x + <usize>r0 * xStride + (<usize>c << 2);
      let q = y + <usize>c * yStride + (<usize>r0 << 2);
      let r = r0;
      for (; r < whole; r += 4, p += xStride << 2, q += 16) {
        const p2 = p + (xStride << 1);
        const q2 = q + (yStride << 1);
        const a = v128.load(p);
        const b = v128.load(p + xStride);
        const d = v128.load(p2);
        const e = v128.load(p2 + xStride);
        const ab = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
        const de = v128.shuffle<f32>(d, e, 0, 4, 1, 5);
        const abHigh = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
        const deHigh = v128.shuffle<f32>(d, e, 2, 6, 3, 7);
        v128.store(q, v128.shuffle<i64>(ab, de, 0, 2));
        v128.store(q + yStride, v128.shuffle<i64>(ab, de, 1, 3));
        v128.store(q2, v128.shuffle<i64>(abHigh, deHigh, 0, 2));
        v128.store(q2 + yStride, v128.shuffle<i64>(abHigh, deHigh, 1, 3));
      }
      for (; r < end; r++, p += xStride, q += 4) {
        const v = v128.load(p);
        v128.store_lane<f32>(q, v, 0);
        v128.store_lane<f32>(q + yStride, v, 1);
        v128.store_lane<f32>(q + (yStride << 1), v, 2);
        v128.store_lane<f32>(q + yStride * 3, v, 3);
      }
    }
    for (; c < cols; c++) {
      let p = x + <usize>r0 * xStride + (<usize>c << 2);
      let q = y + <usize>c * yStride + (<usize>r0 << 2);
      for (let r = r0; r < end; r++, p += xStride, q += 4) store<f32>(q, load<f32>(p));
    }
  }
}

export function f32_plain_transpose(x: usize, y: usize, rows: i32, cols: i32): void {
  transpose(x, <usize>cols << 2, y, <usize>rows << 2, rows, cols);
}

/** [tokens][features] -> panels with tokens in lanes. */
export function f32_tokens_pack(
  x: usize, y: usize, tokens: i32, features: i32, lanes: i32, panelStride: usize,
): void {
  const row: usize = <usize>features << 2;
  for (; tokens > 0; tokens -= lanes, x += row * lanes, y += panelStride) {
    transpose(x, row, y, <usize>lanes << 2, min(lanes, tokens), features);
  }
}

/** Panels with tokens in lanes -> [tokens][features]. */
export function f32_tokens_unpack(
  x: usize, y: usize, tokens: i32, features: i32, lanes: i32, panelStride: usize,
): void {
  const row: usize = <usize>features << 2;
  for (; tokens > 0; tokens -= lanes, x += panelStride, y += row * lanes) {
    transpose(x, <usize>lanes << 2, y, row, features, min(lanes, tokens));
  }
}
