/// <reference lib="esnext.disposable" preserve="true" />
/** Public names. Everything else is internal. */
export { Engine, type EngineInfo, type EngineOptions } from './engine.ts';
export {
  ArgumentRangeError,
  ArgumentTypeError,
  AssetError,
  DisposedError,
  FileFormatError,
  InputError,
  ModelFormatError,
  OutOfMemoryError,
  SparseFormatError,
  SparsimdError,
  UnsupportedError,
  UnsupportedOpError,
  WorkerError,
} from './errors.ts';
export type { Attr, Graph, Node, ValueInfo } from './graph/ir.ts';
export type { WasmSource } from './kernel/instance.ts';
export type { Isa } from './kernel/isa.ts';
export {
  type Feeds,
  Model,
  type ModelOptions,
  type ModelSource,
  type Profile,
  type Progress,
  type Results,
  type StepProfile,
} from './model.ts';
export type { AdaptedOperator, AdaptedOptions } from './sparse/adapted.ts';
export { Adapter, type AdapterShape, type LoraShape } from './sparse/adapter.ts';
export type { Int8Layer, Int8Operator, Int8Options, Quantization } from './sparse/chain.ts';
export { Composite, type Operand } from './sparse/composite.ts';
export { SparseMatrix } from './sparse/matrix.ts';
export type { MergedMatrix, MergedWeights } from './sparse/merged.ts';
export { mergedMatrix, mergedWeights } from './sparse/merging.ts';
export type { PrepareOptions, SpmmOperator, SpmmOptions } from './sparse/operators.ts';
export type { SddmmOperator, SddmmOptions } from './sparse/sddmm.ts';
export type {
  BitmaskMatrix,
  BsrMatrix,
  CooMatrix,
  CsrMatrix,
  DenseMatrix,
  GroupMatrix,
  NmMatrix,
  SparseFormat,
  SparseOptions,
  StoredCsr,
  ValueOptions,
  ValueType,
} from './sparse/types.ts';
export { type DType, Tensor, type TensorType } from './tensor.ts';
