// Runs bench/evaluate.ts against the built package: node scripts/evaluate.mjs [--quick] [--json] [--simd128]
import { build } from 'esbuild';

const outfile = '.scratch/evaluate.mjs';
await build({
  entryPoints: ['bench/evaluate.ts'],
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  outfile,
  // cli-progress is CommonJS and asks for Node's own modules.
  banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  plugins: [
    {
      name: 'built-package',
      setup(b) {
        b.onResolve({ filter: /^\.\.\/src\/index\.ts$/ }, () => ({ path: '../dist/index.node.js', external: true }));
      },
    },
  ],
});
await import(`../${outfile}`);
