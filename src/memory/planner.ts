import { align } from './arena.ts';

/** A buffer that must exist from step `first` to step `last`, both included. */
export interface Lifetime {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

/**
 * Places buffers so that those alive at the same time do not overlap: largest first, each at the lowest gap that fits
 * (greedy by size; Pisarchyk & Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020).
 * @returns an offset for each, multiples of 64, and the bytes of the whole
 */
export function planMemory(lives: readonly Lifetime[]): { offsets: number[]; bytes: number } {
  const offsets = new Array<number>(lives.length).fill(0);
  const placed: number[] = [];
  let total = 0;
  const order = lives
    .map((_, i) => i)
    .sort((a, b) => lives[b].bytes - lives[a].bytes || lives[a].first - lives[b].first);
  for (const i of order) {
    const { bytes, first, last } = lives[i];
    const size = align(bytes);
    const rivals = placed
      .filter((j) => lives[j].first <= last && lives[j].last >= first)
      .sort((a, b) => offsets[a] - offsets[b]);
    let at = 0;
    let best = -1;
    let bestGap = Number.POSITIVE_INFINITY;
    for (const j of rivals) {
      const gap = offsets[j] - at;
      if (gap >= size && gap < bestGap) {
        best = at;
        bestGap = gap;
      }
      at = Math.max(at, offsets[j] + align(lives[j].bytes));
    }
    offsets[i] = best >= 0 ? best : at;
    total = Math.max(total, offsets[i] + size);
    placed.push(i);
  }
  return { offsets, bytes: total };
}
