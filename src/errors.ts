/**
 * Every error this package throws on purpose. All carry a stable `code`, so callers can branch without parsing text.
 * Wrong types and values of plain arguments use {@link ArgumentTypeError} (a TypeError) and {@link ArgumentRangeError}
 * (a RangeError); everything else extends {@link SparsimdError}. Names of public classes are
 * literals, here and elsewhere: minifiers rename classes, and messages and what prints errors show their names.
 */

export class SparsimdError extends Error {
  static override readonly name: string = 'SparsimdError';
  readonly code: string;
  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** The engine lacks something this package needs (SIMD, dynamic compilation, a file system …). */
export class UnsupportedError extends SparsimdError {
  static override readonly name: string = 'UnsupportedError';
  constructor(message: string, options?: ErrorOptions) {
    super('UNSUPPORTED', message, options);
  }
}

/** The WebAssembly module or a model could not be fetched or read; or the module is none, or of another version. */
export class AssetError extends SparsimdError {
  static override readonly name: string = 'AssetError';
  constructor(message: string, options?: ErrorOptions) {
    super('ASSET', message, options);
  }
}

/** A model file is truncated, corrupt or inconsistent. `where` names the place: a node, a tensor, a byte offset. */
export class ModelFormatError extends SparsimdError {
  static override readonly name: string = 'ModelFormatError';
  readonly where: string;
  constructor(where: string, message: string, options?: ErrorOptions) {
    super('MODEL_FORMAT', `${where}: ${message}`, options);
    this.where = where;
  }
}

/** An operator, or one of its attributes or types, that is not implemented. */
export class UnsupportedOpError extends SparsimdError {
  static override readonly name: string = 'UnsupportedOpError';
  readonly op: string;
  readonly node: string;
  constructor(op: string, node: string, reason: string) {
    super('UNSUPPORTED_OP', `operator ${op} (node "${node}"): ${reason}`);
    this.op = op;
    this.node = node;
  }
}

/** A model input is missing, unknown, or has the wrong shape or type. `input` is its name. */
export class InputError extends SparsimdError {
  static override readonly name: string = 'InputError';
  readonly input: string;
  constructor(input: string, message: string) {
    super('INPUT', `input "${input}": ${message}`);
    this.input = input;
  }
}

/** A sparse structure is malformed: pointers not monotone, an index out of range, a length that does not fit. */
export class SparseFormatError extends SparsimdError {
  static override readonly name: string = 'SparseFormatError';
  constructor(message: string) {
    super('SPARSE_FORMAT', message);
  }
}

/** A data file (.npy, .npz, .mtx) is truncated, corrupt or of a kind that is not read. `where` names the place. */
export class FileFormatError extends SparsimdError {
  static override readonly name: string = 'FileFormatError';
  readonly where: string;
  constructor(where: string, message: string, options?: ErrorOptions) {
    super('FILE_FORMAT', `${where}: ${message}`, options);
    this.where = where;
  }
}

/** The WebAssembly memory cannot grow to what is needed. Nothing was lost: the engine stays usable. */
export class OutOfMemoryError extends SparsimdError {
  static override readonly name: string = 'OutOfMemoryError';
  /** Total bytes the memory would have needed. */
  readonly needed: number;
  /** The most bytes it may have. */
  readonly limit: number;
  constructor(needed: number, limit: number) {
    super('OUT_OF_MEMORY', `WebAssembly memory: needed ${needed} bytes, the limit is ${limit}`);
    this.needed = needed;
    this.limit = limit;
  }
}

/** A worker thread could not be started, or was lost in the middle of a run. It is replaced; the next run works. */
export class WorkerError extends SparsimdError {
  static override readonly name: string = 'WorkerError';
  constructor(message: string, options?: ErrorOptions) {
    super('WORKER', message, options);
  }
}

/** The engine or model was used after dispose(). */
export class DisposedError extends SparsimdError {
  static override readonly name: string = 'DisposedError';
  constructor(what: string) {
    super('DISPOSED', `${what} was used after dispose()`);
  }
}

/** An argument of the wrong type: `"arg" expected X, got Y`. */
export class ArgumentTypeError extends TypeError {
  static override readonly name: string = 'ArgumentTypeError';
  readonly code = 'ARGUMENT_TYPE';
  constructor(argument: string, expected: string, got: unknown) {
    super(`"${argument}" expected ${expected}, got ${describe(got)}`);
    this.name = new.target.name;
  }
}

/** An argument of the right type and wrong value: `"arg" expected X, got Y`. */
export class ArgumentRangeError extends RangeError {
  static override readonly name: string = 'ArgumentRangeError';
  readonly code = 'ARGUMENT_RANGE';
  constructor(argument: string, expected: string, got: unknown) {
    super(`"${argument}" expected ${expected}, got ${describe(got)}`);
    this.name = new.target.name;
  }
}

/** On every error of ours, from whatever bundle. */
const OURS = Symbol.for('sparsimd.error');

/** The bundles for files, and copies of the package, have classes of their own: `instanceof` goes by name. */
function isOurs(this: { readonly name: string }, x: unknown): boolean {
  // A static field as ours have, not the name that every class has: users' subclasses are themselves only.
  const ours = Object.getOwnPropertyDescriptor(this, 'name')?.enumerable;
  if (!ours) return Function.prototype[Symbol.hasInstance].call(this, x);
  if (typeof x !== 'object' || x === null || !(OURS in x)) return false;
  for (let p = Object.getPrototypeOf(x); p; p = Object.getPrototypeOf(p)) {
    if (p.constructor?.name === this.name) return true;
  }
  return false;
}

for (const type of [SparsimdError, ArgumentTypeError, ArgumentRangeError]) {
  Object.defineProperty(type.prototype, OURS, { value: true });
  Object.defineProperty(type, Symbol.hasInstance, { value: isOurs });
}

/** @throws ArgumentTypeError unless options are an object */
export function checkOptions(options: unknown): void {
  if (typeof options !== 'object' || options === null) throw new ArgumentTypeError('options', 'an object', options);
}

/** A short description of any value, for messages. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? value.slice(0, 40) + '…' : value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value !== 'object') return typeof value === 'function' ? 'a function' : String(value);
  if (Array.isArray(value))
    return value.length > 8
      ? `an array of ${value.length}`
      : `[${value.map((v) => (Array.isArray(v) ? 'an array' : describe(v))).join(', ')}]`;
  const name = value.constructor?.name ?? 'object';
  if (ArrayBuffer.isView(value)) return `${name}(${(value as Uint8Array).length ?? value.byteLength})`;
  return `${/^[AEIO]/.test(name) ? 'an' : 'a'} ${name}`;
}
