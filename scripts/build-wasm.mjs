// assembly/ -> dist/wasm/*.wasm: asc for each target, then wasm-opt; the targets side by side.
// For experiments another entry and folder may be given: node scripts/build-wasm.mjs [entry.ts] [outDir]
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';

const [entry = 'assembly/index.ts', outDir = 'dist/wasm'] = process.argv.slice(2).filter((a) => !a.startsWith('-'));
const quiet = process.argv.includes('--quiet');
mkdirSync(outDir, { recursive: true });
const stem = entry === 'assembly/index.ts' ? 'sparsimd' : basename(entry, '.ts');

const run = async (...args) => {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args);
  if (!quiet) process.stderr.write(stdout + stderr);
};

async function make(target) {
  const out = join(outDir, `${stem}.${target}.wasm`);
  // The relaxed module has kernels besides, of instructions that the other lacks.
  const more = target === 'relaxed' && stem === 'sparsimd' ? ['assembly/relaxed.ts'] : [];
  await run('node_modules/assemblyscript/bin/asc.js', entry, ...more, '--target', target, '--outFile', out);
  const features = ['simd', 'bulk-memory', 'mutable-globals', 'sign-ext', 'nontrapping-float-to-int'];
  if (target === 'relaxed') features.push('relaxed-simd');
  const flags = ['-O3', '--strip-debug', '--strip-producers', ...features.map((f) => `--enable-${f}`)];
  await run('node_modules/binaryen/bin/wasm-opt', out, ...flags, '-o', out);
  if (!quiet)
    console.log(`${out}  ${statSync(out).size} bytes, ${gzipSync(readFileSync(out), { level: 9 }).length} gzipped`);
}

await Promise.all(['simd128', 'relaxed'].map(make)).catch((error) => {
  console.error(error.stdout || '', error.stderr || error);
  process.exit(1);
});
