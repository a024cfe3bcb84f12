// How many zeros it takes until the fastest sparse kernel beats our own fastest dense one: the share of zeros at which the
// geomean over the shapes crosses 1. Options as for the other benches; --shapes narrows the list.
import { VARIANTS } from '../src/kernel/variants.ts';
import { ISAS, Machine, option } from './support/machine.ts';
import { shapesOf } from './support/shapes.ts';
import { prepare, pruned } from './support/spmm.ts';
import { Clock, geomean } from './support/timing.ts';

const PATTERNS = [
  { name: 'groups of 4', group: 4, zeros: [0.05, 0.08, 0.1, 0.12, 0.15] },
  { name: 'groups of 2', group: 2, zeros: [0.05, 0.1, 0.12, 0.15, 0.2] },
  { name: 'unstructured', group: 1, zeros: [0.2, 0.25, 0.3, 0.35, 0.4] },
];

const spmm = VARIANTS.filter((v) => v.op === 'spmm');
const ms = Number(option('ms', '30'));
const families = option('shapes', 'mobilenetv1,mobilenetv2,transformer').split(',');

for (const isa of ISAS) {
  if (!option('isa', isa).includes(isa)) continue;
  const clock = new Clock(isa);
  const gains = new Map<string, number[]>();
  for (const family of families) {
    for (const shape of shapesOf(family)) {
      const [rows, cols] = shape;
      const fastest = (group: number, zeros: number) => {
        const machine = new Machine(isa);
        const w = pruned(rows, cols, 1 - zeros, group);
        // Weights in groups run on the kernels of smaller groups too.
        const kernels = spmm.filter((v) =>
          zeros ? v.format !== 'dense' && v.channels <= group : v.format === 'dense',
        );
        const cases = kernels.map((v) => ({ name: v.name, ...prepare(machine, v, w, shape, family) }));
        return Math.min(...clock.measure(cases, ms).map((t) => t.median));
      };
      for (const { name, group, zeros } of PATTERNS) {
        for (const z of zeros) {
          // The dense kernel is timed again beside each, so that both meet the same moments of the machine.
          const key = `${name} ${z}`;
          gains.set(key, [...(gains.get(key) ?? []), fastest(1, 0) / fastest(group, z)]);
        }
      }
    }
  }
  console.log(`\nNode ${process.versions.node} ${isa}: speed over our fastest dense kernel, geomean of the shapes`);
  for (const { name, zeros } of PATTERNS) {
    const g = zeros.map((z) => geomean(gains.get(`${name} ${z}`)!));
    const i = g.findIndex((v) => v >= 1);
    const at =
      i > 0
        ? zeros[i - 1] + ((1 - g[i - 1]) / (g[i] - g[i - 1])) * (zeros[i] - zeros[i - 1])
        : i
          ? Number.NaN
          : zeros[0];
    const row = zeros.map((z, j) => `${(100 * z).toFixed(0)} %: ${g[j].toFixed(3)}`).join('  ');
    console.log(
      `${name.padEnd(13)} ${row}  break-even ${i === 0 ? 'below' : 'at'} ${i < 0 ? 'more' : `${(100 * at).toFixed(0)} %`} zeros`,
    );
  }
}
