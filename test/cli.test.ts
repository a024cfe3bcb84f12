// The command line of a finished build in dist/, which `npm test` makes.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readNpy } from '../src/npy/index.ts';
import { Tensor } from '../src/tensor.ts';
import { rng } from './support/kernels.ts';
import { model } from './support/onnx-write.ts';

let folder = '';
let file = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sparsimd-cli-'));
  file = join(folder, 'model.onnx');
  const r = rng(3);
  const random = (n: number, density: number) =>
    Float32Array.from({ length: n }, () => ((r() + 1) / 2 < density ? r() || 0.5 : 0));
  const node = (op: string, ins: string[], outs: string[], attrs = {}) => ({
    op,
    in: ins,
    out: outs,
    name: outs[0],
    attrs,
  });
  const bytes = model({
    nodes: [
      node('Conv', ['x', 'k'], ['wide'], { kernel_shape: [1, 1] }),
      node('GlobalAveragePool', ['wide'], ['mean']),
      node('Flatten', ['mean'], ['token']),
      node('MatMul', ['token', 'w'], ['y']),
    ],
    constants: {
      k: new Tensor('float32', random(256 * 64, 0.2), [256, 64, 1, 1]),
      w: new Tensor('float32', random(256 * 512, 0.2), [256, 512]),
    },
    inputs: [['x', 'float32', [1, 64, 14, 14]]],
    outputs: [['y', 'float32', [1, 512]]],
  });
  writeFileSync(file, bytes);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs `sparsimd` with these arguments. */
const cli = (...args: string[]) =>
  new Promise<{ code: number; out: string; error: string }>((resolve) => {
    execFile(process.execPath, ['dist/cli.js', ...args], (error, out, stderr) =>
      resolve({ code: (error?.code as number) ?? 0, out, error: stderr }),
    );
  });

describe('inspect', () => {
  test('explains the pick of every layer with weights, and what groups would gain', async () => {
    const { code, out } = await cli('inspect', file, '--deterministic');
    expect(code).toBe(0);
    const lines = out.split('\n');
    const conv = lines.find((l) => l.includes('wide'))!;
    expect(conv).toMatch(/\d\d\.\d %.*csr .* ms; the same zeros in groups of 4: \d\.\dx faster/);
    // One token, outputs in lanes.
    const linear = lines.find((l) => /\by\b/.test(l) && l.includes('spmv'))!;
    expect(linear).toMatch(/\d\d\.\d %.*window .* ms; the same zeros in groups of 16: \d\.\dx faster/);
    expect(out).toMatch(/packed weights [\d.]+/);
  });

  test('--json: predicted times of every format', async () => {
    const { code, out } = await cli('inspect', file, '--deterministic', '--json');
    expect(code).toBe(0);
    const steps = JSON.parse(out).steps.filter((s: { denseFlops?: number }) => s.denseFlops);
    expect(steps.map((s: { groupSize: number }) => s.groupSize)).toEqual([4, 16]);
    for (const s of steps) {
      expect(Object.keys(s.predictedFormatsMs)).toEqual(expect.arrayContaining(['dense', s.format]));
      expect(Math.min(...Object.values<number>(s.predictedFormatsMs))).toBeCloseTo(s.predictedMs, 12);
    }
  });
});

test('run writes outputs as .npy; bench prints JSON', async () => {
  const { code } = await cli('run', file, '--output', folder, '--deterministic');
  expect(code).toBe(0);
  const y = readNpy(readFileSync(join(folder, 'y.npy')));
  expect(y.dims).toEqual([1, 512]);
  const benched = await cli('bench', file, '--json', '--runs', '2', '--deterministic');
  expect(benched.code).toBe(0);
  expect(JSON.parse(benched.out)).toMatchObject({ file });
});

test.each([
  [['inspect'], /no model given/],
  [['inspekt', 'model.onnx'], /unknown command "inspekt"/],
  [['run', 'missing.onnx'], /missing\.onnx/],
])('%s: says what is wrong, and fails', async (args, message) => {
  const { code, error } = await cli(...args);
  expect(code).toBeGreaterThan(0);
  expect(error).toMatch(message);
});
