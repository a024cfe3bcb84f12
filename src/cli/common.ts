import { readFile } from 'node:fs/promises';
import Table from 'cli-table3';
import { AssetError, type DType, type EngineInfo, type Feeds, type Isa, Model, Tensor } from '../index.ts';
import { readNpy } from '../npy/index.ts';

export interface Options {
  input: string[];
  dims: string[];
  output?: string;
  isa?: Isa;
  deterministic: boolean;
  runs: number;
  threads: number | 'auto';
  json: boolean;
}

/** What the user wrote is not what it should be. */
export class UsageError extends Error {}

/** Loads a model, its external data only from its own folder. */
export async function load(
  file: string,
  options: Options,
  sparsity: 'auto' | 'off' = 'auto',
): Promise<{ model: Model; fileBytes: number }> {
  const { dirname, join } = await import('node:path');
  const bytes = await readFile(file).catch((cause) => {
    throw new AssetError(`cannot read ${file}: ${cause.message}`, { cause });
  });
  const model = await Model.load(bytes, {
    isa: options.isa,
    deterministic: options.deterministic,
    sparsity,
    threads: options.threads,
    // The reader has refused names that leave the folder.
    resolveExternal: (name) => readFile(join(dirname(file), name)),
  });
  return { model, fileBytes: bytes.length };
}

/** `NAME=VALUE` options as a map. */
function pairs(list: readonly string[], option: string): Map<string, string> {
  return new Map(
    list.map((text) => {
      const at = text.indexOf('=');
      if (at < 1) throw new UsageError(`--${option} expected NAME=VALUE, got ${text}`);
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

/** What to run a model on: files where given, else synthetic values. */
export async function feedsOf(model: Model, options: Options): Promise<Feeds> {
  const files = pairs(options.input, 'input');
  const shapes = pairs(options.dims, 'dims');
  for (const name of [...files.keys(), ...shapes.keys()]) {
    if (!model.inputs.some((i) => i.name === name)) {
      throw new UsageError(`no input "${name}"; the model has ${model.inputs.map((i) => i.name).join(', ')}`);
    }
  }
  const feeds: Record<string, Tensor> = { ...model.sampleFeeds() };
  for (const { name, type, dims } of model.inputs) {
    const text = shapes.get(name);
    if (text !== undefined && !/^\d+(,\d+)*$/.test(text))
      throw new UsageError(`--dims ${name} expected integers with commas between them, got "${text}"`);
    const shape = text?.split(',').map(Number);
    if (shape) {
      const size = shape.reduce((a, b) => a * b, 1);
      if (!Number.isSafeInteger(size))
        throw new UsageError(`--dims ${name} expected integers, got ${shapes.get(name)}`);
      const zeros = Tensor.zeros(type, shape);
      if (type === 'float32')
        for (let i = 0; i < size; i++) (zeros.data as Float32Array)[i] = Math.sin(i * 12.9898) / 2;
      feeds[name] = zeros;
    }
    const file = files.get(name);
    if (file) feeds[name] = await readTensor(file, type, shape ?? feeds[name].dims);
    if (!file && !shape && !dims?.every((d) => typeof d === 'number')) {
      const example = dims?.map((d) => (typeof d === 'number' ? d : 'N')).join(',') ?? '1,3,224,224';
      console.error(`${name}: open dimensions are taken as 1 (${feeds[name].dims}); give --dims ${name}=${example}`);
    }
  }
  return feeds;
}

async function readTensor(file: string, type: DType, dims: readonly number[]): Promise<Tensor> {
  const bytes = await readFile(file);
  if (file.endsWith('.npy')) {
    const found = readNpy(bytes, file);
    return new Tensor(found.type, found.data, found.dims);
  }
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  if (type !== 'float32' || buffer.byteLength % 4)
    throw new UsageError(`${file}: expected raw little-endian f32 for a float32 input`);
  return new Tensor('float32', new Float32Array(buffer), dims);
}

export const threadsOf = ({ threads }: EngineInfo): string => (threads === 1 ? 'one thread' : `${threads} threads`);

export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`;

/** A plain table; columns after the first `left` are right-aligned. */
export function table(head: string[], rows: (string | number)[][], left = 1): string {
  const t = new Table({
    head,
    colAligns: head.map((_, i) => (i < left ? 'left' : 'right')),
    style: { head: [], border: [], compact: true },
  });
  t.push(...rows);
  return t.toString();
}
