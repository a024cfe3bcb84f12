import { DisposedError, OutOfMemoryError } from '../errors.ts';
import { ARRAYS, type DataOf, type DType } from '../tensor.ts';

/** Every block starts on a cache line. */
export const ALIGN = 64;

const PAGE = 65536;
/**
 * Memory ends well below 2^32: kernels go on to the next panel or channel, up to its stride past the end, before they see
 * that they are done, and an address that wrapped would look like one to go on from.
 */
const TOP = 2 ** 32 - 2 ** 28;

/** What the arena needs of a WebAssembly.Memory; tests hand in a mock to go past what a machine has. */
export interface GrowableMemory {
  readonly buffer: ArrayBufferLike;
  grow(pages: number): number;
}

/** Rounds up to a multiple of {@link ALIGN}. Plain arithmetic: bit operations would wrap at 2^31. */
export const align = (bytes: number): number => Math.ceil(bytes / ALIGN) * ALIGN;

/**
 * The only owner of a WebAssembly.Memory. Hands out byte offsets, never views: a view dies when the memory grows.
 * First fit over a sorted free list, neighbours merged when freed; blocks are few and large (weights, workspaces).
 */
export class Arena {
  private memory: GrowableMemory;
  /** The most bytes the memory may have. */
  readonly limit: number;
  private free: { at: number; bytes: number }[];
  private blocks = new Map<number, number>();
  private end: number;
  private disposed = false;
  /** What the memory's buffer is and was: shared memory that grew leaves earlier views alive. */
  private buffers = new WeakSet<ArrayBufferLike>();

  /**
   * @param memory the module's memory
   * @param base first byte the arena may use; 0 stays unused so that no block has the address 0
   * @param limit bytes, rounded down to pages of 65536; 3.75 GiB at most
   */
  constructor(memory: GrowableMemory, base = 1024, limit = TOP) {
    this.memory = memory;
    // Whole pages: the room that is left must be room that can be had.
    this.limit = Math.floor(Math.min(limit, TOP) / PAGE) * PAGE;
    this.end = memory.buffer.byteLength;
    this.buffers.add(memory.buffer);
    this.free = this.end > base ? [{ at: align(base), bytes: this.end - align(base) }] : [];
  }

  /**
   * Reserves a block.
   * @param bytes size; 0 gives a block too
   * @returns its offset, a multiple of 64
   * @throws OutOfMemoryError when the memory cannot grow that far; nothing changes then
   */
  alloc(bytes: number): number {
    if (this.disposed) throw new DisposedError('memory');
    const size = align(Math.max(bytes, 1));
    let i = this.free.findIndex((f) => f.bytes >= size);
    if (i < 0) {
      this.grow(size);
      i = this.free.length - 1;
    }
    const block = this.free[i];
    const at = block.at;
    if (block.bytes === size) this.free.splice(i, 1);
    else this.free[i] = { at: at + size, bytes: block.bytes - size };
    this.blocks.set(at, size);
    return at;
  }

  /** Gives a block back. Unknown offsets are ignored, so a double dispose does no harm. */
  release(at: number): void {
    const bytes = this.blocks.get(at);
    if (bytes === undefined) return;
    this.blocks.delete(at);
    let i = this.free.findIndex((f) => f.at > at);
    if (i < 0) i = this.free.length;
    this.free.splice(i, 0, { at, bytes });
    this.merge(i);
    if (i > 0) this.merge(i - 1);
  }

  /** A typed view of part of the memory. Valid until the next alloc: use it at once, never keep it. */
  view<T extends DType>(type: T, at: number, length: number): DataOf<T> {
    if (this.disposed) throw new DisposedError('memory');
    return new ARRAYS[type](this.memory.buffer as ArrayBuffer, at, length) as DataOf<T>;
  }

  /** Whether a view is one of this memory, also from before it grew. */
  owns(view: ArrayBufferView): boolean {
    return this.buffers.has(view.buffer);
  }

  /** Bytes in live blocks. */
  get used(): number {
    let sum = 0;
    for (const bytes of this.blocks.values()) sum += bytes;
    return sum;
  }

  /** Bytes of the whole memory. */
  get size(): number {
    return this.disposed ? 0 : this.memory.buffer.byteLength;
  }

  dispose(): void {
    this.disposed = true;
    this.blocks.clear();
    this.free = [];
    // Drops the only reference: the memory goes with its instance.
    this.memory = { buffer: new ArrayBuffer(0), grow: () => -1 };
  }

  private merge(i: number): void {
    const [a, b] = [this.free[i], this.free[i + 1]];
    if (b && a.at + a.bytes === b.at) this.free.splice(i, 2, { at: a.at, bytes: a.bytes + b.bytes });
  }

  private grow(size: number): void {
    const last = this.free[this.free.length - 1];
    const open = last && last.at + last.bytes === this.end ? last : undefined;
    const needed = (open ? open.at : align(this.end)) + size;
    if (!(needed <= this.limit)) throw new OutOfMemoryError(needed, this.limit);
    // At least 1 MiB at a time: each growth may move the memory. Falls back to the exact need near the engine's limit.
    const least = Math.ceil((needed - this.end) / PAGE);
    const roomy = Math.min(Math.max(least, 16), Math.floor((this.limit - this.end) / PAGE));
    if (!this.tryGrow(roomy) && !this.tryGrow(least)) throw new OutOfMemoryError(needed, this.limit);
    const end = this.memory.buffer.byteLength;
    this.buffers.add(this.memory.buffer);
    if (open) open.bytes = end - open.at;
    else this.free.push({ at: align(this.end), bytes: end - align(this.end) });
    this.end = end;
  }

  private tryGrow(pages: number): boolean {
    try {
      return this.memory.grow(pages) >= 0;
    } catch {
      return false;
    }
  }
}
