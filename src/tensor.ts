import { ArgumentRangeError, ArgumentTypeError } from './errors.ts';

/** The element types, with the typed array that carries each. `bool` is one byte, 0 or 1; `float16` is raw bits. */
export const ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
} as const;

export type DType = keyof typeof ARRAYS;

/** The typed arrays, over any kind of buffer. */
interface Data {
  float32: Float32Array;
  float64: Float64Array;
  float16: Uint16Array;
  int8: Int8Array;
  uint8: Uint8Array;
  int16: Int16Array;
  uint16: Uint16Array;
  int32: Int32Array;
  uint32: Uint32Array;
  int64: BigInt64Array;
  uint64: BigUint64Array;
  bool: Uint8Array;
}
export type DataOf<T extends DType> = Data[T];
export type TensorData = DataOf<DType>;

/** @throws ArgumentTypeError unless it is an element type */
export function checkType(type: unknown, argument: string): asserts type is DType {
  if (typeof type !== 'string' || !Object.hasOwn(ARRAYS, type))
    throw new ArgumentTypeError(argument, `one of ${Object.keys(ARRAYS).join(', ')}`, type);
}

/** Bytes of one element. */
export const bytesOf = (type: DType): number => ARRAYS[type].BYTES_PER_ELEMENT;

/**
 * The number of elements of a shape. Computed in doubles, so it cannot wrap.
 * @throws ArgumentRangeError when a dimension is negative, fractional, or the product passes 2^53.
 */
export function sizeOf(dims: readonly number[], argument = 'dims'): number {
  let size = 1;
  for (const d of dims) {
    if (!Number.isInteger(d) || d < 0) throw new ArgumentRangeError(argument, 'integers >= 0', dims);
    size *= d;
  }
  if (size > Number.MAX_SAFE_INTEGER) throw new ArgumentRangeError(argument, 'a size below 2^53', dims);
  return size;
}

/** Whether it has what a tensor has, of whatever bundle: one that was posted to a worker is a plain object. */
export const isTensor = (x: unknown): x is Tensor =>
  typeof x === 'object' && x !== null && 'type' in x && 'data' in x && 'dims' in x;

/** A shape and type without the data. */
export interface TensorType {
  readonly type: DType;
  readonly dims: readonly number[];
}

/**
 * A dense, row-major tensor on the JavaScript heap; shaped like onnxruntime's, so code moves over unchanged.
 * `data` is not copied.
 */
export class Tensor<T extends DType = DType> implements TensorType {
  static readonly name: string = 'Tensor';
  readonly type: T;
  readonly data: DataOf<T>;
  readonly dims: readonly number[];

  /**
   * @param type element type, e.g. `'float32'`
   * @param data the matching typed array, or an array of numbers (bigints for 64-bit integers) that is converted
   * @param dims shape; left out, the tensor is one-dimensional
   * @throws ArgumentTypeError for an unknown type or the wrong array; ArgumentRangeError when sizes differ
   */
  constructor(
    type: T,
    data: DataOf<T> | readonly number[] | readonly bigint[] | readonly boolean[],
    dims?: readonly number[],
  ) {
    checkType(type, 'type');
    const A = ARRAYS[type];
    if (Array.isArray(data)) {
      try {
        this.data = new A(data as never) as DataOf<T>;
      } catch {
        throw new ArgumentTypeError('data', `values for ${type}`, data);
      }
    } else if (data instanceof A) this.data = data as DataOf<T>;
    else throw new ArgumentTypeError('data', A.name, data);
    const shape = dims ?? [this.data.length];
    if (!Array.isArray(shape)) throw new ArgumentTypeError('dims', 'an array of integers', dims);
    const size = sizeOf(shape);
    if (size !== this.data.length) {
      throw new ArgumentRangeError('data', `${size} elements for dims [${shape}]`, this.data);
    }
    this.type = type;
    this.dims = Object.freeze([...shape]);
  }

  /** Number of elements. */
  get size(): number {
    return this.data.length;
  }

  /** A zero-filled tensor. */
  static zeros<T extends DType>(type: T, dims: readonly number[]): Tensor<T> {
    checkType(type, 'type');
    if (!Array.isArray(dims)) throw new ArgumentTypeError('dims', 'an array of integers', dims);
    return new Tensor(type, new ARRAYS[type](sizeOf(dims)) as DataOf<T>, dims);
  }
}

/** A tensor of each type: `type` says which `data` has. */
export type AnyTensor = { [T in DType]: Tensor<T> }[DType];
