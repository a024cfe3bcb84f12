// Builds dist/: the wasm modules, one bundle per kind of host, and the type declarations.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { writeNotices } from './notices.mjs';

const quiet = process.argv.includes('--quiet');
const ISAS = ['simd128', 'relaxed'];
const wasm = (isa) => `dist/wasm/sparsimd.${isa}.wasm`;

/** Newest modification time under the given files and folders. */
function newest(...paths) {
  let time = 0;
  for (const p of paths) {
    const s = statSync(p);
    if (!s.isDirectory()) time = Math.max(time, s.mtimeMs);
    else for (const f of readdirSync(p)) time = Math.max(time, newest(join(p, f)));
  }
  return time;
}
const fresh = (outs, ...inputs) =>
  outs.every(existsSync) && Math.min(...outs.map((o) => statSync(o).mtimeMs)) > newest(...inputs);

if (
  !fresh(
    [...ISAS, ...ISAS.map((isa) => `${isa}-threads`)].map(wasm),
    'assembly',
    'asconfig.json',
    'scripts/build-wasm.mjs',
    'scripts/pair-products.mjs',
  )
) {
  execFileSync('node', ['scripts/build-wasm.mjs', ...(quiet ? ['--quiet'] : [])], { stdio: 'inherit' });
}

/** Resolves `#assets` to one host's way to find files, and inlines the wasm where that host asks for it. */
const assets = (host) => ({
  name: 'assets',
  setup(b) {
    b.onResolve({ filter: /^#assets$/ }, () => ({ path: join(process.cwd(), `src/runtime/assets.${host}.ts`) }));
    b.onResolve({ filter: /\.wasm$/ }, (a) => ({ path: a.path, external: true }));
    // The command line uses the published entry, it does not carry a second copy.
    if (host === 'cli')
      b.onResolve({ filter: /^\.\.\/index\.ts$/ }, () => ({ path: './index.node.js', external: true }));
    b.onResolve({ filter: /^inlined-wasm$/ }, () => ({ path: 'inlined-wasm', namespace: 'inlined' }));
    b.onLoad({ filter: /.*/, namespace: 'inlined' }, () => ({
      contents: ISAS.map((isa) => `export const ${isa} = "${readFileSync(wasm(isa)).toString('base64')}";`).join('\n'),
    }));
  },
});

/** The entry, and the chunks fetched on demand. */
const ENTRIES =
  /src\/(index|graph\/prepare|sparse\/(operators|merged)|threads\/start|onnx\/index|ops\/(more|rare))\.ts$/;
/** Those that prepare products or compute on the host. */
const PRODUCTS = /src\/(graph\/prepare|sparse\/operators|ops\/(more|rare))\.ts$/;
const ALL_NEED = ['index', 'graph/ir', 'ops/attrs', 'kernel/conv', 'kernel/depthwise'];
const PRODUCTS_NEED = [
  ...['kernel/dense', 'kernel/few', 'kernel/layout', 'kernel/pointwise', 'kernel/select', 'kernel/spmm', 'kernel/spmv'],
  ...['pack/dense', 'ops/batchnorm', 'ops/broadcast', 'ops/centred', 'ops/exact', 'ops/softmax'],
];
/**
 * esbuild cuts modules that chunks share into a file for each set of chunks, and a file costs Node 0.7 ms and a browser a
 * request. Where every chunk says that it needs the core, and some that they need what products need, two files are left.
 */
const chunks = {
  name: 'chunks',
  setup(b) {
    const imports = (names) =>
      names.map((f) => `import ${JSON.stringify(join(process.cwd(), 'src', `${f}.ts`))};\n`).join('');
    b.onLoad({ filter: ENTRIES }, ({ path }) => ({
      contents: imports(PRODUCTS.test(path) ? [...ALL_NEED, ...PRODUCTS_NEED] : ALL_NEED) + readFileSync(path, 'utf8'),
      loader: 'ts',
    }));
    // Kept although nothing of them is named there: the package says its modules have no side effects.
    b.onResolve({ filter: /^[./]/ }, ({ path, resolveDir }) => ({
      path: resolve(resolveDir, path),
      sideEffects: true,
    }));
  },
};

/** Bundles that go over a network. */
const FETCHED = new Set(['web', 'workerd', 'inline', 'worker']);

const bundle = (host, entryPoints, extra = {}) =>
  build({
    entryPoints,
    outdir: 'dist',
    bundle: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    platform: 'neutral',
    external: ['node:*'],
    minify: true,
    // Node prints the line that an uncaught error comes from: not 50 kB of it. 2 % more bytes, gzipped, where nobody fetches them.
    lineLimit: FETCHED.has(host) ? 0 : 200,
    keepNames: false,
    legalComments: 'none', // scripts/notices.mjs has the licences
    metafile: true,
    chunkNames: `chunks/${host}-[name]-[hash]`,
    plugins: [assets(host), ...(extra.splitting === false ? [] : [chunks])],
    ...extra,
  });

for (const f of existsSync('dist') ? readdirSync('dist') : [])
  if (f !== 'wasm') rmSync(join('dist', f), { recursive: true });
const results = await Promise.all([
  bundle('node', { 'index.node': 'src/index.ts' }),
  bundle(
    'worker',
    { worker: 'src/threads/worker.web.ts', 'worker.node': 'src/threads/worker.node.ts' },
    { splitting: false },
  ),
  bundle('deno', { 'index.deno': 'src/index.ts' }),
  bundle('web', { 'index.web': 'src/index.ts' }),
  // One file: an edge worker's configuration lists every module.
  bundle('workerd', { 'index.workerd': 'src/index.ts' }, { splitting: false }),
  bundle('inline', { inline: 'src/index.ts' }, { splitting: false }),
  bundle('core', { core: 'src/index.ts' }),
  // Readers and writers of files are for any host, and need nothing of the core.
  bundle('files', { npy: 'src/npy/index.ts', mtx: 'src/mtx/index.ts', onnx: 'src/onnx/index.ts' }, { plugins: [] }),
  bundle(
    'cli',
    { cli: 'src/cli/main.ts' },
    {
      platform: 'node',
      splitting: false,
      banner: {
        js: `#!/usr/bin/env node\nimport { createRequire } from 'node:module'; const require = createRequire(import.meta.url);`,
      },
    },
  ),
]);
writeNotices(results);
if (!process.argv.includes('--no-types')) {
  execFileSync('node', ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' });
}
if (!quiet) {
  for (const f of readdirSync('dist').filter((f) => f.endsWith('.js'))) {
    const bytes = readFileSync(join('dist', f));
    console.log(`dist/${f}  ${bytes.length} bytes, ${gzipSync(bytes, { level: 9 }).length} gzipped`);
  }
}
// Not by an empty event loop, in which Node 20 may wait for ever: see atOnce in src/kernel/instance.ts.
process.exit();
