// The column tile all f32 weight kernels share. A tile is V vectors of lanes by C channels; S = 2 sends successive records
// to two sets of accumulators in turn, so that a narrow tile is not bound by the latency of one addition.
//
// V, C, S and D are the types N0..N8 below, whose offsetof is a number that the compiler's front end folds: what a variant
// does not need is never emitted, and building takes a tenth of what inlined literal parameters cost.

export class N0 {}
export class N1 { a: u8; }
export class N2 extends N1 { b: u8; }
export class N3 extends N2 { c: u8; }
export class N4 extends N3 { d: u8; }
export class N5 extends N4 { e: u8; }
export class N6 extends N5 { f: u8; }
export class N7 extends N6 { g: u8; }
export class N8 extends N7 { h: u8; }

/** Loads the first `live` (1..4) lanes, without touching memory past them. */
function loadLive(p: usize, live: i32): v128 {
  if (live == 4) return v128.load(p);
  if (live == 1) return v128.load32_zero(p);
  const v = v128.load64_zero(p);
  return live == 2 ? v : v128.load32_lane(p, v, 2, 8);
}

/** Stores the first `live` (1..4) lanes. */
function storeLive(p: usize, v: v128, live: i32): void {
  if (live == 4) v128.store(p, v);
  else if (live == 1) v128.store32_lane(p, v, 0);
  else {
    v128.store64_lane(p, v, 0);
    if (live == 3) v128.store32_lane(p, v, 2, 8);
  }
}

/** Vector K of V of a row: the last one holds `live` lanes, unless the tile is full (F). */
// @ts-expect-error: decorator
@inline export function get<V, K, F>(o: usize, live: i32): v128 {
  if (offsetof<F>() || offsetof<K>() + 1 < offsetof<V>()) return v128.load(o, (offsetof<K>() & 3) << 4);
  return loadLive(o + ((offsetof<K>() & 3) << 4), live);
}

// @ts-expect-error: decorator
@inline export function put<V, K, F>(o: usize, y: v128, live: i32): void {
  if (offsetof<F>() || offsetof<K>() + 1 < offsetof<V>()) v128.store(o, y, (offsetof<K>() & 3) << 4);
  else storeLive(o + ((offsetof<K>() & 3) << 4), y, live);
}

/** What a clamp to [min, max] takes: nothing (0), a maximum (1), both (2). Asked once a call, not once a row. */
// @ts-expect-error: decorator
@inline export function limitsOf(min: f32, max: f32): i32 {
  return max < <f32>Infinity ? 2 : i32(min > <f32>-Infinity);
}

/**
 * Reads the first `inputs` rows of a panel in turn, so that sparse rows find in the cache what they pick at random, which no
 * hardware guesses. The comparison only keeps engines from dropping the loads.
 */
export function bring(x: usize, inputs: i32): void {
  const end = x + (<usize>inputs << 6);
  while (x < end && load<u32>(x) != 0x7fabcdef) x += 64;
}
