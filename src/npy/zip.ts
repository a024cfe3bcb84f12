/**
 * Zip archives (APPNOTE.TXT 6.3.10, https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT), as NumPy writes them: members
 * stored or deflated, zip64 where sizes need it, no encryption.
 *
 *     [local header, data] … [central directory entry] … [zip64 end, locator] end
 */
import { ArgumentRangeError, FileFormatError, UnsupportedError } from '../errors.ts';

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const STORED = 0;
const DEFLATED = 8;

/** Where a member lies, from the central directory. */
interface Entry {
  name: string;
  method: number;
  crc: number;
  compressed: number;
  size: number;
  /** Of the local header. */
  at: number;
}

/** Members by name. @param maxBytes of all members together, unpacked. @throws FileFormatError, also past that limit */
export async function unzip(bytes: Uint8Array, maxBytes: number, name: string): Promise<Map<string, Uint8Array>> {
  if (!(maxBytes >= 0)) throw new ArgumentRangeError('maxBytes', 'a number >= 0', maxBytes);
  const members = new Map<string, Uint8Array>();
  const entries = directory(bytes, name);
  // Declared sizes first: nothing is unpacked in vain. What is unpacked is then held to its declared size.
  const total = entries.reduce((sum, e) => sum + e.size, 0);
  if (!(total <= maxBytes))
    throw new FileFormatError(name, `unpacks to ${total} bytes, more than maxBytes, ${maxBytes}`);
  for (const e of entries) {
    const where = `${name}, member "${e.name}"`;
    if (members.has(e.name)) throw new FileFormatError(where, 'is there twice');
    const packed = dataOf(bytes, e, where);
    if (e.method !== STORED && e.method !== DEFLATED)
      throw new FileFormatError(where, `compression method ${e.method} is not read`);
    if (e.method === STORED && e.compressed !== e.size)
      throw new FileFormatError(where, 'is stored, but its sizes differ');
    const data = e.method === STORED ? packed : await inflate(packed, e.size, where);
    if (crc32(data) !== e.crc) throw new FileFormatError(where, 'is corrupt: its CRC-32 differs');
    members.set(e.name, data);
  }
  return members;
}

function directory(bytes: Uint8Array, name: string): Entry[] {
  const fail = (message: string): never => {
    throw new FileFormatError(name, message);
  };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u64 = (at: number) => view.getUint32(at, true) + 2 ** 32 * view.getUint32(at + 4, true);
  // The end record is last but for a comment of at most 65 535 bytes.
  let end = bytes.length - 22;
  while (end >= 0 && end > bytes.length - 22 - 65536 && view.getUint32(end, true) !== END) end--;
  if (end < 0 || view.getUint32(end, true) !== END) fail('no zip archive, or a truncated one');
  let count = view.getUint16(end + 10, true);
  let size = view.getUint32(end + 12, true);
  let at = view.getUint32(end + 16, true);
  if (end >= 20 && view.getUint32(end - 20, true) === LOCATOR64) {
    const end64 = u64(end - 12);
    if (end64 > end - 56 || view.getUint32(end64, true) !== END64)
      fail('its zip64 end record is not where it should be');
    count = u64(end64 + 32);
    size = u64(end64 + 40);
    at = u64(end64 + 48);
  }
  const limit = at + size;
  if (!(limit <= end)) fail('its central directory reaches past its end');
  const entries: Entry[] = [];
  for (let i = 0; i < count; i++) {
    if (at + 46 > limit || view.getUint32(at, true) !== CENTRAL) fail(`entry ${i} of its directory is malformed`);
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((o) => view.getUint16(at + o, true));
    const next = at + 46 + nameBytes + extraBytes + commentBytes;
    if (next > limit) fail(`entry ${i} of its directory is truncated`);
    if (view.getUint16(at + 8, true) & 1) fail(`entry ${i} is encrypted`);
    const entry: Entry = {
      name: new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameBytes)),
      method: view.getUint16(at + 10, true),
      crc: view.getUint32(at + 16, true),
      compressed: view.getUint32(at + 20, true),
      size: view.getUint32(at + 24, true),
      at: view.getUint32(at + 42, true),
    };
    // The zip64 field holds those sizes that are all ones above, in this order.
    for (let x = at + 46 + nameBytes, stop = x + extraBytes; x + 4 <= stop; ) {
      const [id, length] = [view.getUint16(x, true), view.getUint16(x + 2, true)];
      const after = x + 4 + length;
      if (after > stop) fail(`entry ${i} of its directory is malformed`);
      let field = x + 4;
      for (const key of ['size', 'compressed', 'at'] as const) {
        if (id === 1 && entry[key] === 0xffffffff && field + 8 <= after) {
          entry[key] = u64(field);
          field += 8;
        }
      }
      x = after;
    }
    entries.push(entry);
    at = next;
  }
  return entries;
}

function dataOf(bytes: Uint8Array, e: Entry, where: string): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (e.at + 30 > bytes.length || view.getUint32(e.at, true) !== LOCAL)
    throw new FileFormatError(where, 'is not where it should be');
  const from = e.at + 30 + view.getUint16(e.at + 26, true) + view.getUint16(e.at + 28, true);
  if (!(from + e.compressed <= bytes.length)) throw new FileFormatError(where, 'is truncated');
  return bytes.subarray(from, from + e.compressed);
}

/** Unpacks raw deflate, and stops as soon as more than `size` bytes come. */
async function inflate(packed: Uint8Array, size: number, where: string): Promise<Uint8Array> {
  const stream = raw(() => new DecompressionStream('deflate-raw'), `${where} is compressed, and this runtime has no`);
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const part of through(packed, stream)) {
      length += part.length;
      if (length > size) break;
      parts.push(part);
    }
  } catch (cause) {
    throw new FileFormatError(where, 'is corrupt: it does not inflate', { cause });
  }
  if (length !== size) {
    throw new FileFormatError(where, `expected ${size} bytes unpacked, got ${length > size ? 'more' : length}`);
  }
  return concat(parts, size);
}

/** @throws UnsupportedError where streams are missing, or know no raw deflate (Node before 20.12, Chrome before 103) */
function raw<T>(make: () => T, message: string): T {
  try {
    return make();
  } catch (cause) {
    throw new UnsupportedError(`${message} stream of raw deflate`, { cause });
  }
}

async function* through(bytes: Uint8Array, stream: GenericTransformStream): AsyncGenerator<Uint8Array> {
  const source = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(bytes);
      controller.close();
    },
  });
  const reader = source.pipeThrough(stream as ReadableWritablePair<Uint8Array, Uint8Array>).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function concat(parts: readonly Uint8Array[], size: number): Uint8Array {
  const out = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

let table: Uint32Array | undefined;

/** CRC-32 as zip has it: polynomial 0xedb88320, reflected. */
export function crc32(data: Uint8Array): number {
  table ??= Uint32Array.from({ length: 256 }, (_, i) => {
    let c = i;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
    return c;
  });
  let crc = -1;
  for (let i = 0; i < data.length; i++) crc = (crc >>> 8) ^ table[(crc ^ data[i]) & 255];
  return ~crc >>> 0;
}

/** An archive of such members, dated 1980-01-01 as NumPy's are. */
export async function zip(members: ReadonlyMap<string, Uint8Array>, compress: boolean): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const central: Uint8Array[] = [];
  let at = 0;
  for (const [name, data] of members) {
    const packed = compress ? await deflate(data) : data;
    const text = new TextEncoder().encode(name);
    if (at + packed.length + data.length >= 0xffffffff || text.length > 65535) {
      throw new ArgumentRangeError('arrays', 'an archive of less than 4 GiB', name);
    }
    // version, flags (UTF-8 names), method, time, date, CRC, sizes, name bytes, extra bytes
    const common = [
      [2, 20],
      [2, 0x800],
      [2, compress ? DEFLATED : STORED],
      [2, 0],
      [2, 0x21],
      [4, crc32(data)],
    ];
    common.push([4, packed.length], [4, data.length], [2, text.length], [2, 0]);
    const local = record([4, LOCAL], ...common);
    parts.push(local, text, packed);
    central.push(record([4, CENTRAL], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, at]), text);
    at += local.length + text.length + packed.length;
  }
  const size = central.reduce((sum, c) => sum + c.length, 0);
  if (members.size > 65535 || at + size >= 0xffffffff)
    throw new ArgumentRangeError('arrays', 'at most 65535 of less than 4 GiB', members.size);
  const end = record([4, END], [2, 0], [2, 0], [2, members.size], [2, members.size], [4, size], [4, at], [2, 0]);
  const all = [...parts, ...central, end];
  return concat(
    all,
    all.reduce((sum, p) => sum + p.length, 0),
  );
}

async function deflate(data: Uint8Array): Promise<Uint8Array> {
  const stream = raw(() => new CompressionStream('deflate-raw'), 'compress: this runtime has no');
  const parts: Uint8Array[] = [];
  for await (const part of through(data, stream)) parts.push(part);
  return concat(
    parts,
    parts.reduce((sum, p) => sum + p.length, 0),
  );
}

/** Little-endian fields of so many bytes each. */
function record(...fields: readonly number[][]): Uint8Array {
  const out = new Uint8Array(fields.reduce((sum, [bytes]) => sum + bytes, 0));
  let at = 0;
  for (const [bytes, value] of fields) for (let b = 0; b < bytes; b++) out[at++] = Math.floor(value / 256 ** b) & 255;
  return out;
}
