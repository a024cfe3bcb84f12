// What the depthwise kernels share: even and odd columns of two vectors, and the way from a plane to panels.

// @ts-expect-error: decorator
@inline export function even(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 0, 2, 4, 6);
}

// @ts-expect-error: decorator
@inline export function odd(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 1, 3, 5, 7);
}

/** Copies n floats to panels; lanes 0: to a plain row. */
export function spread(t: usize, n: i32, y: usize, lanes: i32, panelStride: i32): void {
  if (!lanes) {
    lanes = 16;
    panelStride = 64;
  }
  for (; n >= 16 && lanes == 16; n -= 16) {
    v128.store(y, v128.load(t));
    v128.store(y, v128.load(t, 16), 16);
    v128.store(y, v128.load(t, 32), 32);
    v128.store(y, v128.load(t, 48), 48);
    t += 64;
    y += panelStride;
  }
  for (; n > 0; n -= lanes) {
    let i: i32 = 0;
    const live = min(n, lanes);
    for (; i <= live - 4; i += 4) v128.store(y + (i << 2), v128.load(t + (i << 2)));
    for (; i < live; i++) i32.store(y + (i << 2), i32.load(t + (i << 2)));
    t += lanes << 2;
    y += panelStride;
  }
}
