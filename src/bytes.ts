/** Bytes that callers hand in: of buffers, shared ones too, and of views. */
import { ArgumentTypeError } from './errors.ts';

const isShared = (x: unknown): x is SharedArrayBuffer =>
  typeof SharedArrayBuffer === 'function' && x instanceof SharedArrayBuffer;

export const isBytes = (x: unknown): x is ArrayBufferLike | ArrayBufferView =>
  x instanceof ArrayBuffer || ArrayBuffer.isView(x) || isShared(x);

/**
 * The bytes, not copied unless they are shared: decoders of text and of archives refuse shared memory.
 * @throws ArgumentTypeError for anything else, and for a buffer that went elsewhere
 */
export function toBytes(source: unknown, argument = 'source', expected = 'bytes'): Uint8Array<ArrayBuffer> {
  if (!isBytes(source)) throw new ArgumentTypeError(argument, `an ArrayBuffer or a view of one: ${expected}`, source);
  try {
    const { buffer, byteOffset, byteLength } = ArrayBuffer.isView(source) ? source : new Uint8Array(source);
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    return isShared(buffer) ? bytes.slice() : (bytes as Uint8Array<ArrayBuffer>);
  } catch {
    // a TypeError of the JavaScript engine
    throw new ArgumentTypeError(argument, `${expected} that are still here, not in a buffer sent to a worker`, source);
  }
}

/** Whether a view's memory went elsewhere: sent to a worker, or that of an engine, which has grown. */
export function isGone(view: ArrayBufferView): boolean {
  if (view.byteLength) return false;
  try {
    new Uint8Array(view.buffer);
    return false;
  } catch {
    return true;
  }
}

/** What a view is expected to be, where isGone. */
export const HERE = 'memory that is still here: not sent to a worker, nor of an engine whose memory has grown since';
