import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { interpret } from '../src/graph/interpret.ts';
import { readOnnxSync } from '../src/onnx/index.ts';
import { type Outcome, type Runner, readCases, runCase } from './support/onnx-cases.ts';

const REFUSED = new URL('./fixtures/conformance/refused.txt', import.meta.url);

const interpreter: Runner = (model, inputs) => {
  const graph = readOnnxSync(model);
  const outputs = interpret(graph, Object.fromEntries(inputs.map((t, i) => [graph.inputs[i].name, t])));
  return graph.outputs.map((v) => outputs[v.name]);
};

const outcomes = new Map<string, Outcome>();

describe.each([
  ['onnx-node', 585, 380],
  ['onnx-pytorch', 62, 45],
] as const)('%s through the interpreter', (archive, count, least) => {
  const cases = readCases(archive);

  test('the archive is complete', () => {
    expect(cases).toHaveLength(count);
    for (const c of cases) {
      expect(c.model.length, c.name).toBeGreaterThan(0);
      expect(c.sets.length, c.name).toBeGreaterThan(0);
      for (const set of c.sets) expect(set.outputs.length, c.name).toBeGreaterThan(0);
    }
  });

  test.each(cases)('$name', async (c) => {
    const outcome = await runCase(c, interpreter);
    outcomes.set(c.name, outcome);
    if (outcome.status === 'failed') expect.fail(outcome.reason);
  });

  test(`at least ${least} pass`, () => {
    const count = (status: string) => cases.filter((c) => outcomes.get(c.name)?.status === status).length;
    const passed = count('passed');
    console.log(`${archive}: of ${cases.length} cases ${passed} pass, ${count('refused')} are refused`);
    expect(passed).toBeGreaterThanOrEqual(least);
  });
});

afterAll(() => {
  // Every refusal, with its reason: a change here is a regression or a gain. Accept it with UPDATE_REFUSED=1.
  const lines = [...outcomes].flatMap(([name, o]) => (o.status === 'refused' ? [`${name}: ${o.reason}\n`] : []));
  const now = lines.sort().join('');
  if (process.env.UPDATE_REFUSED) writeFileSync(REFUSED, now);
  expect(now).toBe(readFileSync(REFUSED, 'utf8'));
});
