import type { Arena } from '../memory/arena.ts';

/** Blocks of the engine's memory that one operator holds. */
export class Blocks {
  private readonly arena: Arena;
  private readonly list: number[] = [];
  /** Bytes held; 0 once released. */
  bytes = 0;

  constructor(arena: Arena) {
    this.arena = arena;
  }

  /** @throws OutOfMemoryError */
  alloc(bytes: number): number {
    const at = this.arena.alloc(bytes);
    this.list.push(at);
    this.bytes += bytes;
    return at;
  }

  /** A block that holds this. @throws OutOfMemoryError */
  put(data: Uint8Array): number {
    const at = this.alloc(data.length);
    this.arena.view('uint8', at, data.length).set(data);
    return at;
  }

  release(): void {
    for (const at of this.list) this.arena.release(at);
    this.list.length = 0;
    this.bytes = 0;
  }
}
