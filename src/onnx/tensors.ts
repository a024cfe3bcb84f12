/** TensorProto and SparseTensorProto to tensors. */
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { describe, ModelFormatError, SparseFormatError, UnsupportedOpError } from '../errors.ts';
import { ARRAYS, bytesOf, type DType, Tensor, type TensorData } from '../tensor.ts';
import { decode, type Ranges, type SparseProto, TENSOR, type TensorProto } from './wire.ts';

/** Names of TensorProto.DataType, by number. Those in {@link ARRAYS} are supported. */
const TYPES = (
  ',float32,uint8,int8,uint16,int16,int32,int64,string,bool,float16,float64,uint32,uint64,complex64,complex128,bfloat16,' +
  'float8e4m3fn,float8e4m3fnuz,float8e5m2,float8e5m2fnuz,uint4,int4,float4e2m1,float8e8m0,uint2,int2'
).split(',');

/** Dense elements that a sparse initializer may have: a few bytes must not ask for gigabytes. */
const MAX_DENSE = 2 ** 28;

/** The bytes of an external file whose name was checked, e.g. from a map filled before. */
export type External = (location: string, where: string) => Uint8Array;

/**
 * The element type of a TensorProto.DataType number.
 * @throws UnsupportedOpError for types this package has no tensors of, ModelFormatError for numbers ONNX does not define
 */
export function typeOf(dataType: number | undefined, op: string, where: string): DType {
  const name = TYPES[dataType ?? 0];
  if (!name) throw new ModelFormatError(where, `unknown element type ${dataType ?? 0}`);
  if (!Object.hasOwn(ARRAYS, name)) throw new UnsupportedOpError(op, where, `element type ${name} is not supported`);
  return name as DType;
}

function sizeOf(dims: readonly number[], where: string): number {
  let size = 1;
  for (const d of dims) {
    if (d < 0) throw new ModelFormatError(where, `negative dimension ${d}`);
    size *= d;
  }
  if (size > Number.MAX_SAFE_INTEGER) throw new ModelFormatError(where, `dimensions [${dims}] are too large`);
  return size;
}

/** Checks a relative file name that a model may ask for. @throws ModelFormatError */
export function checkLocation(location: string, where: string): void {
  const dots = /^(\.|%2e){2}$/i;
  if (
    !location ||
    // biome-ignore lint/suspicious/noControlCharactersInRegex: refusing them is the point
    /[\u0000-\u001f\\]|^\/|^[a-z][a-z0-9+.-]*:/i.test(location) ||
    location.split(/[/?#]|%2f/i).some((part) => dots.test(part))
  ) {
    throw new ModelFormatError(where, `external data location ${describe(location)} is not a relative path inside`);
  }
}

export const isExternal = (t: TensorProto): boolean => t.location === 1;

/** The checked `location` of a tensor with external data. */
export function locationOf(t: TensorProto, where: string): string {
  const location = t.external?.find((e) => e.key === 'location')?.value ?? '';
  checkLocation(location, where);
  return location;
}

function externalBytes(t: TensorProto, need: number, where: string, external: External): Uint8Array {
  const number = (key: string, fallback: number) => {
    const text = t.external?.find((e) => e.key === key)?.value;
    if (text === undefined) return fallback;
    const value = Number(text);
    if (!/^\d+$/.test(text) || value > Number.MAX_SAFE_INTEGER) {
      throw new ModelFormatError(where, `external data ${key} ${describe(text)} is not a size`);
    }
    return value;
  };
  const location = locationOf(t, where);
  const file = external(location, where);
  const offset = number('offset', 0);
  const length = number('length', need);
  if (offset + length > file.length) {
    throw new ModelFormatError(
      where,
      `bytes ${offset} to ${offset + length} of external "${location}" are asked for, it has ${file.length}`,
    );
  }
  return file.subarray(offset, offset + length);
}

/** Little-endian bytes as elements: a view when aligned, else a copy. */
function fromRaw(type: DType, size: number, raw: Uint8Array, where: string): TensorData {
  const width = bytesOf(type);
  if (raw.length !== size * width) {
    throw new ModelFormatError(where, `${size} elements of ${type} take ${size * width} bytes, got ${raw.length}`);
  }
  if (type === 'bool' && raw.some((b) => b > 1)) return Uint8Array.from(raw, (b) => (b ? 1 : 0));
  // Not slice(): that of a Node Buffer copies nothing.
  const aligned = raw.byteOffset % width ? new Uint8Array(raw) : raw;
  return new ARRAYS[type](aligned.buffer as ArrayBuffer, aligned.byteOffset, size);
}

function fromFields(type: DType, size: number, t: TensorProto, file: Uint8Array, where: string): TensorData {
  const r = new BinaryReader(file);
  const [name, ranges, read] = (
    {
      float32: ['float_data', t.floats, () => r.float()],
      float64: ['double_data', t.doubles, () => r.double()],
      int64: ['int64_data', t.int64s, () => BigInt(r.int64())],
      uint64: ['uint64_data', t.uint64s, () => BigInt(r.uint64())],
      uint32: ['uint64_data', t.uint64s, () => Number(r.uint64())],
      bool: ['int32_data', t.int32s, () => (r.int32() ? 1 : 0)],
    } as Record<string, [string, Ranges | undefined, () => number | bigint]>
  )[type] ?? ['int32_data', t.int32s, () => r.int32()];
  // An element takes at least a byte, so this bounds what a short file can make us allocate.
  let bytes = 0;
  for (let i = 0; ranges && i < ranges.length; i += 2) bytes += ranges[i + 1] - ranges[i];
  const short = (got: string) =>
    new ModelFormatError(where, `${size} elements of ${type} expected in ${name}, got ${got}`);
  if (size > bytes) throw short(bytes ? `${bytes} bytes` : 'none');
  const data = new ARRAYS[type](size);
  let n = 0;
  for (let i = 0; ranges && i < ranges.length; i += 2) {
    const to = ranges[i + 1];
    r.pos = ranges[i];
    while (r.pos < to) {
      if (n === size) throw short('more');
      try {
        data[n++] = read() as never;
      } catch (cause) {
        throw new ModelFormatError(where, `${name}: ${(cause as Error).message}`, { cause });
      }
    }
    if (r.pos !== to) throw new ModelFormatError(where, `${name} overruns its length at byte ${to}`);
  }
  if (n < size) throw short(String(n));
  return data;
}

/**
 * @param file the bytes that `t` was decoded from
 * @throws ModelFormatError, UnsupportedOpError
 */
export function toTensor(t: TensorProto, file: Uint8Array, where: string, external: External): Tensor {
  const type = typeOf(t.dataType, 'TensorProto', t.name || where);
  const dims = t.dims ?? [];
  const size = sizeOf(dims, where);
  const raw = isExternal(t) ? externalBytes(t, size * bytesOf(type), where, external) : t.raw;
  return new Tensor(type, raw ? fromRaw(type, size, raw, where) : fromFields(type, size, t, file, where), dims);
}

/**
 * A sparse tensor (COO: linear indices [nnz], or coordinates [nnz, rank]) made dense.
 * @throws SparseFormatError for indices out of range or out of order, ModelFormatError, UnsupportedOpError
 */
export function toDense(s: SparseProto, file: Uint8Array, where: string, external: External): Tensor {
  if (!s.values) throw new ModelFormatError(where, 'sparse tensor without values');
  const dims = s.dims ?? [];
  const size = sizeOf(dims, where);
  if (size > MAX_DENSE) throw new ModelFormatError(where, `sparse tensor of ${size} elements, at most ${MAX_DENSE}`);
  const values = toTensor(s.values, file, `${where}.values`, external);
  const nnz = values.size;
  const indices = s.indices
    ? toTensor(s.indices, file, `${where}.indices`, external)
    : new Tensor('int64', new BigInt64Array(0), [0]);
  const flat = indices.dims.length === 1;
  const fits = flat || (indices.dims.length === 2 && indices.dims[1] === dims.length);
  if (indices.type !== 'int64' || !fits || indices.dims[0] !== nnz) {
    throw new SparseFormatError(
      `${where}: indices expected int64 [${nnz}] or [${nnz}, ${dims.length}], got ${indices.type} [${indices.dims}]`,
    );
  }
  const out = Tensor.zeros(values.type, dims);
  let last = -1;
  for (let i = 0; i < nnz; i++) {
    let at = 0;
    if (flat) at = Number(indices.data[i]);
    else {
      for (let d = 0; d < dims.length; d++) {
        const index = Number(indices.data[i * dims.length + d]);
        if (!(index >= 0 && index < dims[d])) {
          throw new SparseFormatError(
            `${where}: index ${index} of element ${i} is out of range for dimension ${d} (${dims[d]})`,
          );
        }
        at = at * dims[d] + index;
      }
    }
    if (!(at >= 0 && at < size))
      throw new SparseFormatError(`${where}: index ${at} of element ${i} is out of range (${size})`);
    if (at <= last) throw new SparseFormatError(`${where}: indices are not in ascending order at element ${i}`);
    out.data[(last = at)] = values.data[i];
  }
  return out;
}

const noExternal: External = (location, where) => {
  throw new ModelFormatError(where, `needs the external file "${location}"`);
};

/**
 * Reads one serialised TensorProto, as in ONNX test data (`input_0.pb`).
 * @throws ModelFormatError, UnsupportedOpError
 */
export function readTensorProto(bytes: Uint8Array): Tensor {
  const proto = decode<TensorProto>(bytes, TENSOR, 'tensor');
  return toTensor(proto, bytes, proto.name ? `tensor "${proto.name}"` : 'tensor', noExternal);
}
