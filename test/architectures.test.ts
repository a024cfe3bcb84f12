// Exported architectures against the framework's own outputs.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Model, type Tensor } from '../src/index.ts';
import { readTensorProto } from '../src/onnx/index.ts';
import { ISAS } from './support/kernels.ts';

const DIR = 'test/fixtures/architectures';

describe.each(ISAS)('%s', (isa) => {
  test.each(readdirSync(DIR))('%s', async (name) => {
    const data = (kind: string) => readTensorProto(readFileSync(`${DIR}/${name}/test_data_set_0/${kind}_0.pb`));
    for (const sparsity of ['auto', 'off'] as const) {
      using model = await Model.load(`${DIR}/${name}/model.onnx`, { isa, sparsity });
      const results = model.runSync({ [model.inputs[0].name]: data('input') });
      const got = results[model.outputs[0].name];
      expect(got.dims).toEqual(data('output').dims);
      expect(mismatches(got, data('output'))).toBe(0);
      // Nothing in a classifier should fall back to the host.
      expect(
        model
          .plan()
          .filter((s) => s.kernel === 'host')
          .map((s) => s.op),
      ).toEqual([]);
    }
  });
});

/** Values further apart than 1e-3 relative and 1e-4 absolute. */
const mismatches = (a: Tensor, b: Tensor): number =>
  Array.from(a.data as Float32Array).filter(
    (v, i) => !(Math.abs(v - Number(b.data[i])) <= 1e-4 + 1e-3 * Math.abs(Number(b.data[i]))),
  ).length;
