/** What operators hold of an engine, and its end. */
import { DisposedError } from '../errors.ts';
import type { KernelCall } from '../kernel/call.ts';
import type { Calibrated } from '../kernel/cost.ts';
import type { Kernels } from '../kernel/instance.ts';
import type { Arena } from '../memory/arena.ts';
import { checkApart, checkArray } from './arguments.ts';

/** What operators need of an engine. */
export interface OperatorHost {
  readonly info: Calibrated['info'] & { readonly deterministic: boolean };
  readonly arena: Arena;
  readonly kernels: Kernels;
  bind(calls: readonly KernelCall[]): () => void;
  guard<T>(run: () => T): T;
  check(): void;
}

/** Blocks of the engine's memory that one operator holds. Whoever makes them releases them, also when a constructor throws. */
export class Blocks {
  private readonly arena: Arena;
  private readonly blocks = new Map<number, number>();

  constructor(arena: Arena) {
    this.arena = arena;
  }

  /** Bytes held; 0 once released. */
  get bytes(): number {
    let sum = 0;
    for (const bytes of this.blocks.values()) sum += bytes;
    return sum;
  }

  /** @throws OutOfMemoryError */
  alloc(bytes: number): number {
    const at = this.arena.alloc(bytes);
    this.blocks.set(at, bytes);
    return at;
  }

  /** A block that holds this. @throws OutOfMemoryError */
  put({ data }: { readonly data: Uint8Array }): number {
    const at = this.alloc(data.length);
    this.arena.view('uint8', at, data.length).set(data);
    return at;
  }

  /** Frees one block, or all. */
  release(at?: number): void {
    for (const block of at === undefined ? [...this.blocks.keys()] : [at]) {
      this.arena.release(block);
      this.blocks.delete(block);
    }
  }
}

/** An operator with memory of its own, until it is disposed of. */
export abstract class Operator {
  protected readonly host: OperatorHost;
  protected readonly memory: Blocks;
  private disposed = false;

  protected constructor(host: OperatorHost) {
    host.check();
    this.host = host;
    this.memory = new Blocks(host.arena);
  }

  /** Bytes of the engine's memory that the operator holds: weights, inputs, outputs and scratch; 0 once disposed. */
  get bytes(): number {
    return this.memory.bytes;
  }

  /** Frees the memory. Calling it twice does no harm. */
  dispose(): void {
    if (this.disposed) return;
    this.disposed = true;
    this.memory.release();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @throws DisposedError; what the engine's check() throws */
  protected check(): void {
    if (this.disposed) throw new DisposedError('the operator');
    this.host.check();
  }

  /** Numbers in the engine's memory. @throws as check() does */
  protected view(at: number, length: number): Float32Array {
    this.check();
    return this.host.arena.view('float32', at, length);
  }
}

/** An operator that maps X of `columns` columns, and `cols` inputs each, to Y of `rows` outputs each. */
export abstract class ProductOperator extends Operator {
  abstract readonly rows: number;
  abstract readonly cols: number;
  abstract readonly columns: number;
  abstract readonly layout: 'features' | 'tokens';
  /** Where X and Y lie. */
  protected abstract readonly x: number;
  protected abstract readonly y: number;
  protected abstract readonly work: () => void;

  /** Where run() puts X. A view of the engine's memory: valid until that grows, which any allocation may do. */
  get input(): Float32Array {
    return this.view(this.x, this.cols * this.columns);
  }

  /** What the last run made. A view of the engine's memory: valid until that grows, which any allocation may do. */
  get output(): Float32Array {
    return this.view(this.y, this.rows * this.columns);
  }

  /** Maps what `input` holds; the result is in `output`. Nothing is copied. */
  execute(): void {
    this.check();
    this.host.guard(this.work);
  }

  /**
   * @param x in the operator's layout
   * @param out takes the result; must not share memory with x. Left out, a new array
   * @throws ArgumentTypeError, ArgumentRangeError for wrong arrays; DisposedError
   */
  run(x: Float32Array, out?: Float32Array): Float32Array {
    this.check();
    checkArray('x', x, this.cols * this.columns);
    if (out !== undefined) {
      checkArray('out', out, this.rows * this.columns);
      checkApart(x, out);
    }
    this.input.set(x);
    this.host.guard(this.work);
    if (!out) return this.output.slice();
    out.set(this.output);
    return out;
  }
}
