/**
 * Runs smoke.js on every runtime: Node 20 to 26 (and 24 on an emulated ARM64), Deno, Bun, workerd, Chromium and Firefox,
 * in Chromium as Vite and webpack bundle it, and from Vite's development servers.
 *
 *   npm run build
 *   npm ci --ignore-scripts --prefix test/runtimes
 *   apt-get install chromium firefox-esr qemu-user-static libstdc++6-arm64-cross
 *   node test/runtimes/run.mjs [part of a runtime's name …]
 *
 * Prints a line a runtime and, last, `N passed, N failed`. A runtime that does not start counts as one failure.
 */
import { createApp } from './app.mjs';
import { PAGES } from './browsers.mjs';
import { PROCESSES } from './processes.mjs';
import { WORKERD } from './workerd.mjs';

const wanted = process.argv.slice(2).map((w) => w.toLowerCase());
const runtimes = [...PROCESSES, WORKERD, ...PAGES].filter(
  ({ name }) => !wanted.length || wanted.some((w) => name.toLowerCase().includes(w)),
);

let passed = 0;
let failed = 0;
const app = createApp();
try {
  for (const { name, run } of runtimes) {
    const start = performance.now();
    const results = await run(app).catch((error) => [
      { name: 'starts', ok: false, detail: String(error.stack ?? error) },
    ]);
    const bad = results.filter((r) => !r.ok);
    passed += results.length - bad.length;
    failed += bad.length;
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    const isa = results.find((r) => r.ok && /instruction set/.test(r.name))?.detail ?? '';
    console.log(
      `${name.padEnd(29)} ${results.length - bad.length}/${results.length}  ${seconds.padStart(5)} s  ${isa}`,
    );
    for (const r of bad) console.log(`    FAILED ${r.name}\n        ${r.detail.replaceAll('\n', '\n        ')}`);
  }
} finally {
  app.remove();
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
