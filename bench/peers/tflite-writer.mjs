import { Builder } from 'flatbuffers';

/**
 * Just enough of the TFLite schema (version 3) to write float32 convolutional graphs, sparse constants included. The
 * numbers are field slots and enum values of the public schema.fbs.
 */

export const FLOAT32 = 0;
export const INT32 = 2;
export const PADDING = { SAME: 0, VALID: 1 };
export const ACTIVATION = { none: 0, relu: 1, relu6: 3 };

const DIMENSION = { DENSE: 0, SPARSE_CSR: 1 };
const SPARSE_INDEX_INT32 = 1;

/** code: BuiltinOperator; options: BuiltinOptions; fields: [slot, 'byte' | 'int', schema default] of the options table. */
const OPERATORS = {
  CONV_2D: {
    code: 3,
    options: 1,
    fields: { padding: [0, 'byte', 0], strideW: [1, 'int', 0], strideH: [2, 'int', 0], activation: [3, 'byte', 0] },
  },
  DEPTHWISE_CONV_2D: {
    code: 4,
    options: 2,
    fields: {
      padding: [0, 'byte', 0],
      strideW: [1, 'int', 0],
      strideH: [2, 'int', 0],
      multiplier: [3, 'int', 0],
      activation: [4, 'byte', 0],
    },
  },
  FULLY_CONNECTED: { code: 9, options: 8, fields: { activation: [0, 'byte', 0], keepDims: [2, 'byte', 0] } },
  PAD: { code: 34, options: 22, fields: {} },
  MEAN: { code: 40, options: 27, fields: { keepDims: [0, 'byte', 0] } },
  DENSIFY: { code: 124, options: 99, fields: {} },
};
const PLACEHOLDER_FOR_GREATER_CODES = 127;

/**
 * @typedef {object} TfliteTensor
 * @property {string} name
 * @property {number[]} shape
 * @property {number} [type] FLOAT32 (default) or INT32
 * @property {Float32Array | Int32Array} [data] makes it a constant
 * @property {{ segments: Int32Array, indices: Int32Array }} [csr] `data` holds only the nonzeros: the last dimension is
 *   compressed along the first one; dimensions between must be 1
 *
 * @typedef {{ op: keyof typeof OPERATORS, inputs: number[], outputs: number[], options?: Record<string, number> }} TfliteOp
 *
 * @param {{ tensors: TfliteTensor[], ops: TfliteOp[], inputs: number[], outputs: number[] }} graph
 * @returns {Uint8Array}
 */
export function writeTflite({ tensors, ops, inputs, outputs }) {
  const b = new Builder(1 << 20);
  const table = (slots, write) => {
    b.startObject(slots);
    write();
    return b.endObject();
  };
  const ints = (values) => {
    b.startVector(4, values.length, 4);
    for (let i = values.length - 1; i >= 0; i--) b.addInt32(values[i]);
    return b.endVector();
  };
  const offsets = (values) => {
    b.startVector(4, values.length, 4);
    for (let i = values.length - 1; i >= 0; i--) b.addOffset(values[i]);
    return b.endVector();
  };
  const bytes = (data) => {
    b.startVector(1, data.byteLength, 16);
    b.space -= data.byteLength;
    b.bb.bytes().set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), b.space);
    return b.endVector();
  };

  const indexVector = (values) => {
    const vector = ints(values);
    return table(1, () => b.addFieldOffset(0, vector, 0));
  };
  const denseDimension = (size) =>
    table(6, () => {
      b.addFieldInt8(0, DIMENSION.DENSE, 0);
      b.addFieldInt32(1, size, 0);
    });
  const csrDimension = ({ segments, indices }) => {
    const s = indexVector(segments);
    const i = indexVector(indices);
    return table(6, () => {
      b.addFieldInt8(0, DIMENSION.SPARSE_CSR, 0);
      b.addFieldInt8(2, SPARSE_INDEX_INT32, 0);
      b.addFieldOffset(3, s, 0);
      b.addFieldInt8(4, SPARSE_INDEX_INT32, 0);
      b.addFieldOffset(5, i, 0);
    });
  };
  const sparsity = (shape, csr) => {
    const dimensions = offsets([...shape.slice(0, -1).map(denseDimension), csrDimension(csr)]);
    const order = ints(shape.map((_, i) => i));
    return table(3, () => {
      b.addFieldOffset(0, order, 0);
      b.addFieldOffset(2, dimensions, 0);
    });
  };

  // Buffer 0 stands for "no data" by convention.
  const buffers = [table(1, () => {})];
  const writeTensor = ({ name, shape, type = FLOAT32, data, csr }) => {
    let buffer = 0;
    if (data) {
      const vector = bytes(data);
      buffer = buffers.push(table(1, () => b.addFieldOffset(0, vector, 0))) - 1;
    }
    const sparse = csr ? sparsity(shape, csr) : 0;
    const label = b.createString(name);
    const dims = ints(shape);
    return table(7, () => {
      b.addFieldOffset(0, dims, 0);
      b.addFieldInt8(1, type, 0);
      b.addFieldInt32(2, buffer, 0);
      b.addFieldOffset(3, label, 0);
      b.addFieldOffset(6, sparse, 0);
    });
  };

  const kinds = [...new Set(ops.map(({ op }) => op))];
  const writeOp = ({ op, inputs, outputs, options = {} }) => {
    const { fields, options: optionsType } = OPERATORS[op];
    const i = ints(inputs);
    const o = ints(outputs);
    const settings = table(6, () => {
      for (const [name, value] of Object.entries(options)) {
        const [slot, kind, fallback] = fields[name];
        if (kind === 'byte') b.addFieldInt8(slot, value, fallback);
        else b.addFieldInt32(slot, value, fallback);
      }
    });
    return table(5, () => {
      b.addFieldInt32(0, kinds.indexOf(op), 0);
      b.addFieldOffset(1, i, 0);
      b.addFieldOffset(2, o, 0);
      b.addFieldInt8(3, optionsType, 0);
      b.addFieldOffset(4, settings, 0);
    });
  };
  const writeCode = (op) =>
    table(4, () => {
      b.addFieldInt8(0, Math.min(OPERATORS[op].code, PLACEHOLDER_FOR_GREATER_CODES), 0);
      b.addFieldInt32(2, 1, 1);
      b.addFieldInt32(3, OPERATORS[op].code, 0);
    });

  const tensorVector = offsets(tensors.map(writeTensor));
  const opVector = offsets(ops.map(writeOp));
  const inputVector = ints(inputs);
  const outputVector = ints(outputs);
  const subgraph = table(5, () => {
    b.addFieldOffset(0, tensorVector, 0);
    b.addFieldOffset(1, inputVector, 0);
    b.addFieldOffset(2, outputVector, 0);
    b.addFieldOffset(3, opVector, 0);
  });
  const codeVector = offsets(kinds.map(writeCode));
  const subgraphVector = offsets([subgraph]);
  const bufferVector = offsets(buffers);
  const root = table(5, () => {
    b.addFieldInt32(0, 3, 0);
    b.addFieldOffset(1, codeVector, 0);
    b.addFieldOffset(2, subgraphVector, 0);
    b.addFieldOffset(4, bufferVector, 0);
  });
  b.finish(root, 'TFL3');
  return b.asUint8Array();
}
