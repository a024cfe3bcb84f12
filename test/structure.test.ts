// The rules of the house: one table of kernels, families complete, imports flow one way.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { VARIANTS } from '../src/kernel/variants.ts';
import { Bench, ISAS } from './support/kernels.ts';

const walk = (dir: string): string[] =>
  readdirSync(dir, { withFileTypes: true }).flatMap((f) =>
    f.isDirectory() ? walk(join(dir, f.name)) : [join(dir, f.name)],
  );

test.each(ISAS)('%s: the exports of the module are the rows of the variant table', (isa) => {
  const exported = Object.keys(new Bench(isa).exports).filter(
    (n) => !['memory', 'abi_version', 'relaxed_simd'].includes(n),
  );
  const rows = VARIANTS.filter((v) => (v.isa ?? isa) === isa);
  expect(exported.sort()).toEqual(rows.map((v) => v.name).sort());
});

test('kernel names follow the grammar', () => {
  for (const { name } of VARIANTS) expect(name).toMatch(/^(f32|f16|i8)_[a-z0-9]+(_[a-z0-9]+)*$/);
});

/** Files of assembly/ that are not a family. */
const SHARED = new Set(['index.ts', 'relaxed.ts', 'isa.ts', 'tile.ts', 'planes.ts', 'math.ts', 'README.md']);
/** Kernels that are part of another family, in files of their own. */
const PARTS: Record<string, string> = {
  stem: 'conv',
  col2im: 'conv',
  depthwisekxk: 'depthwise',
  group24: 'group',
  int8dense: 'int8',
  int8store: 'int8',
  int8quant: 'int8',
  int8relaxed: 'int8',
  spmvint8: 'spmv',
  spmvint8relaxed: 'spmv',
  spmvwindow: 'spmv',
};
/** Families packed by another's file, one for all formats. */
const PACKED_BY: Record<string, string> = { csr: 'spmm', group: 'spmm' };
/** Families whose kernels are copies and reshuffles have no packed weights, and no benchmark of their own. */
const UNPACKED = new Set(['pool', 'pointwise', 'softmax', 'layout']);

test('every kernel family has its files', () => {
  const kernels = readdirSync('assembly')
    .filter((f) => !SHARED.has(f))
    .map((f) => f.slice(0, -3));
  const families = [...new Set(kernels.map((f) => PARTS[f] ?? f))];
  expect(families.length).toBeGreaterThan(5);
  const missing = families.flatMap((f) => {
    const files = [`src/reference/${f}.ts`, `test/${f}.test.ts`];
    if (!UNPACKED.has(f)) files.push(`src/pack/${PACKED_BY[f] ?? f}.ts`, `bench/${f}.bench.ts`);
    return files.filter((file) => !existsSync(file));
  });
  expect(missing).toEqual([]);
});

/** A layer may import its own and those before it. */
const ORDER = [
  'errors.ts',
  'bytes.ts',
  'half.ts',
  'tensor.ts',
  'memory',
  'kernel/abi.ts',
  'pack',
  'reference',
  'kernel',
  'sparse',
  'npy',
  'mtx',
  'threads',
  'runtime',
  'engine.ts',
  'ops',
  'graph',
  'onnx',
  'model.ts',
  'index.ts',
  'cli',
];
/** The common language: of importers, operators and passes; of users and kernels. */
const EVERYBODY = new Set([
  'graph/ir.ts',
  'kernel/variants.ts',
  'kernel/tiles.ts',
  'kernel/call.ts',
  'sparse/types.ts',
  'runtime',
  'kernel/isa.ts',
  'kernel/instance.ts',
  'threads/host.ts',
  'threads/worker.ts',
]);

test('nothing imports back up', () => {
  const rank = (file: string) => ORDER.findIndex((o) => file === o || file.startsWith(`${o}/`));
  const wrong: string[] = [];
  for (const path of walk('src')) {
    const file = relative('src', path);
    expect(rank(file), `${file} has no place in the order`).toBeGreaterThanOrEqual(0);
    for (const [, target] of readFileSync(path, 'utf8').matchAll(/from '(\.[^']+)'|import\('(\.[^']+)'\)/g)) {
      if (!target) continue;
      const to = relative('src', resolve(dirname(path), target));
      if (!EVERYBODY.has(to) && rank(to) > rank(file)) wrong.push(`${file} imports ${to}`);
    }
  }
  expect(wrong).toEqual([]);
});

test('files stay small', () => {
  const long = [...walk('src'), ...walk('assembly')].filter((f) => readFileSync(f, 'utf8').split('\n').length > 450);
  expect(long).toEqual([]);
});
