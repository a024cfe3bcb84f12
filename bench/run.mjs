// node bench/run.mjs <family> [options]: bundles bench/<family>.bench.ts and runs it in this very Node, whatever its version.
// Options: --density 0.2  --only <part of a kernel's name>  --ms 300 (time per kernel and shape)  --json <file>
//          --wasm dist/wasm  --isa relaxed  --shapes mobilenetv1,512x512x196
// The wasm modules must have been built (npm run build:wasm).
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const scratch = join(root, '.scratch', 'bench');
mkdirSync(scratch, { recursive: true });

// The ceiling: twelve independent chains of multiply-adds that never leave the registers. Written here and not under
// assembly/ because no product module should hold it. In simd128 it is one multiplication and one addition in turn, as engines
// emit what people write, and gives 47 GFLOP/s on Zen 4; with products in pairs, as in the product (scripts/pair-products.mjs),
// the loop gives 44 or 58 in Node 24, as it happens to lie, so no ceiling: dense kernels reach 107 % of this one. Twelve chains
// of six cycles leave no slack for four instructions a cycle; thirteen do, and say what the machine could (`most`): 57.7 on
// Zen 5, where twelve give 50. Constants are loaded: V8 13.6 would rebuild a splat in every round.
const madd = { simd128: 'f32x4.add(b, f32x4.mul(c, A))', relaxed: 'f32x4.relaxed_madd(c, A, b)' };
for (const isa of ['simd128', 'relaxed']) {
  const out = join(scratch, `roofline.${isa}.wasm`);
  if (existsSync(out) && statSync(out).mtimeMs > statSync(fileURLToPath(import.meta.url)).mtimeMs) continue;
  const loop = (name, chains) => `export function ${name}(n: i32): f32 {
  const b = v128.load(64), c = v128.load(80);
  let ${chains.map((a) => `${a} = b`).join(', ')};
  for (let i = 0; i < n; i++) { ${chains.map((a) => `${a} = ${madd[isa].replace('A', a)};`).join(' ')} }
  return f32x4.extract_lane(${chains.reduce((s, a) => `f32x4.add(${s}, ${a})`)}, 0);
}`;
  const chains = [...Array(13).keys()].map((i) => `a${i}`);
  writeFileSync(
    join(scratch, `${isa}.ts`),
    `${loop('roofline', chains.slice(1))}
${loop('most', chains)}
/** Reads memory once, for its bandwidth; bytes: a multiple of 64. */
export function read(p: usize, bytes: usize): i32 {
  let a = i32x4.splat(0), b = a;
  for (const end = p + bytes; p < end; p += 64) {
    a = v128.or(a, v128.or(v128.load(p), v128.load(p, 16)));
    b = v128.or(b, v128.or(v128.load(p, 32), v128.load(p, 48)));
  }
  return i32x4.extract_lane(v128.or(a, b), 0);
}
`,
  );
  const asc = join(root, 'node_modules/assemblyscript/bin/asc.js');
  execFileSync(
    process.execPath,
    [
      asc,
      join(scratch, `${isa}.ts`),
      '--config',
      'none',
      '-O3',
      '--runtime',
      'stub',
      '--initialMemory',
      '1',
      '-o',
      out,
    ].concat(isa === 'relaxed' ? ['--enable', 'simd', '--enable', 'relaxed-simd'] : ['--enable', 'simd']),
    { stdio: 'inherit', cwd: root },
  );
}

const family = process.argv[2] ?? '';
const entry = join(root, 'bench', `${family}.bench.ts`);
if (!existsSync(entry)) throw new Error(`no bench/${family}.bench.ts`);
const outfile = join(scratch, `${family}-${process.pid}.mjs`);
const alias = { '#assets': join(root, 'src/runtime/assets.node.ts') };
await build({ entryPoints: [entry], bundle: true, platform: 'node', format: 'esm', target: 'node20', outfile, alias });
await import(pathToFileURL(outfile).href);
