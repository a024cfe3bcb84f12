import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** Just enough of onnx.proto to write float32 inference graphs. A message is a function that writes its fields. */

const message = (writer, field, write) => {
  writer.tag(field, WireType.LengthDelimited).fork();
  write(writer);
  writer.join();
};
const text = (writer, field, value) => writer.tag(field, WireType.LengthDelimited).string(value);
const integer = (writer, field, value) => writer.tag(field, WireType.Varint).int64(value);

const ELEM_FLOAT = 1;
const ATTRIBUTE = { INT: 2, INTS: 7 };

/** TensorProto: a float32 initializer as raw bytes. */
export const tensor = (name, dims, data) => (w) => {
  for (const d of dims) integer(w, 1, d);
  integer(w, 2, ELEM_FLOAT);
  text(w, 8, name);
  w.tag(9, WireType.LengthDelimited).bytes(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
};

/** ValueInfoProto of a float32 value; a string dimension is symbolic. */
export const valueInfo = (name, dims) => (w) => {
  text(w, 1, name);
  message(w, 2, (type) =>
    message(type, 1, (tensorType) => {
      integer(tensorType, 1, ELEM_FLOAT);
      message(tensorType, 2, (shape) => {
        for (const d of dims) {
          message(shape, 1, (dim) => (typeof d === 'string' ? text(dim, 2, d) : integer(dim, 1, d)));
        }
      });
    }),
  );
};

/** NodeProto. Attributes are integers or lists of integers. */
export const node =
  (opType, inputs, outputs, attributes = {}) =>
  (w) => {
    for (const name of inputs) text(w, 1, name);
    for (const name of outputs) text(w, 2, name);
    text(w, 3, `${opType}_${outputs[0]}`);
    text(w, 4, opType);
    for (const [name, value] of Object.entries(attributes)) {
      message(w, 5, (a) => {
        text(a, 1, name);
        if (Array.isArray(value)) for (const v of value) integer(a, 8, v);
        else integer(a, 3, value);
        integer(a, 20, Array.isArray(value) ? ATTRIBUTE.INTS : ATTRIBUTE.INT);
      });
    }
  };

/** ModelProto bytes, opset 17. */
export function model({ name, nodes, initializers, inputs, outputs }) {
  const w = new BinaryWriter();
  integer(w, 1, 8);
  text(w, 2, 'sparsimd-bench');
  message(w, 7, (graph) => {
    for (const n of nodes) message(graph, 1, n);
    text(graph, 2, name);
    for (const t of initializers) message(graph, 5, t);
    for (const v of inputs) message(graph, 11, v);
    for (const v of outputs) message(graph, 12, v);
  });
  message(w, 8, (opset) => {
    text(opset, 1, '');
    integer(opset, 2, 17);
  });
  return w.finish();
}
