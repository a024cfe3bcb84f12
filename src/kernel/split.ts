/**
 * Cuts kernel calls into chunks that threads may run at once, such that results are those of one thread bit for bit: the same
 * tiles, the same order of additions, every float written once by one thread.
 *
 * - Calls along columns (products, and what fills and empties their panels) are cut at the same columns, at multiples of
 *   their tiles. So a chunk reads only columns that it wrote itself, and calls that follow each other share a phase.
 * - Products of few columns are cut into groups of output channels of equal weight, which their packed headers tell
 *   (src/pack/spmm.ts, int8.ts); those that write rows of an image side by side, into runs of calls. Kernels for few tokens
 *   are cut into blocks of outputs in the same way (`split-packed.ts`).
 * - Other kernels have a row in the table of `split-table.ts`. What has none runs on one thread.
 *
 * Packed weights must be in place when a call is cut. Within one list of calls, a gather reads nothing that the list wrote.
 */
import type { KernelCall } from './call.ts';
import { blockCall } from './split-packed.ts';
import { type ColumnCall, columnCall, type PackedProduct, type Panels, singleCall } from './split-table.ts';
import { turn } from './turn.ts';

/** Calls to be run in order by one thread. */
export type Chunk = readonly KernelCall[];
/** Chunks that may run at once. Phases follow each other. */
export type Phase = readonly Chunk[];

export interface SplitContext {
  readonly threads: number;
  /** The memory that packed weights are in. */
  view(at: number, bytes: number): Uint8Array;
  /** Address of a block that stays; for kernels with scratch memory, one a chunk. */
  scratch(bytes: number): number;
}

/** Below this, waking others costs more than it brings. */
const WORTH_NS = 20_000;
/** And below this where threads write into each other's cache lines: 768x3072 int8, 40 us on one thread and 44 on two. */
const WORTH_SCATTERING_NS = 50_000;
/** A chunk's least work: taking one costs some 0.2 us. */
const CHUNK_NS = 5_000;
/** More chunks than threads even out what one thread is late. */
const CHUNKS_PER_THREAD = 4;
/** Fine enough to be even within 2 %. */
const UNITS_PER_PART = 48;
/** A chunk's most work: who holds one for long cannot be told from who is lost. */
const MOST_NS = 20_000_000;

/** The most chunks for so much work. */
const chunksFor = (ns: number, threads: number): number =>
  ns < WORTH_NS ? 1 : Math.max(1, Math.min(threads * CHUNKS_PER_THREAD, Math.floor(ns / CHUNK_NS)));

/** The fewest. */
const leastFor = (ns: number): number => Math.max(2, Math.ceil(ns / MOST_NS));

/**
 * Ends of `parts` runs of units, as even as they can be.
 * @param weights what each unit weighs
 */
function evenly(weights: readonly number[], parts: number): number[] {
  const total = weights.reduce((a, b) => a + b, 0);
  const ends: number[] = [];
  let sum = 0;
  weights.forEach((w, i) => {
    // A unit goes to the run in which most of it lies.
    if (ends.length < parts - 1 && i > 0 && sum + w / 2 > ((ends.length + 1) * total) / parts) ends.push(i);
    sum += w;
  });
  return [...ends, weights.length];
}

/** A thread's share of the work in runs that shrink: first most of it, then what others may take when they are done sooner. */
const SHRINKING = [[2 / 3, 8 / 9], [3 / 4]];

/**
 * Ends of runs, an equal number for each thread's share: one is most of it, so that threads meet the same data in one call after
 * the other; the rest evens out what one is late, since a core may also be another's (a neighbour on the host took a third
 * of one of two for minutes). Undefined where there are too few units, or too little work for so many runs.
 */
function shares(weights: readonly number[], threads: number, most: number): number[] | undefined {
  const bounds = evenly(weights, threads);
  if (threads > most || bounds.length < threads) return undefined;
  cuts: for (const parts of SHRINKING) {
    if ((parts.length + 1) * threads > most) continue;
    const ends: number[] = [];
    let from = 0;
    for (const to of bounds) {
      if (to - from <= parts.length) continue cuts;
      const share = weights.slice(from, to).reduce((a, b) => a + b, 0);
      let sum = 0;
      let at = from;
      for (const [i, part] of parts.entries()) {
        // At least one unit for this run, and one for each that follows.
        do sum += weights[at++];
        while (at < to - (parts.length - i) && sum + weights[at] / 2 < part * share);
        ends.push(at);
      }
      ends.push(to);
      from = to;
    }
    return ends;
  }
  return bounds;
}

/** Work of the busiest thread when each takes a run, in its {@link turn}, whenever it is free. */
function span(weights: readonly number[], ends: readonly number[], threads: number): number {
  const busy = new Array<number>(threads).fill(0);
  const count = ends.length;
  const taken = new Array<boolean>(count).fill(false);
  for (let n = 0; n < count; n++) {
    const thread = busy.indexOf(Math.min(...busy));
    let run = -1;
    for (let i = 0; run < 0 || taken[run]; i++) run = turn(i, thread, threads, count);
    taken[run] = true;
    for (let u = run ? ends[run - 1] : 0; u < ends[run]; u++) busy[thread] += weights[u];
  }
  return Math.max(...busy);
}

/** The runs that end soonest; equal ones: shares of the threads, then the fewest. */
function schedule(
  weights: readonly number[],
  ns: number,
  threads: number,
  most = chunksFor(ns, threads),
): { ends: number[]; span: number } {
  const total = weights.reduce((a, b) => a + b, 0);
  let best = { ends: [weights.length], span: total };
  const least = Math.min(leastFor(ns), weights.length);
  for (let parts = least; parts <= Math.min(Math.max(most, least), weights.length); parts++) {
    const ends = evenly(weights, parts);
    const time = span(weights, ends, threads);
    if (time < best.span * 0.995) best = { ends, span: time };
  }
  // A whole share is not too much for a run.
  const ends = ns < threads * MOST_NS ? shares(weights, threads, most) : undefined;
  if (best.ends.length < 2 || !ends) return best;
  const time = span(weights, ends, threads);
  return time < best.span * 1.02 ? { ends, span: time } : best;
}

/** Cuts a list of calls, to be run in order. */
export function splitCalls(calls: readonly KernelCall[], ctx: SplitContext): Phase[] {
  const phases: Phase[] = [];
  let group: ColumnCall[] = [];
  const flush = () => {
    if (group.length) phases.push(...splitColumns(group, ctx));
    group = [];
  };
  for (const call of calls) {
    const along = columnCall(call);
    if (along) {
      if (group.length && (group[0].panels !== along.panels || reshaped(group, along))) flush();
      group.push(along);
    } else {
      flush();
      phases.push(splitBlocks(call, ctx) ?? splitSingle(call, ctx));
    }
  }
  flush();
  // Neighbours that one thread runs anyway need no barrier.
  const merged: Phase[] = [];
  for (const phase of phases) {
    const last = merged[merged.length - 1];
    if (last?.length === 1 && phase.length === 1) merged[merged.length - 1] = [[...last[0], ...phase[0]]];
    else merged.push(phase);
  }
  return merged;
}

/** Whether a call uses scratch memory in another shape than calls of the group, whose columns lie elsewhere in it then. */
function reshaped(group: readonly ColumnCall[], { scratches = [] }: ColumnCall): boolean {
  const differ = ([a, aEnd, s]: Panels, [b, bEnd, t]: Panels) =>
    a < bEnd && b < aEnd && (s !== t || Math.abs(a - b) >= s);
  return scratches.some((s) => group.some((c) => c.scratches?.some((t) => differ(s, t))));
}

/** Undefined for calls that are not cut by blocks of outputs. */
function splitBlocks(call: KernelCall, ctx: SplitContext): Phase | undefined {
  const blocks = blockCall(call, ctx.view);
  if (!blocks || chunksFor(blocks.ns, ctx.threads) < 2) return undefined;
  if (blocks.scatters && blocks.ns < WORTH_SCATTERING_NS) return undefined;
  const { ends } = schedule(blocks.weights, blocks.ns, ctx.threads);
  if (ends.length < 2) return undefined;
  let from = 0;
  return ends.map((end) => {
    const args = blocks.part(from, end);
    from = end;
    return [{ kernel: call.kernel, args }];
  });
}

function splitSingle(call: KernelCall, ctx: SplitContext): Phase {
  const s = singleCall(call);
  const most = s ? chunksFor(s.ns, ctx.threads) : 1;
  if (!s || most < 2) return [[call]];
  // Scratch is a copy a chunk: few of them stay in the caches.
  const parts = s.scratch ? Math.min(most, ctx.threads * 2) : most;
  // Scheduling looks at every unit for every number of parts: 20 million floats would take seconds.
  const align =
    s.align * Math.max(1, Math.floor(s.units / s.align / (UNITS_PER_PART * Math.max(parts, leastFor(s.ns)))));
  const units = Math.ceil(s.units / align);
  const { ends } = schedule(new Array<number>(units).fill(1), s.ns, ctx.threads, parts);
  if (ends.length < 2) return [[call]];
  const bytes = Math.ceil((s.scratch ?? 0) / 64) * 64;
  const scratch = bytes ? ctx.scratch(bytes * ends.length) : 0;
  let from = 0;
  return ends.map((end, i) => {
    const to = Math.min(end * align, s.units);
    const args = s.part(from, to, scratch + i * bytes);
    from = to;
    return [{ kernel: call.kernel, args }];
  });
}

const gcd = (a: number, b: number): number => (b ? gcd(b, a % b) : a);

/** Kernels take what is left after a cut as they would without it, if it is at least so many columns. */
const LEAST_TAIL = 8;

function splitColumns(group: readonly ColumnCall[], ctx: SplitContext): Phase[] {
  const ns = group.reduce((sum, c) => sum + c.ns, 0);
  const most = chunksFor(ns, ctx.threads);
  const whole = [group.map((c) => c.call)];
  if (most < 2) return [whole];
  const columns = Math.min(...group.map((c) => c.columns));
  const tile = group.reduce((lcm, c) => (lcm * c.tile) / gcd(lcm, c.tile), 16);
  const units: number[] = [];
  for (let at = 0; at < columns; at += tile) {
    const width = columns - at < tile + LEAST_TAIL ? columns - at : tile;
    units.push(width);
    if (width > tile || at + width === columns) break;
  }
  const { ends, span: longest } = schedule(units, ns, ctx.threads);
  const even = (longest * ctx.threads) / columns;
  if (even > 1.1) {
    const others = splitProducts(group, ctx);
    if (others) return others;
  }
  if (ends.length < 2) return [whole];
  let from = 0;
  // Calls of a chunk follow each other, so they may use the same.
  const bytes = Math.max(...group.map((c) => c.scratch ?? 0));
  const scratch = bytes ? ctx.scratch(bytes * ends.length) : 0;
  return [
    ends.map((end, i) => {
      const last = i === ends.length - 1;
      const part = group.map((c) => c.cut(from, last ? Number.POSITIVE_INFINITY : end * tile, scratch + i * bytes));
      from = end * tile;
      return part;
    }),
  ];
}

/** A group cut call by call: products by output channels or by runs of calls, the rest by their own rows of the table. */
function splitProducts(group: readonly ColumnCall[], ctx: SplitContext): Phase[] | undefined {
  const phases: Phase[] = [];
  let products: Product[] = [];
  let gained = false;
  const flush = () => {
    if (!products.length) return;
    const phase = byRuns(products, ctx) ?? byRows(products, ctx);
    gained ||= phase !== undefined;
    phases.push(phase ?? [products.map((p) => p.call)]);
    products = [];
  };
  for (const c of group) {
    const p = c.product ? readProduct(c, c.product, ctx) : undefined;
    if (!p) {
      flush();
      phases.push(splitSingle(c.call, ctx));
      gained ||= phases[phases.length - 1].length > 1;
      continue;
    }
    // What an earlier product of the group wrote must be there before this one reads it, and sums are used by one Y at a time.
    if (products.some((q) => (p.x >= q.y && p.x < q.yEnd) || ((p.sums || q.sums) && p.y !== q.y))) flush();
    products.push(p);
  }
  flush();
  return gained ? phases : undefined;
}

/** A product call with its rows, read from the packed headers. */
interface Product extends PackedProduct {
  readonly call: KernelCall;
  readonly ns: number;
  readonly columns: number;
  readonly yEnd: number;
  /** Address of each group's header, and of the end. */
  readonly heads: readonly number[];
}

/** Undefined when the weights are not what a packed segment looks like. */
function readProduct({ call, ns, columns }: ColumnCall, p: PackedProduct, ctx: SplitContext): Product | undefined {
  const { from, to, y } = p;
  const bytes = ctx.view(from, to - from);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const heads: number[] = [];
  let at = 0;
  while (at < to - from) {
    heads.push(from + at);
    const size = at + p.header <= to - from ? p.size(view, at) : 0;
    if (size < p.header) return undefined;
    at += size;
  }
  if (at !== to - from) return undefined;
  const rows = heads.length * p.channels;
  const yEnd = y + (Math.ceil(columns / 16) - 1) * p.yPanelStride + (rows - 1) * p.yChannelStride + p.yTail;
  return { ...p, call, ns, columns, yEnd, heads: [...heads, to] };
}

/** Groups of output channels of equal weight, the same in every block of inputs. */
function byRows(products: readonly Product[], ctx: SplitContext): Phase | undefined {
  const ns = products.reduce((sum, p) => sum + p.ns, 0);
  if (chunksFor(ns, ctx.threads) < 2) return undefined;
  const [{ y: base, yChannelStride }] = products;
  // Bytes of weights of each group, by its first output channel, over all blocks of inputs.
  const weights = new Map<number, number>();
  const firstRows = products.map((p) => (p.y - base) / yChannelStride);
  for (const [i, p] of products.entries()) {
    const first = firstRows[i];
    if (p.yChannelStride !== yChannelStride || !Number.isInteger(first) || first < 0) return undefined;
    for (let g = 0; g + 1 < p.heads.length; g++) {
      const row = first + g * p.channels;
      weights.set(row, (weights.get(row) ?? 0) + p.heads[g + 1] - p.heads[g]);
    }
  }
  // A cut must not fall inside a group of any product: an addition to its rows would not wait for the product before it.
  const whole = (row: number) =>
    products.every(({ heads, channels }, i) => {
      const [from, to] = [firstRows[i], firstRows[i] + (heads.length - 1) * channels];
      return row <= from || row >= to || (row - from) % channels === 0;
    });
  const rows: number[] = [];
  for (const row of [...weights.keys()].sort((a, b) => a - b)) {
    const last = rows[rows.length - 1];
    if (!rows.length || whole(row)) rows.push(row);
    else weights.set(last, weights.get(last)! + weights.get(row)!);
  }
  const { ends } = schedule(
    rows.map((r) => weights.get(r)!),
    ns,
    ctx.threads,
  );
  if (ends.length < 2) return undefined;
  let from = 0;
  return ends.map((end) => {
    const low = rows[from];
    const high = end < rows.length ? rows[end] : Number.POSITIVE_INFINITY;
    from = end;
    return products.flatMap((p, i) => {
      const groups = p.heads.length - 1;
      const g0 = Math.min(Math.max(0, Math.ceil((low - firstRows[i]) / p.channels)), groups);
      const g1 = Math.min(Math.max(0, Math.ceil((high - firstRows[i]) / p.channels)), groups);
      if (g0 >= g1) return [];
      return [{ kernel: p.call.kernel, args: p.part(g0, p.heads[g0], p.heads[g1]) }];
    });
  });
}

/** Products that write rows of an image, side by side in each plain channel: runs of calls. */
function byRuns(products: readonly Product[], ctx: SplitContext): Phase | undefined {
  const [first] = products;
  const units: Product[][] = [];
  let offset = Number.NaN;
  for (const p of products) {
    const at = p.y % p.yChannelStride;
    const alike = p.yChannelStride === first.yChannelStride && p.adds === first.adds && p.yPanelStride === 64;
    if (!alike || p.sums) return undefined;
    if (at === offset) units[units.length - 1].push(p);
    else units.push([p]);
    offset = at;
  }
  if (units.length < 2 * ctx.threads) return undefined;
  // Each unit has its own stretch of every channel.
  const starts = units.map(([p]) => (p.y - first.y + p.yChannelStride) % p.yChannelStride).sort((a, b) => a - b);
  starts.push(starts[0] + first.yChannelStride);
  if (units.some((_, i) => starts[i + 1] - starts[i] < 4 * first.columns)) return undefined;
  const weights = units.map((u) => u.reduce((sum, p) => sum + p.ns, 0));
  const ns = weights.reduce((a, b) => a + b, 0);
  const { ends } = schedule(weights, ns, ctx.threads);
  if (ends.length < 2) return undefined;
  let from = 0;
  return ends.map((end) => {
    const run = units.slice(from, end).flatMap((u) => u.map((p) => p.call));
    from = end;
    return run;
  });
}
