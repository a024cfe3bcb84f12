// Convolutions in two dimensions that are neither pointwise nor depthwise: taps gathered into panels for a product.

/**
 * Taps of a plain CHW input gathered into panels of `lanes` output pixels: tap (c, i, j) is channel (c kh + i) kw + j of
 * a panel. Four lanes at a time: where a tap reads them, and which of them lie in the padding, is computed once and
 * serves all channels. Reading a lane in the padding is avoided only when it would leave the plane; the mask zeroes it.
 */
export function f32_plain_im2panel(
  x: usize, y: usize, yPanelStride: usize, lanes: i32, channels: i32, height: i32, width: i32, outWidth: i32,
  kh: i32, kw: i32, sh: i32, sw: i32, dh: i32, dw: i32, top: i32, left: i32, firstPixel: i32, panels: i32,
): void {
  const plane = (height * width) << 2;
  const xEnd = x + <usize>plane * channels;
  const yStep: usize = (kh * kw * lanes) << 2;
  const none = i32x4.splat(0);
  // In units of input pixels, at tap (0, 0): the first lane's row and column, a row's end, and what a row spans.
  let r0 = (firstPixel / outWidth) * sh - top;
  let c0 = (firstPixel % outWidth) * sw - left;
  const span = outWidth * sw;
  const end = span - left;
  const groupSpan = sw << 2;
  const reach = sw * 3;
  const columns = i32x4.replace_lane(i32x4.replace_lane(i32x4.replace_lane(none, 1, sw), 2, sw << 1), 3, sw * 3);

  for (; panels > 0; panels--, y += yPanelStride) {
    let r1 = r0;
    let c1 = c0;
    let t = y;
    for (let i = 0; i < kh; i++) {
      for (let j = 0; j < kw; j++) {
        r1 = r0;
        c1 = c0;
        for (let g = lanes; g > 0; g -= 4, t += 16) {
          let q = t;
          const atRow = r1 + i * dh;
          const atColumn = c1 + j * dw;
          if (sw <= 2 && <u32>atRow < <u32>height && atColumn >= 0 && atColumn < width - reach && c1 < end - reach) {
            // A single row, no padding.
            c1 += groupSpan;
            let p = x + ((atRow * width + atColumn) << 2);
            if (sw == 1) for (; p < xEnd; p += plane, q += yStep) v128.store(q, v128.load(p));
            else {
              for (; p < xEnd; p += plane, q += yStep) {
                v128.store(q, v128.shuffle<i32>(v128.load(p), v128.load(p, 12), 0, 2, 5, 7));
              }
            }
            continue;
          }
          let row = i32x4.splat(r1);
          let column = i32x4.add(i32x4.splat(c1), columns);
          c1 += groupSpan;
          if (c1 >= end) {
            // The group reaches the end of its row; of several where rows are shorter than a group.
            for (;;) {
              const beyond = i32x4.ge_s(column, i32x4.splat(end));
              if (!v128.any_true(beyond)) break;
              column = i32x4.sub(column, v128.and(beyond, i32x4.splat(span)));
              row = i32x4.add(row, v128.and(beyond, i32x4.splat(sh)));
            }
            for (; c1 >= end; c1 -= span) r1 += sh;
          }
          row = i32x4.add(row, i32x4.splat(i * dh));
          column = i32x4.add(column, i32x4.splat(j * dw));
          const live = v128.and(i32x4.lt_u(row, i32x4.splat(height)), i32x4.lt_u(column, i32x4.splat(width)));
          const at = i32x4.shl(i32x4.add(i32x4.mul(row, i32x4.splat(width)), column), 2);

          const at0 = i32x4.extract_lane(at, 0);
          // Distances from the first lane tell lanes side by side, or every other one, even across the end of a row.
          const apart = i32x4.sub(at, i32x4.splat(at0));
          let p = x + at0;
          if (at0 >= 0 && at0 <= plane - 16 && i32x4.all_true(i32x4.eq(apart, i32x4(0, 4, 8, 12)))) {
            for (; p < xEnd; p += plane, q += yStep) v128.store(q, v128.and(v128.load(p), live));
          } else if (at0 >= 0 && at0 <= plane - 28 && i32x4.all_true(i32x4.eq(apart, i32x4(0, 8, 16, 24)))) {
            for (; p < xEnd; p += plane, q += yStep) {
              v128.store(q, v128.and(v128.shuffle<i32>(v128.load(p), v128.load(p, 12), 0, 2, 5, 7), live));
            }
          } else {
            const from = v128.and(at, live);
            let p0 = x + i32x4.extract_lane(from, 0);
            let p1 = x + i32x4.extract_lane(from, 1);
            let p2 = x + i32x4.extract_lane(from, 2);
            let p3 = x + i32x4.extract_lane(from, 3);
            for (; p0 < xEnd; p0 += plane, p1 += plane, p2 += plane, p3 += plane, q += yStep) {
              let v = v128.load_zero<f32>(p0);
              v = v128.load_lane<f32>(p1, v, 1);
              v = v128.load_lane<f32>(p2, v, 2);
              v = v128.load_lane<f32>(p3, v, 3);
              v128.store(q, v128.and(v, live));
            }
          }
        }
      }
    }
    r0 = r1;
    c0 = c1;
  }
}

/**
 * Plain CHW, zero-padded and cut into rows: y[rows][channels][phases][columns]. Row r holds input row r - top of every
 * channel side by side; in it, phase f holds input columns f - left, f - left + phases, … So the taps of a convolution with
 * stride `phases` are runs of the row, and lie close together for all channels. yStep: bytes from a row of y to the next.
 */
export function f32_plain_rows(
  x: usize, y: usize, yStep: usize, channels: i32, height: i32, width: i32, rows: i32, phases: i32, columns: i32,
  top: i32, left: i32,
): void {
  const plane = (height * width) << 2;
  const line: usize = columns << 2;
  for (let r = 0; r < rows; r++, y += yStep) {
    const h = r - top;
    const inside = <u32>h < <u32>height;
    let p = x + ((h * width) << 2);
    let q = y;
    for (let c = 0; c < channels; c++, p += plane) {
      for (let f = 0; f < phases; f++, q += line) {
        // The first output column inside the image, and one past the last.
        let from = 0, to = 0;
        if (inside) {
          from = max((left - f + phases - 1) / phases, 0);
          to = min((width + left - f + phases - 1) / phases, columns);
        }
        let n = 0;
        for (; n < min(from, columns); n++) store<f32>(q + (n << 2), 0);
        let i = p + ((n * phases + f - left) << 2);
        if (phases == 1) {
          for (; n + 4 <= to; n += 4, i += 16) v128.store(q + (n << 2), v128.load(i));
        } else if (phases == 2) {
          // The last of four is read at 24: seven columns, of which the eighth may not exist.
          for (; n + 4 <= to; n += 4, i += 32) {
            v128.store(q + (n << 2), i32x4.shuffle(v128.load(i), v128.load(i, 12), 0, 2, 5, 7));
          }
        }
        for (; n < to; n++, i += phases << 2) store<f32>(q + (n << 2), load<f32>(i));
        for (; n < columns; n++) store<f32>(q + (n << 2), 0);
      }
    }
  }
}
