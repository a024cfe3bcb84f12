// assembly/ -> dist/wasm/*.wasm: asc for each target, then wasm-opt. `--watch-out DIR` and an entry may be given for
// experiments: node scripts/build-wasm.mjs [entry.ts] [outDir]
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';

const [entry = 'assembly/index.ts', outDir = 'dist/wasm'] = process.argv.slice(2).filter((a) => !a.startsWith('-'));
const quiet = process.argv.includes('--quiet');
mkdirSync(outDir, { recursive: true });
const stem = entry === 'assembly/index.ts' ? 'sparsimd' : basename(entry, '.ts');
for (const target of ['simd128', 'relaxed']) {
  const out = join(outDir, `${stem}.${target}.wasm`);
  execFileSync('node', ['node_modules/assemblyscript/bin/asc.js', entry, '--target', target, '--outFile', out], {
    stdio: 'inherit',
  });
  const features = [
    '--enable-simd',
    '--enable-bulk-memory',
    '--enable-mutable-globals',
    '--enable-sign-ext',
    '--enable-nontrapping-float-to-int',
  ];
  if (target === 'relaxed') features.push('--enable-relaxed-simd');
  execFileSync(
    'node',
    ['node_modules/binaryen/bin/wasm-opt', out, '-O4', '--strip-debug', '--strip-producers', ...features, '-o', out],
    { stdio: 'inherit' },
  );
  if (!quiet)
    console.log(`${out}  ${statSync(out).size} bytes, ${gzipSync(readFileSync(out), { level: 9 }).length} gzipped`);
}
