// int8 products, dense, unstructured and groups of 4 (any inputs paired), checked in exact integers and then timed.
// Quantising the activations (dynamic, a scale for each token) is timed apart: it is one pass for all layers over them.
// --zeros 0,0.8,0.9  --formats dense,csr,group4  --activations i16,u7  --weights uniform|normal

import { layer, normal, prepareInt8 } from './support/int8.ts';
import { ISAS, Machine, option } from './support/machine.ts';
import { shapesOf } from './support/shapes.ts';
import { Clock, geomean } from './support/timing.ts';

const ms = Number(option('ms', '60'));
const levels = option('zeros', '0,0.8,0.9').split(',').map(Number);
const formats = option('formats', 'dense,csr,group4').split(',') as ('dense' | 'csr' | 'group4')[];
const shapes = option('shapes', 'transformer,mobilenetv1').split(',').flatMap(shapesOf);
const range = option('range', 'magnitude') as 'magnitude' | 'extremes';

for (const isa of ISAS) {
  if (!option('isa', isa).includes(isa)) continue;
  const clock = new Clock(isa);
  for (const activations of ['i16', 'u7'] as const) {
    if ((activations === 'u7' && isa !== 'relaxed') || !option('activations', 'i16,u7').includes(activations)) continue;
    const rates = new Map<string, number[]>();
    for (const shape of shapes) {
      const [rows, cols, columns] = shape;
      const cells: string[] = [];
      for (const format of formats) {
        for (const zeros of levels) {
          if ((format === 'dense') !== (zeros === 0)) continue;
          let weights = layer(rows, cols, zeros, format === 'group4' ? 4 : 1);
          if (option('weights', 'normal') === 'normal') weights = normal(weights);
          const input = { per: 'token', range } as const;
          const c = prepareInt8(new Machine(isa), shape, { format, activations, input, weights });
          const [t, u] = clock.measure(
            [
              { name: 'product', run: c.run },
              { name: 'quantise', run: c.quantize },
            ],
            ms,
          );
          const ops = 2 * c.packed.nonzeros * columns;
          const key = `${format} ${100 * zeros} %`;
          rates.set(key, [...(rates.get(key) ?? []), ops / t.median]);
          cells.push(
            `${key} ${(t.median / 1e6).toFixed(3)} ms ${(ops / t.median).toFixed(1)}${t.kept < 3 ? '~' : ''} + ${(u.median / 1e6).toFixed(3)}`,
          );
        }
      }
      console.log(`${rows}x${cols}x${columns}`.padEnd(16), cells.join(' | '));
    }
    const line = [...rates].map(([key, r]) => `${key} ${geomean(r).toFixed(1)}`).join(', ');
    console.log(`Node ${process.versions.node} ${isa} ${activations}: geomean GOP/s on nonzeros, ${line}\n`);
  }
}
