// ONNX conformance cases: read from the archives in test/fixtures/conformance, run by any runner, compared.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { parseTar } from 'nanotar';
import { readTensorProto } from '../../src/onnx/index.ts';
import type { Tensor } from '../../src/tensor.ts';

export interface OnnxCase {
  /** e.g. `test_add_bcast` */
  name: string;
  model: Uint8Array;
  /** One for each test data set: serialised TensorProtos in the order of the graph's inputs and outputs. */
  sets: { inputs: Uint8Array[]; outputs: Uint8Array[] }[];
}

/**
 * Runs a model: all its inputs in, all its outputs out, both in the order of the graph.
 * It may throw; {@link runCase} tells refusals from failures.
 */
export type Runner = (model: Uint8Array, inputs: Tensor[]) => Promise<Tensor[]> | Tensor[];

/** How refusals are told from crashes: the `code` of the error. */
const REFUSALS = ['UNSUPPORTED_OP', 'UNSUPPORTED'];

/** The cases of `onnx-node` or `onnx-pytorch`, sorted by name. */
export function readCases(archive: 'onnx-node' | 'onnx-pytorch'): OnnxCase[] {
  const tgz = readFileSync(new URL(`../fixtures/conformance/${archive}.tgz`, import.meta.url));
  const cases = new Map<string, OnnxCase>();
  for (const { name, data } of parseTar(gunzipSync(tgz))) {
    const [, test, set, kind, index] =
      name.match(/(test_[^/]+)\/(?:model\.onnx|test_data_set_(\d+)\/(input|output)_(\d+)\.pb)$/) ?? [];
    if (!test || !data) continue;
    let found = cases.get(test);
    if (!found) cases.set(test, (found = { name: test, model: new Uint8Array(), sets: [] }));
    if (kind) (found.sets[Number(set)] ??= { inputs: [], outputs: [] })[`${kind as 'input'}s`][Number(index)] = data;
    else found.model = data;
  }
  return [...cases.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What differs first beyond `atol + rtol * |expected|`, or undefined. Only floats have a tolerance; NaN equals NaN. */
export function difference(got: Tensor, want: Tensor, rtol = 1e-3, atol = 1e-7): string | undefined {
  if (got.type !== want.type || `${got.dims}` !== `${want.dims}`) {
    return `expected ${want.type} [${want.dims}], got ${got.type} [${got.dims}]`;
  }
  const float = want.type.startsWith('float');
  const value = (t: Tensor, i: number) => (t.type === 'float16' ? half(Number(t.data[i])) : t.data[i]);
  for (let i = 0; i < want.size; i++) {
    const a = value(got, i);
    const b = value(want, i);
    if (Object.is(a, b) || a === b) continue;
    if (float && Math.abs(Number(a) - Number(b)) <= atol + rtol * Math.abs(Number(b)) && Number.isFinite(b)) continue;
    return `element ${i} of [${want.dims}]: expected ${b}, got ${a}`;
  }
  return undefined;
}

/** binary16 by way of binary32 bits, independent of the conversion under test. */
function half(bits: number): number {
  const word = new DataView(new ArrayBuffer(4));
  word.setUint32(0, ((bits & 0x8000) << 16) | ((bits & 0x7fff) << 13));
  const x = word.getFloat32(0);
  // Exponent bias 15 against 127; all ones stay infinity or NaN.
  return (bits & 0x7c00) === 0x7c00 ? (bits & 0x3ff ? Number.NaN : bits & 0x8000 ? -Infinity : Infinity) : x * 2 ** 112;
}

export type Outcome =
  | { status: 'passed' }
  | { status: 'refused'; reason: string }
  | { status: 'failed'; reason: string };

const refusal = (error: unknown) => REFUSALS.includes((error as { code: string }).code);

/** Passed, refused by a named error, or failed: a wrong answer or any other exception. */
export async function runCase(test: OnnxCase, run: Runner): Promise<Outcome> {
  try {
    for (const set of test.sets) {
      let inputs: Tensor[] = [];
      try {
        inputs = set.inputs.map(readTensorProto);
      } catch (error) {
        // Of a type that is not supported: then it is for the model to say so.
        if (!refusal(error)) throw error;
      }
      const got = await run(test.model, inputs);
      const want = set.outputs.map(readTensorProto);
      if (got.length !== want.length) return { status: 'failed', reason: `${got.length} outputs, not ${want.length}` };
      for (const [i, w] of want.entries()) {
        const reason = difference(got[i], w);
        if (reason) return { status: 'failed', reason: `output ${i}: ${reason}` };
      }
    }
  } catch (error) {
    const { name, message } = error as Error;
    return refusal(error)
      ? { status: 'refused', reason: message }
      : { status: 'failed', reason: `${name}: ${message}` };
  }
  return { status: 'passed' };
}
