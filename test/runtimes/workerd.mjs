import { spawn } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);
const DIST = 'node_modules/sparsimd/dist';
const KIND = { '.js': 'esModule', '.wasm': 'wasm', '.onnx': 'data', '.f32': 'data' };

/** Cap'n Proto configuration: every module by its import name. */
function configuration(folder) {
  const files = [
    ...['worker.js', 'smoke.js'].map((f) => [f, f]),
    ...readdirSync(join(folder, 'fixture')).map((f) => [`fixture/${f}`, `fixture/${f}`]),
    ...readdirSync(join(folder, DIST), { recursive: true }).map((f) => [`sparsimd/${f}`, `${DIST}/${f}`]),
  ];
  const modules = files.flatMap(([name, path]) => {
    const kind = KIND[/\.[^.]*$/.exec(path)?.[0]];
    return kind ? [`(name = "${name}", ${kind} = embed "${path}")`] : [];
  });
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = .smoke)],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const smoke :Workerd.Worker = (
  compatibilityDate = "2026-04-01",
  modules = [
    ${modules.join(',\n    ')}
  ],
);
`;
}

/** Resolves with the port that workerd reports on file descriptor 3. */
const listening = (child) =>
  new Promise((resolve, reject) => {
    let text = '';
    let errors = '';
    child.stdio[3].on('data', (chunk) => {
      text += chunk;
      const port = /"port":(\d+)/.exec(text)?.[1];
      if (port) resolve(port);
    });
    child.stderr.on('data', (chunk) => {
      errors += chunk;
    });
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`workerd ended with ${code}\n${errors.slice(-2000)}`)));
  });

async function smokeWorkerd({ folder }) {
  const config = join(folder, 'config.capnp');
  writeFileSync(config, configuration(folder));
  const binary = join(dirname(require.resolve('@cloudflare/workerd-linux-64/package.json')), 'bin/workerd');
  const child = spawn(binary, ['serve', '--control-fd=3', config], { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
  try {
    const port = await listening(child);
    const response = await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(120_000) });
    if (!response.ok) throw new Error(`HTTP ${response.status}: ${(await response.text()).slice(0, 2000)}`);
    return await response.json();
  } finally {
    child.kill();
  }
}

export const WORKERD = { name: `workerd ${require('workerd/package.json').version}`, run: smokeWorkerd };
