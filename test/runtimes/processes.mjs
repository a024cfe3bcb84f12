import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const require = createRequire(import.meta.url);
const inPackage = (name, path) => join(dirname(require.resolve(`${name}/package.json`)), path);
const LIMITS = { timeout: 120_000, maxBuffer: 1 << 24 };

/** Platform binaries directly: the launchers of deno and bun need install scripts, which `npm ci --ignore-scripts` skips. */
const DENO = () => inPackage('@deno/linux-x64-glibc', 'deno');
const BUN = () => inPackage('@oven/bun-linux-x64', 'bin/bun');
const nodeOf = (major) => () => inPackage(`node${major}`, 'bin/node');
/** An ARM64 Node, its instructions translated by qemu: shows that results are right there, says nothing of speed. */
const ARM64 = { qemu: 'qemu-aarch64-static', args: ['-L', '/usr/aarch64-linux-gnu'] };

async function smokeProcess(app, binary, args, relaxed) {
  const { stdout } = await run(binary, [...args, join(app.folder, 'process.js'), String(relaxed)], {
    ...LIMITS,
    cwd: app.folder,
  });
  return JSON.parse(stdout.trim().split('\n').at(-1));
}

const [ownMajor] = process.versions.node.split('.').map(Number);

export const PROCESSES = [
  { name: `Node ${process.versions.node}`, run: (app) => smokeProcess(app, process.execPath, [], ownMajor >= 22) },
  ...[22, 24, 26].map((major) => ({
    name: `Node ${require(`node${major}/package.json`).version}`,
    run: (app) => smokeProcess(app, nodeOf(major)(), [], true),
  })),
  {
    name: `Node ${require('node24arm64/package.json').version} arm64`,
    run: (app) => smokeProcess(app, ARM64.qemu, [...ARM64.args, inPackage('node24arm64', 'bin/node')], true),
  },
  {
    name: `Deno ${require('deno/package.json').version}`,
    run: (app) =>
      smokeProcess(
        app,
        DENO(),
        ['run', '--no-prompt', '--allow-read', '--no-remote', '--cached-only', '--node-modules-dir=manual'],
        true,
      ),
  },
  { name: `Bun ${require('bun/package.json').version}`, run: (app) => smokeProcess(app, BUN(), [], true) },
];
