import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeNpy } from '../npy/index.ts';
import { feedsOf, load, type Options } from './common.ts';

/** Runs a model once and prints, or writes, what comes out. */
export async function run(file: string, options: Options): Promise<void> {
  const { model } = await load(file, options);
  const feeds = await feedsOf(model, options);
  const start = performance.now();
  const results = model.runSync(feeds);
  const ms = performance.now() - start;
  if (options.output) await mkdir(options.output, { recursive: true });
  const summary = [];
  for (const [name, tensor] of Object.entries(results)) {
    const values = Array.from(tensor.data as ArrayLike<number | bigint>, Number);
    const top = values
      .map((v, i) => [v, i])
      .sort((a, b) => b[0] - a[0])
      .slice(0, 5);
    summary.push({ name, type: tensor.type, dims: tensor.dims, top: top.map(([value, index]) => ({ index, value })) });
    if (options.output) await writeFile(join(options.output, `${name.replace(/[^\w.-]/g, '_')}.npy`), writeNpy(tensor));
  }
  if (options.json) console.log(JSON.stringify({ ms, outputs: summary }));
  else {
    for (const s of summary) {
      console.log(
        `${s.name}  ${s.type}[${s.dims.join(',')}]  largest: ${s.top.map((t) => `[${t.index}] ${t.value.toPrecision(5)}`).join('  ')}`,
      );
    }
    console.log(`first run ${ms.toFixed(2)} ms`);
  }
  model.dispose();
}
