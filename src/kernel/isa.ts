import { UnsupportedError } from '../errors.ts';

export type Isa = 'simd128' | 'relaxed';

/** A module of one function: `i32.const 0; i8x16.splat` n times, then an opcode, `end`. */
function probe(splats: number, ...opcode: number[]): Uint8Array<ArrayBuffer> {
  const body = [0, ...Array.from({ length: splats }, () => [0x41, 0, 0xfd, 0x0f]).flat(), 0xfd, ...opcode, 0x0b];
  const code = [1, body.length, ...body];
  return new Uint8Array([
    0,
    0x61,
    0x73,
    0x6d,
    1,
    0,
    0,
    0,
    1,
    5,
    1,
    0x60,
    0,
    1,
    0x7b,
    3,
    2,
    1,
    0,
    10,
    code.length,
    ...code,
  ]);
}

/** Which instruction sets this engine runs. The very opcodes that kernels use are probed: engines shipped relaxed SIMD in parts. */
export function detect(): { simd128: boolean; relaxed: boolean } {
  if (typeof WebAssembly !== 'object') return { simd128: false, relaxed: false };
  return {
    simd128: WebAssembly.validate(probe(2, 0xe4, 0x01)), // f32x4.add
    // f32x4.relaxed_madd, i8x16.relaxed_swizzle, i16x8.relaxed_dot_i8x16_i7x16_s, i32x4.relaxed_dot_i8x16_i7x16_add_s
    relaxed: (
      [
        [3, 0x85],
        [2, 0x80],
        [2, 0x92],
        [3, 0x93],
      ] as const
    ).every(([operands, opcode]) => WebAssembly.validate(probe(operands, opcode, 0x02))),
  };
}

/**
 * Picks the instruction set and says why.
 * @throws UnsupportedError without SIMD, or when the one asked for is missing
 */
export function chooseIsa(wanted: Isa | undefined, deterministic: boolean, has = detect()): { isa: Isa; why: string } {
  if (!has.simd128) {
    throw new UnsupportedError(
      'this JavaScript engine has no WebAssembly SIMD; sparsimd needs Chrome 91, Firefox 89, Safari 16.4, Node 16.4 or newer',
    );
  }
  if (deterministic && wanted === 'relaxed') {
    throw new UnsupportedError(
      'isa "relaxed" cannot be deterministic: results of relaxed SIMD differ between machines',
    );
  }
  if (wanted === 'relaxed' && !has.relaxed)
    throw new UnsupportedError('isa "relaxed": this engine has no relaxed SIMD');
  if (wanted) return { isa: wanted, why: 'asked for' };
  if (deterministic) return { isa: 'simd128', why: 'deterministic: relaxed results differ between machines' };
  return has.relaxed
    ? { isa: 'relaxed', why: 'the engine has relaxed SIMD' }
    : { isa: 'simd128', why: 'the engine has no relaxed SIMD' };
}
