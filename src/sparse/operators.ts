/** Products with sparse matrices for people who bring their own graph. */
import { ArgumentRangeError, checkOptions } from '../errors.ts';
import { checkArray } from './arguments.ts';
import { type Operand, readOperand } from './composite.ts';
import { type OperatorHost, ProductOperator } from './operator.ts';
import { type Activations, Products, readTask } from './products.ts';

export { AdaptedOperator } from './adapted.ts';
export { Int8Operator } from './chain.ts';
export { SddmmOperator, sddmm } from './sddmm.ts';

export interface SpmmOptions {
  /** [rows], added before the limits. */
  bias?: Float32Array;
  /** Limits of the result; none where not given. */
  min?: number;
  max?: number;
  /** `features`: X is [cols][columns] and Y [rows][columns]. `tokens`: X is [columns][cols] and Y [columns][rows]. */
  layout?: 'features' | 'tokens';
  /**
   * `float32`, the default. The last bit of a column may depend on its place among the others, since the odd one out may be
   * summed in another order. An int8 matrix is multiplied as the numbers it stands for; for few columns of a large one the scale of a
   * row is multiplied last, so 127 times the sum of a row's |x| must be finite in f32.
   *
   * `int8` and `uint7` quantise X, with a scale for each column, and multiply an int8 matrix in integers, exactly. Results are
   * the same on every machine, instruction set and number of threads, and those of a column do not depend on the others. A
   * column with NaN or infinities gives NaN. The magnitudes of a row's integers may be 2^31 / 127 together: 133144 of 127.
   *
   * - `int8`: the largest magnitude is 127 steps.
   * - `uint7`: from the least to the greatest value, and 0, are 127 steps. Twice as coarse as `int8` where values have both
   *   signs (1.4 % of error in Y instead of 0.8, of normal values), as fine after a ReLU (0.7 %). Never taken unless asked for,
   *   since it loses a bit. With relaxed SIMD and many columns it takes 0.8 to 0.9 of the time of `int8` (trained weights;
   *   groups or dense rows of mostly large ones, longer); elsewhere as long, with the same bits.
   */
  activations?: Activations;
}

export interface PrepareOptions extends SpmmOptions {
  /** Columns of X: pixels or tokens. */
  columns: number;
}

/** Y = clamp(W X + bias) for one W and one number of columns, with its memory: packed once, run many times. */
export class SpmmOperator extends ProductOperator {
  static override readonly name: string = 'SpmmOperator';
  readonly rows: number;
  readonly cols: number;
  readonly columns: number;
  readonly layout: 'features' | 'tokens';
  /** Name of the kernel that does the work, and its weight format. */
  readonly kernel: string;
  readonly format: string;
  /** Bytes of packed weights. */
  readonly weightBytes: number;
  private readonly products: Products;
  protected readonly x: number;
  protected readonly y: number;
  protected readonly work: () => void;

  /**
   * @internal Made by Engine.prepare.
   * @param once it runs once: packed in the shortest time, not for the shortest run
   */
  constructor(host: OperatorHost, w: Operand, options: PrepareOptions, once = false) {
    super(host);
    const task = readTask(w, options);
    const { rows, cols } = task.w;
    const { columns } = task;
    this.rows = rows;
    this.cols = cols;
    this.columns = columns;
    this.layout = task.layout;
    this.products = new Products(host, this.memory, columns);
    try {
      this.x = this.memory.alloc(4 * cols * columns);
      this.y = this.memory.alloc(4 * rows * columns);
      const plan = this.products.plan(task, this.x, this.y, once);
      this.kernel = plan.kernel;
      this.format = plan.format;
      this.weightBytes = plan.weightBytes;
      this.work = host.bind([...plan.product, ...plan.finish]);
    } catch (error) {
      this.memory.release();
      throw error;
    }
  }
}

/** One product: engine.spmm. */
export function spmm(
  host: OperatorHost,
  w: Operand,
  x: Float32Array,
  options: SpmmOptions & { columns?: number; out?: Float32Array } = {},
): Float32Array {
  host.check();
  const { cols } = readOperand(w, 'w');
  checkArray('x', x);
  checkOptions(options);
  const columns = options.columns ?? (cols ? x.length / cols : 0);
  if (!Number.isInteger(columns)) throw new ArgumentRangeError('x', `a multiple of ${cols} values`, x);
  const operator = new SpmmOperator(host, w, { ...options, columns }, true);
  try {
    return operator.run(x, options.out);
  } finally {
    operator.dispose();
  }
}
