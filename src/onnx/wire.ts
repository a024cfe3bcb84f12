/**
 * Protocol buffer messages decoded by table. The field numbers are those of onnx.proto3; only what inference needs is
 * listed, everything else is skipped. Nothing is copied: bytes are views, and the numbers of a tensor stay in the file
 * (as ranges) until its type and size are known.
 */
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { ModelFormatError } from '../errors.ts';

/**
 * `int`: varint as a number, saturated to ±(2^53-1). `float`, `text`, `bytes`: as named. `ranges`: repeated scalars of any
 * wire type, packed or not, as pairs of offsets into the file.
 */
type Kind = 'int' | 'float' | 'text' | 'bytes' | 'ranges' | Schema;
type Field = readonly [name: string, kind: Kind, many?: 1];
interface Schema {
  [field: number]: Field;
}

/** Pairs of offsets (from, to) into the file. */
export type Ranges = readonly number[];

export interface EntryProto {
  key?: string;
  value?: string;
}
export interface TensorProto {
  dims?: number[];
  dataType?: number;
  floats?: Ranges;
  int32s?: Ranges;
  strings?: Uint8Array[];
  int64s?: Ranges;
  name?: string;
  raw?: Uint8Array;
  doubles?: Ranges;
  uint64s?: Ranges;
  external?: EntryProto[];
  location?: number;
}
export interface SparseProto {
  values?: TensorProto;
  indices?: TensorProto;
  dims?: number[];
}
export interface TypeProto {
  tensor?: { elemType?: number; shape?: { dims?: { value?: number; param?: string }[] } };
  sequence?: object;
  map?: object;
  sparse?: object;
  optional?: object;
}
export interface ValueInfoProto {
  name?: string;
  type?: TypeProto;
}
export interface AttributeProto {
  name?: string;
  f?: number;
  i?: number;
  s?: Uint8Array;
  t?: TensorProto;
  g?: GraphProto;
  floats?: number[];
  ints?: number[];
  strings?: Uint8Array[];
  type?: number;
  ref?: string;
  sparse?: SparseProto;
}
export interface NodeProto {
  inputs?: string[];
  outputs?: string[];
  name?: string;
  op?: string;
  attributes?: AttributeProto[];
  domain?: string;
  overload?: string;
}
export interface GraphProto {
  nodes?: NodeProto[];
  name?: string;
  initializers?: TensorProto[];
  sparse?: SparseProto[];
  inputs?: ValueInfoProto[];
  outputs?: ValueInfoProto[];
  values?: ValueInfoProto[];
}
export interface OpsetProto {
  domain?: string;
  version?: number;
}
export interface FunctionProto {
  name?: string;
  inputs?: string[];
  outputs?: string[];
  attributes?: string[];
  defaults?: AttributeProto[];
  nodes?: NodeProto[];
  opsets?: OpsetProto[];
  domain?: string;
  overload?: string;
}
export interface ModelProto {
  irVersion?: number;
  opsets?: OpsetProto[];
  graph?: GraphProto;
  functions?: FunctionProto[];
}

const ENTRY: Schema = { 1: ['key', 'text'], 2: ['value', 'text'] };
const OPSET: Schema = { 1: ['domain', 'text'], 2: ['version', 'int'] };
export const TENSOR: Schema = {
  1: ['dims', 'int', 1],
  2: ['dataType', 'int'],
  4: ['floats', 'ranges', 1],
  5: ['int32s', 'ranges', 1],
  6: ['strings', 'bytes', 1],
  7: ['int64s', 'ranges', 1],
  8: ['name', 'text'],
  9: ['raw', 'bytes'],
  10: ['doubles', 'ranges', 1],
  11: ['uint64s', 'ranges', 1],
  13: ['external', ENTRY, 1],
  14: ['location', 'int'],
};
const SPARSE: Schema = { 1: ['values', TENSOR], 2: ['indices', TENSOR], 3: ['dims', 'int', 1] };
const DIM: Schema = { 1: ['value', 'int'], 2: ['param', 'text'] };
const TENSOR_TYPE: Schema = { 1: ['elemType', 'int'], 2: ['shape', { 1: ['dims', DIM, 1] }] };
const TYPE: Schema = {
  1: ['tensor', TENSOR_TYPE],
  4: ['sequence', {}],
  5: ['map', {}],
  8: ['sparse', {}],
  9: ['optional', {}],
};
const VALUE: Schema = { 1: ['name', 'text'], 2: ['type', TYPE] };
const ATTRIBUTE: Schema = {
  1: ['name', 'text'],
  2: ['f', 'float'],
  3: ['i', 'int'],
  4: ['s', 'bytes'],
  5: ['t', TENSOR],
  7: ['floats', 'float', 1],
  8: ['ints', 'int', 1],
  9: ['strings', 'bytes', 1],
  20: ['type', 'int'],
  21: ['ref', 'text'],
  22: ['sparse', SPARSE],
};
const NODE: Schema = {
  1: ['inputs', 'text', 1],
  2: ['outputs', 'text', 1],
  3: ['name', 'text'],
  4: ['op', 'text'],
  5: ['attributes', ATTRIBUTE, 1],
  7: ['domain', 'text'],
  8: ['overload', 'text'],
};
const GRAPH: Schema = {
  1: ['nodes', NODE, 1],
  2: ['name', 'text'],
  5: ['initializers', TENSOR, 1],
  11: ['inputs', VALUE, 1],
  12: ['outputs', VALUE, 1],
  13: ['values', VALUE, 1],
  15: ['sparse', SPARSE, 1],
};
ATTRIBUTE[6] = ['g', GRAPH];
const FUNCTION: Schema = {
  1: ['name', 'text'],
  4: ['inputs', 'text', 1],
  5: ['outputs', 'text', 1],
  6: ['attributes', 'text', 1],
  7: ['nodes', NODE, 1],
  9: ['opsets', OPSET, 1],
  10: ['domain', 'text'],
  11: ['defaults', ATTRIBUTE, 1],
  13: ['overload', 'text'],
};
export const MODEL: Schema = {
  1: ['irVersion', 'int'],
  7: ['graph', GRAPH],
  8: ['opsets', OPSET, 1],
  25: ['functions', FUNCTION, 1],
};

/** Messages within messages; real models need about ten. */
const MAX_DEPTH = 100;

export const saturate = (x: bigint | string): number =>
  Math.max(-Number.MAX_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, Number(x)));

const WIRES = { int: WireType.Varint, float: WireType.Bit32 } as const;

/**
 * @param what how messages name the root, e.g. `model`
 * @throws ModelFormatError naming the field and the byte offset
 */
export function decode<T>(bytes: Uint8Array, schema: Schema, what: string): T {
  const r = new BinaryReader(bytes);
  let place = what;

  function scalar(kind: Kind, wire: WireType): unknown {
    if (kind === 'int' || kind === 'float') {
      if (wire !== WIRES[kind]) throw new Error(`unexpected wire type ${wire}`);
      return kind === 'int' ? saturate(r.int64()) : r.float();
    }
    if (wire !== WireType.LengthDelimited) throw new Error(`unexpected wire type ${wire}`);
    return kind === 'text' ? r.string() : r.bytes();
  }

  function message(schema: Schema, end: number, depth: number): Record<string, unknown> {
    if (depth > MAX_DEPTH) throw new Error(`more than ${MAX_DEPTH} messages within each other`);
    const out: Record<string, unknown> = {};
    const here = place;
    while (r.pos < end) {
      const [no, wire] = r.tag();
      const field = schema[no];
      if (!field) r.skip(wire, no);
      else {
        const [name, kind, many] = field;
        const list = many && ((out[name] ??= []) as unknown[]);
        place = `${here}.${name}${list && typeof kind === 'object' ? `[${list.length}]` : ''}`;
        const packed = list && wire === WireType.LengthDelimited && kind !== 'text' && kind !== 'bytes';
        if (typeof kind === 'object' || packed) {
          if (wire !== WireType.LengthDelimited) throw new Error(`unexpected wire type ${wire}`);
          const length = r.uint32();
          const stop = r.pos + length;
          if (stop > end) throw new Error(`${length} bytes announced, ${Math.max(0, end - r.pos)} left`);
          if (typeof kind === 'object') {
            const value = message(kind, stop, depth + 1);
            if (list) list.push(value);
            else if (out[name]) throw new Error('given twice');
            else out[name] = value;
          } else if (kind === 'ranges') {
            list!.push(r.pos, stop);
            r.pos = stop;
          } else {
            const item = kind === 'int' ? WireType.Varint : WireType.Bit32;
            while (r.pos < stop) list!.push(scalar(kind, item));
            if (r.pos !== stop) throw new Error('packed values overrun their length');
          }
        } else if (kind === 'ranges') {
          const from = r.pos;
          r.skip(wire, no);
          list!.push(from, r.pos);
        } else {
          const value = scalar(kind, wire);
          if (list) list.push(value);
          else out[name] = value;
        }
        place = here;
      }
      if (r.pos > end) throw new RangeError('premature end');
    }
    return out;
  }

  try {
    return message(schema, r.len, 0) as T;
  } catch (cause) {
    throw new ModelFormatError(place, `${(cause as Error).message} at byte ${Math.min(r.pos, r.len)}`, { cause });
  }
}
