/** Reading ONNX files. */
export { type ReadOptions, readOnnx, readOnnxSync } from './read.ts';
export { readTensorProto } from './tensors.ts';
