// A small ONNX writer for tests: models from plain objects, with the freedom to write wrong ones.
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { Tensor } from '../../src/tensor.ts';

/** ONNX's numbers for element types. */
export const TYPE_NUMBERS = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  bfloat16: 16,
} as const;
type TypeName = keyof typeof TYPE_NUMBERS;

type W = (w: BinaryWriter) => void;

/** A length-delimited field: a message, bytes or text. */
export const field = (no: number, content: W | Uint8Array | string): W => {
  return (w) => {
    w.tag(no, WireType.LengthDelimited);
    if (typeof content === 'string') w.string(content);
    else if (content instanceof Uint8Array) w.bytes(content);
    else {
      w.fork();
      content(w);
      w.join();
    }
  };
};
export const varint = (no: number, value: number | bigint): W => {
  return (w) => w.tag(no, WireType.Varint).int64(value as number);
};
export const all =
  (...parts: (W | W[] | undefined)[]): W =>
  (w) => {
    for (const part of parts.flat()) part?.(w);
  };
export const finish = (message: W): Uint8Array => {
  const w = new BinaryWriter();
  message(w);
  return w.finish();
};

export const raw = (t: Tensor): Uint8Array => new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength);

/** TensorProto of a tensor, as raw_data. */
export const tensor = (name: string, t: Tensor): W =>
  all(
    t.dims.map((d) => varint(1, d)),
    varint(2, TYPE_NUMBERS[t.type]),
    field(8, name),
    field(9, raw(t)),
  );

/** TensorProto whose data is in another file. */
export const externalTensor = (name: string, type: TypeName, dims: number[], entries: Record<string, string>): W =>
  all(
    dims.map((d) => varint(1, d)),
    varint(2, TYPE_NUMBERS[type]),
    field(8, name),
    Object.entries(entries).map(([k, v]) => field(13, all(field(1, k), field(2, v)))),
    varint(14, 1),
  );

export interface NodeSpec {
  op: string;
  in?: string[];
  out?: string[];
  name?: string;
  domain?: string;
  attrs?: Record<string, AttrSpec>;
}
/** Integers are ints; `{ f: 0.5 }` a float, `{ fs: […] }` floats, `{ ref: 'name' }` a function's attribute. */
export type AttrSpec =
  | number
  | string
  | number[]
  | Tensor
  | { f: number }
  | { fs: number[] }
  | { ref: string; type: number }
  | { graph: GraphSpec };

export interface GraphSpec {
  nodes?: NodeSpec[];
  constants?: Record<string, Tensor>;
  inputs?: [string, TypeName, (number | string | null)[]?][];
  outputs?: [string, TypeName, (number | string | null)[]?][];
  /** Further fields of the GraphProto. */
  more?: W;
}
export interface FunctionSpec {
  name: string;
  domain: string;
  in: string[];
  out: string[];
  nodes: NodeSpec[];
  defaults?: Record<string, AttrSpec>;
  opset?: number;
}

const value = ([name, type, dims]: [string, TypeName, (number | string | null)[]?]): W => {
  const dim = (d: number | string | null) =>
    field(1, typeof d === 'number' ? varint(1, d) : d ? field(2, d) : () => {});
  const shape = dims && field(2, all(dims.map(dim)));
  return all(field(1, name), field(2, field(1, all(varint(1, TYPE_NUMBERS[type]), shape))));
};

function attribute(name: string, a: AttrSpec): W {
  const float = (no: number, x: number): W => {
    return (w) => w.tag(no, WireType.Bit32).float(x);
  };
  const typed = (type: number, content: W) => all(field(1, name), content, varint(20, type));
  if (typeof a === 'number') return typed(2, varint(3, a));
  if (typeof a === 'string') return typed(3, field(4, a));
  if (Array.isArray(a)) return typed(7, all(a.map((x) => varint(8, x))));
  if (a instanceof Tensor) return typed(4, field(5, tensor('', a)));
  if ('f' in a) return typed(1, float(2, a.f));
  if ('fs' in a) return typed(6, all(a.fs.map((x) => float(7, x))));
  if ('ref' in a) return typed(a.type, field(21, a.ref));
  return typed(5, field(6, graph(a.graph)));
}

const node = (n: NodeSpec): W =>
  all(
    (n.in ?? []).map((i) => field(1, i)),
    (n.out ?? []).map((o) => field(2, o)),
    n.name ? field(3, n.name) : undefined,
    field(4, n.op),
    Object.entries(n.attrs ?? {}).map(([name, a]) => field(5, attribute(name, a))),
    n.domain ? field(7, n.domain) : undefined,
  );

export const graph = (g: GraphSpec): W =>
  all(
    (g.nodes ?? []).map((n) => field(1, node(n))),
    field(2, 'g'),
    Object.entries(g.constants ?? {}).map(([name, t]) => field(5, tensor(name, t))),
    (g.inputs ?? []).map((v) => field(11, value(v))),
    (g.outputs ?? []).map((v) => field(12, value(v))),
    g.more,
  );

/** The bytes of a model. The opset comes last, so every truncation is an error. */
export const model = (g: GraphSpec, opset = 23, functions: FunctionSpec[] = []): Uint8Array =>
  finish(
    all(
      varint(1, 8),
      field(7, graph(g)),
      functions.map((f) =>
        field(
          25,
          all(
            field(1, f.name),
            f.in.map((i) => field(4, i)),
            f.out.map((o) => field(5, o)),
            f.nodes.map((n) => field(7, node(n))),
            field(9, varint(2, f.opset ?? opset)),
            field(10, f.domain),
            Object.entries(f.defaults ?? {}).map(([name, a]) => field(11, attribute(name, a))),
          ),
        ),
      ),
      field(8, varint(2, opset)),
    ),
  );
