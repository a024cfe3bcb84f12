// What is claimed, run and kept: node bench/record.mjs [--only <part of a command> ...] [--node <path> ...]
// Writes bench/results/shown-node<major>.md, for each Node given (default: this one), every command with what it printed; with
// --only, what the others printed stays. Pinned to the first processor where there is taskset, but for threads. Nothing else
// should run. A quarter of an hour a Node.
//
// Needs: npm run build, npm ci --ignore-scripts --prefix bench/peers
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [''] },
    node: { type: 'string', multiple: true, default: [process.execPath] },
  },
});

const COMMANDS = [
  'bench/peers/run.mjs --quick --rounds 11',
  'bench/run.mjs csr --density 0.2,0.05 --activation none --ms 40',
  'bench/run.mjs group --activation none --ms 40',
  'bench/run.mjs dense --activation none --ms 40',
  'bench/run.mjs break-even --shapes mobilenetv1,768x768x128,768x3072x128 --ms 10',
  'bench/run.mjs int8 --formats dense,group4 --shapes 768x768x128,3072x768x128,768x3072x128 --ms 30',
  'bench/peers/int8.mjs --rounds 11',
  'bench/peers/one-token.mjs --isa {isas}',
  'bench/run.mjs spmv --shapes 3072x768,4096x4096 --tokens 1 --zeros 0.7,0.8 --ms 40',
  'bench/run.mjs rowconv --zeros 0.9',
  'bench/run.mjs composite',
  'bench/run.mjs chain',
  'bench/run.mjs sparse',
  'bench/cold.mjs 21',
  'bench/run.mjs threads',
];

const pinned = spawnSync('taskset', ['-c', '0', 'true']).status === 0;
const cpu = () => {
  try {
    return /model name\s*: (.*)/.exec(readFileSync('/proc/cpuinfo', 'utf8'))[1];
  } catch {
    return process.arch;
  }
};
for (const node of values.node) {
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim();
  const commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8', cwd: root }).trim();
  const [major] = /\d+/.exec(version);
  const file = join(root, 'bench', 'results', `shown-node${major}.md`);
  const sections = new Map();
  if (existsSync(file))
    for (const s of readFileSync(file, 'utf8').split(/^## /m).slice(1)) sections.set(s.split('\n')[0], s);
  const isas = Number(major) < 22 ? 'simd128' : 'simd128,relaxed';
  const commands = COMMANDS.map((c) => c.replace('{isas}', isas));
  for (const command of commands.filter((c) => values.only.some((part) => c.includes(part)))) {
    const alone = pinned && !command.endsWith(' threads');
    const [first, ...rest] = alone ? ['taskset', '-c', '0', node] : [node];
    console.log(`${version} ${command}`);
    const run = spawnSync(first, [...rest, ...command.split(' ')], { cwd: root, encoding: 'utf8' });
    // Progress redraws its line.
    const printed = run.stdout.replace(/^.*\r/gm, '').trimEnd();
    const failed = run.status && run.stderr.trim() ? `\nFailed: ${run.stderr.trim()}\n` : '';
    const when = `${new Date().toISOString().slice(0, 10)}, commit ${commit}:`;
    sections.set(command, `${command}\n\n${when}\n\n\`\`\`\n${printed}\n\`\`\`\n${failed}\n`);
    const list = commands.filter((c) => sections.has(c)).map((c) => `## ${sections.get(c)}`);
    const head = `# Node ${version}, ${cpu()}\n\n\`node bench/record.mjs --node <this Node>\`\n\n`;
    writeFileSync(file, `${head}${list.join('').trimEnd()}\n`);
  }
}
