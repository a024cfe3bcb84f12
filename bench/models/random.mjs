/** Deterministic numbers in [0, 1): xorshift32. The same seed gives the same model in every process and on every engine. */
export function random(seed) {
  let state = (Math.imul(seed + 1, 0x9e3779b1) ^ 0x85ebca6b) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
}

/** `count` float32 values, uniform in [-limit, limit). */
export function uniform(count, limit, next) {
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) values[i] = (next() * 2 - 1) * limit;
  return values;
}
