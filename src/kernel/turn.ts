/** The chunk that a thread tries to take next, after `i` others: those of its share, then others' from the end of the share before. */
export function turn(i: number, thread: number, threads: number, count: number): number {
  const first = Math.floor((thread * count) / threads);
  const own = Math.floor(((thread + 1) * count) / threads) - first;
  return i < own ? first + i : (first + count - 1 - (i - own)) % count;
}
