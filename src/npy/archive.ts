/** NumPy's archives (.npz): a zip of .npy files. */
import { toBytes } from '../bytes.ts';
import { ArgumentTypeError, checkOptions } from '../errors.ts';
import { type NpyArray, type NpyContent, readContent, writeNpy } from './array.ts';
import { unzip, zip } from './zip.ts';

export interface NpzOptions {
  /** The most bytes that all arrays together may unpack to; a small file can hold gigabytes of zeros. Default 1 GiB. */
  maxBytes?: number;
}

/**
 * Reads a .npz file, compressed or not.
 * @returns arrays by name, without `.npy`
 * @throws FileFormatError where it is malformed, holds another type, or unpacks to more than `maxBytes`
 */
export async function readNpz(
  source: ArrayBuffer | ArrayBufferView,
  options: NpzOptions = {},
): Promise<Map<string, NpyArray>> {
  const arrays = new Map<string, NpyArray>();
  // Strings, as SciPy has them, are no arrays of ours.
  for (const [name, content] of await readContents(source, options))
    if (!('text' in content)) arrays.set(name, content);
  return arrays;
}

/** As {@link readNpz}, with single strings. */
export async function readContents(
  source: ArrayBuffer | ArrayBufferView,
  options: NpzOptions,
): Promise<Map<string, NpyContent>> {
  checkOptions(options);
  const { maxBytes = 2 ** 30 } = options;
  if (typeof maxBytes !== 'number') throw new ArgumentTypeError('maxBytes', 'a number', maxBytes);
  const members = await unzip(toBytes(source), maxBytes, 'npz');
  const contents = new Map<string, NpyContent>();
  for (const [file, bytes] of members) {
    const name = file.replace(/\.npy$/, '');
    contents.set(name, readContent(bytes, `npz, array "${name}"`));
  }
  return contents;
}

/**
 * The bytes of a .npz file.
 * @param arrays by name
 * @param options compress: deflated, as `numpy.savez_compressed`
 */
export async function writeNpz(
  arrays: ReadonlyMap<string, NpyArray> | Readonly<Record<string, NpyArray>>,
  options: { compress?: boolean } = {},
): Promise<Uint8Array> {
  checkOptions(options);
  if (typeof arrays !== 'object' || arrays === null) throw new ArgumentTypeError('arrays', 'arrays by name', arrays);
  const entries = arrays instanceof Map ? [...arrays] : Object.entries(arrays as Record<string, NpyArray>);
  const members = new Map(entries.map(([name, array]) => [`${name}.npy`, writeNpy(array)]));
  return zip(members, options.compress === true);
}
