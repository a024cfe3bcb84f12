// Window pools on plain planes, global pools from any layout, reductions along one axis.

// @ts-expect-error: decorator
@inline const SUM: i32 = 0;
// @ts-expect-error: decorator
@inline const MAX: i32 = 1;
// @ts-expect-error: decorator
@inline const MIN: i32 = 2;

/** What a fold starts from. */
// @ts-expect-error: decorator
@inline function start(op: i32): f32 {
  return op == SUM ? 0 : op == MAX ? -Infinity : Infinity;
}
// @ts-expect-error: decorator
@inline function fold(op: i32, a: v128, b: v128): v128 {
  return op == SUM ? f32x4.add(a, b) : op == MAX ? f32x4.max(a, b) : f32x4.min(a, b);
}
// @ts-expect-error: decorator
@inline function fold1(op: i32, a: f32, b: f32): f32 {
  return op == SUM ? a + b : op == MAX ? max<f32>(a, b) : min<f32>(a, b);
}

/** Taps of a window of k, d apart, that begins at `from` and are below `end`. */
// @ts-expect-error: decorator
@inline function tapsBelow(end: i32, from: i32, k: i32, d: i32): i32 {
  return from < end ? min(k, (end - from + d - 1) / d) : 0;
}

/** The first tap of a window beginning at `from` that is not below zero. */
// @ts-expect-error: decorator
@inline function firstTap(from: i32, d: i32): i32 {
  return from < 0 ? (d - 1 - from) / d : 0;
}

/** Four taps of a row of outputs. Stride 2 reads seven floats, so nothing beyond the last tap. */
// @ts-expect-error: decorator
@inline function tap(stride: i32, q: usize): v128 {
  const v = v128.load(q);
  return stride == 2 ? v128.shuffle<f32>(v, v128.load(q, 12), 0, 2, 5, 7) : v;
}
// @ts-expect-error: decorator
@inline function poolFold(op: i32, acc: v128, v: v128): v128 {
  return op == SUM ? f32x4.add(acc, v) : f32x4.pmax(acc, v);
}

/**
 * Four outputs from windows that lie inside the plane: `rows` rows of kw taps from p on, three at a time. For max, NaN is
 * tracked on the side: pmax and a compare are three instructions, where f32x4.max is eight on x64.
 */
// @ts-expect-error: decorator
@inline function window4(op: i32, stride: i32, p: usize, rows: i32, kw: i32, rowStep: usize, tapStep: usize): v128 {
  let acc = f32x4.splat(start(op));
  let nan = i32x4.splat(0);
  for (; rows > 0; rows--, p += rowStep) {
    let q = p;
    let j = kw;
    for (; j >= 3; j -= 3) {
      const u = tap(stride, q);
      const v = tap(stride, q + tapStep);
      const w = tap(stride, q + (tapStep << 1));
      q += tapStep * 3;
      acc = poolFold(op, acc, poolFold(op, poolFold(op, u, v), w));
      if (op != SUM) nan = v128.or(nan, v128.or(f32x4.ne(u, u), v128.or(f32x4.ne(v, v), f32x4.ne(w, w))));
    }
    for (; j > 0; j--, q += tapStep) {
      const v = tap(stride, q);
      acc = poolFold(op, acc, v);
      if (op != SUM) nan = v128.or(nan, f32x4.ne(v, v));
    }
  }
  return op == SUM ? acc : v128.or(acc, nan);
}

// @ts-expect-error: decorator
@inline function pool(
  op: i32, x: usize, y: usize, channels: i32, height: i32, width: i32, outHeight: i32, outWidth: i32,
  kh: i32, kw: i32, sh: i32, sw: i32, dh: i32, dw: i32, top: i32, left: i32, bottom: i32, right: i32, countPad: i32,
): void {
  const row: usize = <usize>width << 2;
  const rowStep = row * dh;
  const tapStep: usize = <usize>dw << 2;
  // Outputs whose windows lie inside the row, where there are four or more of them and the stride has a vector form.
  const room = width - 1 + left - (kw - 1) * dw;
  let inner = left > 0 ? (left + sw - 1) / sw : 0;
  let innerEnd = room < 0 ? 0 : min(outWidth, room / sw + 1);
  if (innerEnd - inner < 4 || sw > 2) inner = innerEnd = 0;

  for (; channels > 0; channels--, x += row * height) {
    for (let oh = 0; oh < outHeight; oh++, y += <usize>outWidth << 2) {
      const ih = oh * sh - top;
      const k0 = firstTap(ih, dh);
      const rows = max(0, tapsBelow(height, ih, kh, dh) - k0);
      const line = x + <usize>(ih + k0 * dh) * row;
      const paddedRows = tapsBelow(height + bottom, ih, kh, dh);
      for (let ow = 0; ow < outWidth; ow++) {
        if (ow == inner && innerEnd > 0) {
          const divisor = f32x4.splat(<f32>((countPad ? paddedRows : rows) * kw));
          for (; ow < innerEnd; ow += 4) {
            // The last four overlap those before: results are only written, so computing them twice is harmless.
            ow = min(ow, innerEnd - 4);
            const p = line + ((<usize>(ow * sw - left)) << 2);
            let v = sw == 2
              ? window4(op, 2, p, rows, kw, rowStep, tapStep)
              : window4(op, 1, p, rows, kw, rowStep, tapStep);
            if (op == SUM) v = f32x4.div(v, divisor);
            v128.store(y + (<usize>ow << 2), v);
          }
          ow = innerEnd;
          if (ow == outWidth) break;
        }
        const iw = ow * sw - left;
        const j0 = firstTap(iw, dw);
        const cols = max(0, tapsBelow(width, iw, kw, dw) - j0);
        let p = line + ((<usize>(iw + j0 * dw)) << 2);
        let acc = start(op);
        for (let k = 0; k < rows; k++, p += rowStep) {
          let q = p;
          for (let j = 0; j < cols; j++, q += tapStep) acc = fold1(op, acc, load<f32>(q));
        }
        if (op == SUM) acc /= <f32>(countPad ? paddedRows * tapsBelow(width + right, iw, kw, dw) : rows * cols);
        store<f32>(y + (<usize>ow << 2), acc);
      }
    }
  }
}

export function f32_plain_maxpool(
  x: usize, y: usize, channels: i32, height: i32, width: i32, outHeight: i32, outWidth: i32,
  kh: i32, kw: i32, sh: i32, sw: i32, dh: i32, dw: i32, top: i32, left: i32, bottom: i32, right: i32, countPad: i32,
): void {
  pool(MAX, x, y, channels, height, width, outHeight, outWidth, kh, kw, sh, sw, dh, dw, top, left, bottom, right, 0);
}
export function f32_plain_averagepool(
  x: usize, y: usize, channels: i32, height: i32, width: i32, outHeight: i32, outWidth: i32,
  kh: i32, kw: i32, sh: i32, sw: i32, dh: i32, dw: i32, top: i32, left: i32, bottom: i32, right: i32, countPad: i32,
): void {
  pool(
    SUM, x, y, channels, height, width, outHeight, outWidth, kh, kw, sh, sw, dh, dw, top, left, bottom, right, countPad,
  );
}

/**
 * Four channels at a time, each with a vector of its own, turned into one vector of results at the end. A plain row is one
 * panel as wide as the row. Past the last channel the last one is folded again and not stored.
 */
// @ts-expect-error: decorator
@inline function globalPool(
  op: i32, x: usize, channelStride: usize, panelStride: usize, lanes: i32, y: usize, channels: i32, pixels: i32,
): void {
  if (lanes == 0) lanes = pixels;
  const divisor = f32x4.splat(<f32>pixels);
  for (let c = 0; c < channels; c += 4, y += 16) {
    const last = channels - 1;
    let p0 = x + <usize>c * channelStride;
    let p1 = x + <usize>min(c + 1, last) * channelStride;
    let p2 = x + <usize>min(c + 2, last) * channelStride;
    let p3 = x + <usize>min(c + 3, last) * channelStride;
    let a0 = f32x4.splat(start(op));
    let a1 = a0;
    let a2 = a0;
    let a3 = a0;
    let tail = a0;
    for (let left = pixels; left > 0; left -= lanes) {
      const live = min(left, lanes);
      let at: usize = 0;
      for (let l = live >> 2; l > 0; l--, at += 16) {
        a0 = fold(op, a0, v128.load(p0 + at));
        a1 = fold(op, a1, v128.load(p1 + at));
        a2 = fold(op, a2, v128.load(p2 + at));
        a3 = fold(op, a3, v128.load(p3 + at));
      }
      for (let l = live & 3; l > 0; l--, at += 4) {
        let v = v128.load32_zero(p0 + at);
        v = v128.load_lane<f32>(p1 + at, v, 1);
        v = v128.load_lane<f32>(p2 + at, v, 2);
        v = v128.load_lane<f32>(p3 + at, v, 3);
        tail = fold(op, tail, v);
      }
      p0 += panelStride;
      p1 += panelStride;
      p2 += panelStride;
      p3 += panelStride;
    }
    const a01 = fold(op, v128.shuffle<f32>(a0, a1, 0, 4, 1, 5), v128.shuffle<f32>(a0, a1, 2, 6, 3, 7));
    const a23 = fold(op, v128.shuffle<f32>(a2, a3, 0, 4, 1, 5), v128.shuffle<f32>(a2, a3, 2, 6, 3, 7));
    let v = fold(op, v128.shuffle<i64>(a01, a23, 0, 2), v128.shuffle<i64>(a01, a23, 1, 3));
    v = fold(op, v, tail);
    if (op == SUM) v = f32x4.div(v, divisor);
    v128.store_lane<f32>(y, v, 0);
    if (c + 1 < channels) v128.store_lane<f32>(y, v, 1, 4);
    if (c + 2 < channels) v128.store_lane<f32>(y, v, 2, 8);
    if (c + 3 < channels) v128.store_lane<f32>(y, v, 3, 12);
  }
}

export function f32_panels_global_average(
  x: usize, channelStride: usize, panelStride: usize, lanes: i32, y: usize, channels: i32, pixels: i32,
): void {
  globalPool(SUM, x, channelStride, panelStride, lanes, y, channels, pixels);
}
export function f32_panels_global_max(
  x: usize, channelStride: usize, panelStride: usize, lanes: i32, y: usize, channels: i32, pixels: i32,
): void {
  globalPool(MAX, x, channelStride, panelStride, lanes, y, channels, pixels);
}

/** One row of n floats. Sixteen partial results keep the error of a sum below n/16 roundings. */
// @ts-expect-error: decorator
@inline function reduceRow(op: i32, x: usize, n: i32): f32 {
  let a0 = f32x4.splat(start(op));
  let a1 = a0;
  let a2 = a0;
  let a3 = a0;
  for (; n >= 16; n -= 16, x += 64) {
    a0 = fold(op, a0, v128.load(x));
    a1 = fold(op, a1, v128.load(x, 16));
    a2 = fold(op, a2, v128.load(x, 32));
    a3 = fold(op, a3, v128.load(x, 48));
  }
  for (; n >= 4; n -= 4, x += 16) a0 = fold(op, a0, v128.load(x));
  a0 = fold(op, fold(op, a0, a1), fold(op, a2, a3));
  let s = fold1(
    op,
    fold1(op, f32x4.extract_lane(a0, 0), f32x4.extract_lane(a0, 1)),
    fold1(op, f32x4.extract_lane(a0, 2), f32x4.extract_lane(a0, 3)),
  );
  for (; n > 0; n--, x += 4) s = fold1(op, s, load<f32>(x));
  return s;
}

/**
 * Columns of [n][inner]: a chunk of 64 rows is folded in registers and then into y, so the error of a sum stays below
 * 64 + n/64 roundings.
 */
// @ts-expect-error: decorator
@inline function reduceColumns(op: i32, x: usize, y: usize, n: i32, inner: i32, divisor: f32): void {
  const row: usize = <usize>inner << 2;
  let from = 0;
  do {
    const rows = min(64, n - from);
    const last = from + rows == n;
    let p = x + <usize>from * row;
    let q = y;
    let i = inner;
    for (; i >= 8; i -= 8, p += 32, q += 32) {
      let a0 = f32x4.splat(start(op));
      let a1 = a0;
      let r = p;
      for (let k = 0; k < rows; k++, r += row) {
        a0 = fold(op, a0, v128.load(r));
        a1 = fold(op, a1, v128.load(r, 16));
      }
      if (from) {
        a0 = fold(op, a0, v128.load(q));
        a1 = fold(op, a1, v128.load(q, 16));
      }
      if (op == SUM && last) {
        a0 = f32x4.div(a0, f32x4.splat(divisor));
        a1 = f32x4.div(a1, f32x4.splat(divisor));
      }
      v128.store(q, a0);
      v128.store(q, a1, 16);
    }
    for (; i > 0; i--, p += 4, q += 4) {
      let a = start(op);
      let r = p;
      for (let k = 0; k < rows; k++, r += row) a = fold1(op, a, load<f32>(r));
      if (from) a = fold1(op, a, load<f32>(q));
      store<f32>(q, op == SUM && last ? a / divisor : a);
    }
    from += rows;
  } while (from < n);
}

/** [outer][n][inner] -> [outer][inner]; a sum is divided by `divisor`. */
// @ts-expect-error: decorator
@inline function reduce(op: i32, x: usize, y: usize, outer: i32, n: i32, inner: i32, divisor: f32): void {
  const block: usize = (<usize>n * <usize>inner) << 2;
  for (; outer > 0; outer--, x += block, y += <usize>inner << 2) {
    if (inner == 1) store<f32>(y, op == SUM ? reduceRow(op, x, n) / divisor : reduceRow(op, x, n));
    else reduceColumns(op, x, y, n, inner, divisor);
  }
}

export function f32_plain_reduce_sum(x: usize, y: usize, outer: i32, n: i32, inner: i32, divisor: f32): void {
  reduce(SUM, x, y, outer, n, inner, divisor);
}
export function f32_plain_reduce_max(x: usize, y: usize, outer: i32, n: i32, inner: i32, divisor: f32): void {
  reduce(MAX, x, y, outer, n, inner, 1);
}
export function f32_plain_reduce_min(x: usize, y: usize, outer: i32, n: i32, inner: i32, divisor: f32): void {
  reduce(MIN, x, y, outer, n, inner, 1);
}
