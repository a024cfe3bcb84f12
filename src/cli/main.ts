/** The command line: a thin layer over the public API. */
import { parseArgs } from 'node:util';
import { bench } from './bench.ts';
import { type Options, UsageError } from './common.ts';
import { inspect } from './inspect.ts';
import { run } from './run.ts';

const HELP = `sparsimd - pruned neural networks, faster, in WebAssembly

  sparsimd inspect model.onnx    layers, shapes, sparsity, the format chosen and why, sizes
  sparsimd run model.onnx        run it: on --input name=file.npy (or .f32), or on synthetic data
  sparsimd bench model.onnx      dense against sparse on this machine, per layer and whole

  --input NAME=FILE   data for an input (repeatable)
  --dims NAME=1,3,224,224  shape of an input whose file leaves it open (repeatable)
  --output DIR        (run) write the outputs as .npy files
  --isa simd128|relaxed    pin the instruction set
  --deterministic     simd128, and nothing decided by a measurement
  --runs N            (bench) timed runs of each, default 30
  --threads N|auto    default 1
  --json              machine-readable output
  --help, --version
`;

const COMMANDS: Record<string, (file: string, options: Options) => Promise<void>> = { inspect, run, bench };

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      input: { type: 'string', multiple: true, default: [] },
      dims: { type: 'string', multiple: true, default: [] },
      output: { type: 'string' },
      isa: { type: 'string' },
      deterministic: { type: 'boolean', default: false },
      runs: { type: 'string', default: '30' },
      threads: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
      version: { type: 'boolean', short: 'v', default: false },
    },
  });
  if (values.version) {
    const { readFile } = await import('node:fs/promises');
    console.log(JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')).version);
    return 0;
  }
  const [name, file, ...rest] = positionals;
  const command = Object.hasOwn(COMMANDS, name ?? '') ? COMMANDS[name] : undefined;
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  if (!command || !file || rest.length) {
    const why = !name
      ? ''
      : !command
        ? `unknown command "${name}"`
        : !file
          ? 'no model given'
          : `what is "${rest[0]}"?`;
    console.error(why ? `sparsimd: ${why}\n\n${HELP}` : HELP);
    return 2;
  }
  const runs = Number(values.runs);
  if (!(Number.isInteger(runs) && runs > 0))
    throw new UsageError(`--runs expected a positive integer, got ${values.runs}`);
  if (!/^(auto|\d+)$/.test(values.threads))
    throw new UsageError(`--threads expected a number or auto, got "${values.threads}"`);
  const threads = values.threads === 'auto' ? 'auto' : Number(values.threads);
  await command(file, { ...values, isa: values.isa as Options['isa'], runs, threads });
  return 0;
}

/**
 * Leaves once what was written has gone out. Without it, Node 20 now and then waits for ever for V8's background compiler
 * at exit (its NodePlatform::DrainTasks against a tier-up in flight).
 */
const leave = (code: number): void => {
  process.stdout.write('', () => process.exit(code));
};

main().then(leave, (error) => {
  // What the user can mend is said in a line; anything else is ours and shows its stack.
  const known = error instanceof UsageError || error?.code;
  console.error(known ? `sparsimd: ${error.message}` : error);
  leave(1);
});
