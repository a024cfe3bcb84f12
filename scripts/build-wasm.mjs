// assembly/ -> dist/wasm/*.wasm: asc for each target, wasm-opt, then pair-products; the targets side by side. Beside each module
// goes its twin for threads, `-threads`: the same bytes but for the memory, which is imported and shared.
// For experiments another entry and folder may be given: node scripts/build-wasm.mjs [entry.ts] [outDir]
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { pairProducts } from './pair-products.mjs';

const [entry = 'assembly/index.ts', outDir = 'dist/wasm'] = process.argv.slice(2).filter((a) => !a.startsWith('-'));
const quiet = process.argv.includes('--quiet');
mkdirSync(outDir, { recursive: true });
const stem = entry === 'assembly/index.ts' ? 'sparsimd' : basename(entry, '.ts');

const run = async (...args) => {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args);
  if (!quiet) process.stderr.write(stdout + stderr);
};

/**
 * The module with `env.memory`, shared, in place of a memory of its own. asc --importMemory --sharedMemory gives the same code
 * section, byte for byte (a test compares), and takes as long again.
 */
function shareMemory(bytes) {
  const leb = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...leb(n >>> 7)]);
  const name = (text) => [text.length, ...Buffer.from(text)];
  // One import; kind 2 is a memory, flags 3: shared, with a maximum; 1 to 65536 pages.
  const body = [1, ...name('env'), ...name('memory'), 2, 3, 1, ...leb(65536)];
  const parts = [bytes.subarray(0, 8)];
  for (let at = 8; at < bytes.length; ) {
    const from = at;
    const id = bytes[at++];
    let size = 0;
    for (let shift = 0, more = 128; more; shift += 7) {
      more = bytes[at] & 128;
      size += (bytes[at++] & 127) * 2 ** shift;
    }
    at += size;
    if (id === 2 || id === 11) throw new Error(`kernels must import nothing and hold no data, found section ${id}`);
    if (id !== 5) parts.push(bytes.subarray(from, at));
    if (id === 1) parts.push(Buffer.from([2, ...leb(body.length), ...body]));
  }
  return Buffer.concat(parts);
}

async function make(target) {
  const out = join(outDir, `${stem}.${target}.wasm`);
  // The relaxed module has kernels besides, of instructions that the other lacks.
  const more = target === 'relaxed' && stem === 'sparsimd' ? ['assembly/relaxed.ts'] : [];
  await run('node_modules/assemblyscript/bin/asc.js', entry, ...more, '--target', target, '--outFile', out);
  const features = ['simd', 'bulk-memory', 'mutable-globals', 'sign-ext', 'nontrapping-float-to-int'];
  if (target === 'relaxed') features.push('relaxed-simd');
  const flags = ['-O3', '--strip-debug', '--strip-producers', ...features.map((f) => `--enable-${f}`)];
  await run('node_modules/binaryen/bin/wasm-opt', out, ...flags, '-o', out);
  // Relaxed modules have one instruction for both.
  if (target === 'simd128') writeFileSync(out, pairProducts(readFileSync(out)));
  writeFileSync(join(outDir, `${stem}.${target}-threads.wasm`), shareMemory(readFileSync(out)));
  if (!quiet)
    console.log(`${out}  ${statSync(out).size} bytes, ${gzipSync(readFileSync(out), { level: 9 }).length} gzipped`);
}

await Promise.all(['simd128', 'relaxed'].map(make)).catch((error) => {
  console.error(error.stdout || '', error.stderr || error);
  process.exit(1);
});
