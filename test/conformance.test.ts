import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { interpret } from '../src/graph/interpret.ts';
import { Model } from '../src/index.ts';
import { readOnnxSync } from '../src/onnx/index.ts';
import { Tensor } from '../src/tensor.ts';
import { ISAS, type Isa } from './support/kernels.ts';
import { difference, type Outcome, type Runner, readCases, runCase } from './support/onnx-cases.ts';

const REFUSED = new URL('./fixtures/conformance/refused.txt', import.meta.url);

const interpreter: Runner = (model, inputs) => {
  const graph = readOnnxSync(model);
  const outputs = interpret(graph, Object.fromEntries(inputs.map((t, i) => [graph.inputs[i].name, t])));
  return graph.outputs.map((v) => outputs[v.name]);
};

/** The optimised path: passes, lowering, kernels. */
const executor =
  (isa: Isa): Runner =>
  async (bytes, inputs) => {
    using model = await Model.load(bytes, { isa });
    const results = model.runSync(Object.fromEntries(inputs.map((t, i) => [model.inputs[i].name, t])));
    return model.outputs.map((v) => results[v.name]);
  };

const RUNNERS: Record<string, Runner> = Object.fromEntries([
  ['the interpreter', interpreter],
  ...ISAS.map((isa) => [`kernels, ${isa}`, executor(isa)]),
]);

test('the comparison tells tensors apart', () => {
  const f = (x: number, type: 'float32' | 'float64' = 'float32') => new Tensor(type, [1, x]);
  const same: [Tensor, Tensor][] = [
    [f(100), f(100.09)],
    [f(0), f(9e-8)],
    [f(Number.NaN), f(Number.NaN)],
    [f(-Infinity), f(-Infinity)],
    [f(0), f(-0)],
    [new Tensor('float16', [0x3c00]), new Tensor('float16', [0x3c01])],
  ];
  for (const [a, b] of same) expect(difference(a, b)).toBeUndefined();
  const other: [Tensor, Tensor][] = [
    [f(100), f(100.2)],
    [f(0), f(3e-7)],
    [f(1), f(Number.NaN)],
    [f(Number.NaN), f(1)],
    [f(Infinity), f(1e30)],
    [f(1e30), f(Infinity)],
    [f(Infinity), f(-Infinity)],
    [f(1), f(1, 'float64')],
    [f(1), new Tensor('float32', [1, 1], [2, 1])],
    [new Tensor('int32', [1000]), new Tensor('int32', [1001])],
    [new Tensor('int64', [2n ** 60n]), new Tensor('int64', [2n ** 60n + 1n])],
    [new Tensor('float16', [0x3c00]), new Tensor('float16', [0x3c04])],
    [new Tensor('float16', [0x7c00]), new Tensor('float16', [0x7e00])],
    [new Tensor('float16', [0x0001]), new Tensor('float16', [0x0004])],
  ];
  for (const [a, b] of other) expect(difference(a, b)).toMatch(/expected/);
});

/** Outcomes by runner, then by case. */
const outcomes = new Map<string, Map<string, Outcome>>(Object.keys(RUNNERS).map((name) => [name, new Map()]));

describe.each(
  Object.keys(RUNNERS).flatMap((runner) => [
    ['onnx-node', runner, 585, 510] as const,
    ['onnx-pytorch', runner, 62, 62] as const,
  ]),
)('%s through %s', (archive, runner, count, least) => {
  const cases = readCases(archive);
  const mine = outcomes.get(runner)!;

  test('the archive is complete', () => {
    expect(cases).toHaveLength(count);
    for (const c of cases) {
      expect(c.model.length, c.name).toBeGreaterThan(0);
      expect(c.sets.length, c.name).toBeGreaterThan(0);
      for (const set of c.sets) expect(set.outputs.length, c.name).toBeGreaterThan(0);
    }
  });

  test.each(cases)('$name', async (c) => {
    const outcome = await runCase(c, RUNNERS[runner]);
    mine.set(c.name, outcome);
    if (outcome.status === 'failed') expect.fail(outcome.reason);
  });

  test(`at least ${least} pass`, () => {
    const count = (status: string) => cases.filter((c) => mine.get(c.name)?.status === status).length;
    const passed = count('passed');
    console.log(
      `${archive} through ${runner}: of ${cases.length} cases ${passed} pass, ${count('refused')} are refused`,
    );
    expect(passed).toBeGreaterThanOrEqual(least);
  });
});

afterAll(() => {
  // Every refusal, with its reason, the same by every runner: a change is a regression or a gain. Accept it with
  // UPDATE_REFUSED=1.
  for (const found of outcomes.values()) {
    const lines = [...found].flatMap(([name, o]) => (o.status === 'refused' ? [`${name}: ${o.reason}\n`] : []));
    const now = lines.sort().join('');
    if (process.env.UPDATE_REFUSED) writeFileSync(REFUSED, now);
    expect(now).toBe(readFileSync(REFUSED, 'utf8'));
  }
});
