/** Row-wise schedules of the window formats. Their data is laid out in spmv.ts. */
type Matrix = Float32Array | Int8Array | Uint16Array;

/** Inputs that a step may choose from. */
export const WINDOW = 16;

/** The nonzeros of each row: row r has inputs[pointers[r]] to inputs[pointers[r + 1]]. */
export interface Lists {
  readonly pointers: Uint32Array;
  readonly inputs: Uint32Array;
}

export function listsOfRows(w: Matrix, rows: number, cols: number): Lists {
  const pointers = new Uint32Array(rows + 1);
  let n = 0;
  for (let i = 0; i < w.length; i++) if (w[i] !== 0) n++;
  const inputs = new Uint32Array(n);
  n = 0;
  for (let r = 0; r < rows; r++) {
    for (let k = 0, at = r * cols; k < cols; k++, at++) if (w[at] !== 0) inputs[n++] = k;
    pointers[r + 1] = n;
  }
  return { pointers, inputs };
}

/** The positive weights of row r, list 2 r, and its negative ones, list 2 r + 1. */
export function listsOfSigns(w: Int8Array, rows: number, cols: number, nonzeros: number): Lists {
  const pointers = new Uint32Array(2 * rows + 1);
  const inputs = new Uint32Array(nonzeros);
  let n = 0;
  for (let list = 0; list < 2 * rows; list++) {
    const sign = list & 1 ? -1 : 1;
    for (let k = 0, at = (list >> 1) * cols; k < cols; k++, at++) if (sign * w[at] > 0) inputs[n++] = k;
    pointers[list + 1] = n;
  }
  return { pointers, inputs };
}

/** The lists of both signs of some rows. */
export const bothSigns = (rows: Uint32Array): Uint32Array =>
  Uint32Array.from({ length: 2 * rows.length }, (_, i) => 2 * rows[i >> 1] + (i & 1));

const NO_INPUT = 0xffffffff;

/**
 * The steps of some rows for the inputs below k1: each takes up to `each` next nonzeros of every row within 16 inputs of the
 * least next input of all. A window that slides keeps 82 % of the lanes busy at 70 % zeros, 73 % at 80, 56 % at 90; fixed
 * windows 60, 53 and 40.
 * @param next where each row stands in `inputs`; moved on
 * @param taken is told of every nonzero
 * @returns the number of steps
 */
export function schedule(
  { pointers, inputs }: Lists,
  rows: ArrayLike<number>,
  next: Uint32Array,
  k1: number,
  each: number,
  taken?: (step: number, base: number, row: number, slot: number, input: number) => void,
): number {
  for (let step = 0; ; step++) {
    let base = NO_INPUT;
    for (let r = 0; r < rows.length; r++) {
      if (next[r] < pointers[rows[r] + 1] && inputs[next[r]] < base) base = inputs[next[r]];
    }
    if (base >= k1) return step;
    const last = Math.min(k1, base + WINDOW);
    for (let r = 0; r < rows.length; r++) {
      const end = pointers[rows[r] + 1];
      for (let slot = 0; slot < each && next[r] < end && inputs[next[r]] < last; slot++) {
        taken?.(step, base, r, slot, inputs[next[r]]);
        next[r]++;
      }
    }
  }
}

/** Where some rows begin. */
export const starts = ({ pointers }: Lists, rows: ArrayLike<number>): Uint32Array =>
  Uint32Array.from(rows, (r) => pointers[r]);

/** The steps that some rows take. */
export const stepsIn = (lists: Lists, rows: ArrayLike<number>, each: number): number =>
  schedule(lists, rows, starts(lists, rows), NO_INPUT, each);

/** A profile has a point for so many inputs; candidates for the next row of a block. */
const EVERY = 64;
const LOOK = 256;
/** Long rows differ less from each other: with 4096 inputs all of this saves 1 % of the steps. */
const SHORT = 2048;

/**
 * The order of the rows in blocks of `height`, so that a block's rows advance through the inputs at one pace: the next row
 * is the nearest in profile (nonzeros up to every 64th input) among 256 with about as many nonzeros. Of random weights with
 * 768 inputs that saves 4 % of the steps; of rows that differ in density, more.
 * @param tries so many of the nearest are tried out, and the one that makes the fewest steps is taken: 8 save 2 to 3 % more
 * and make packing three times slower
 * @param steps of a block's rows
 */
export function arrange(
  lists: Lists,
  rows: number,
  cols: number,
  height: number,
  tries = 1,
  steps = (_block: Uint32Array): number => 0,
): Uint32Array {
  const { pointers, inputs } = lists;
  const points = Math.ceil(cols / EVERY);
  const profiles = new Float32Array(rows * points);
  for (let r = 0; r < rows; r++) {
    const at = r * points;
    for (let i = pointers[r]; i < pointers[r + 1]; i++) profiles[at + Math.floor(inputs[i] / EVERY)]++;
    for (let j = 1; j < points; j++) profiles[at + j] += profiles[at + j - 1];
  }
  const count = (r: number) => pointers[r + 1] - pointers[r];
  const pool = Array.from({ length: rows }, (_, r) => r).sort((a, b) => count(a) - count(b) || a - b);
  const order = new Uint32Array(rows);
  const mean = new Float32Array(points);
  tries = cols <= SHORT ? tries : 1;
  const near = { index: new Uint32Array(tries), distance: new Float64Array(tries) };
  for (let n = 0; n < rows; n++) {
    const inside = n % height;
    let best = 0;
    if (inside) {
      near.distance.fill(Number.POSITIVE_INFINITY);
      const found = Math.min(tries, pool.length);
      for (let i = 0; i < Math.min(LOOK, pool.length); i++) {
        const at = pool[i] * points;
        let distance = 0;
        const limit = near.distance[tries - 1];
        for (let j = 0; j < points && distance < limit; j++) distance += (profiles[at + j] - mean[j]) ** 2;
        let j = tries - 1;
        if (distance >= limit) continue;
        for (; j > 0 && near.distance[j - 1] > distance; j--) {
          near.distance[j] = near.distance[j - 1];
          near.index[j] = near.index[j - 1];
        }
        near.distance[j] = distance;
        near.index[j] = i;
      }
      best = near.index[0];
      let least = Number.POSITIVE_INFINITY;
      for (let i = 0; found > 1 && i < found; i++) {
        order[n] = pool[near.index[i]];
        const block = order.subarray(n - inside, n + 1);
        const taken = steps(block);
        if (taken < least) [least, best] = [taken, near.index[i]];
      }
    } else mean.fill(0);
    const [row] = pool.splice(best, 1);
    for (let j = 0; j < points; j++) mean[j] += (profiles[row * points + j] - mean[j]) / (inside + 1);
    order[n] = row;
  }
  return order;
}

/** Blocks that {@link estimateSteps} schedules. */
const SAMPLES = 4;

/**
 * Steps of a matrix [rows][cols] in blocks of 16 rows, one nonzero each, to 6 %: those of a few blocks of rows of about one
 * density, scheduled, and the others by their density. Density alone misses regular patterns: N:M of 1:16 takes half the steps
 * of random weights as dense, a step for every 16 inputs.
 * @param counts [rows], nonzeros
 */
export function estimateSteps(w: Matrix, cols: number, counts: Uint32Array): number {
  const rows = counts.length;
  const order = Uint32Array.from(Float64Array.from(counts, (n, r) => n * rows + r).sort(), (key) => key % rows);
  const blocks = Math.ceil(rows / 16);
  const samples = Math.min(SAMPLES, blocks);
  let total = 0;
  let expected = 0;
  let found = 0;
  for (let b = 0, sampled = 0; b < blocks; b++) {
    const mine = order.subarray(16 * b, 16 * b + 16);
    const density = cols ? mine.reduce((sum, r) => sum + counts[r], 0) / mine.length / cols : 0;
    // Fitted to packed random matrices from 0.5 to 100 % of nonzeros.
    const steps = cols * (density < 0.1 ? 0.53 * Math.sqrt(density) : 0.08 + 0.92 * density);
    total += steps;
    if (b < Math.floor(((sampled + 0.5) * blocks) / samples)) continue;
    sampled++;
    const part = new Float32Array(mine.length * cols);
    mine.forEach((r, i) => {
      part.set(w.subarray(r * cols, (r + 1) * cols), i * cols);
    });
    const lists = listsOfRows(part, mine.length, cols);
    const own = Uint32Array.from(mine, (_, i) => i);
    expected += steps;
    found += stepsIn(lists, own, 1);
  }
  return expected ? (total * found) / expected : 0;
}
