/** MobileNetV1 1.0/224, only the pointwise convolutions pruned, one thread. */
export const NETWORKS = {
  dense: { pattern: { kind: 'dense' } },
  'g4-30': { pattern: { kind: 'group4', sparsity: 0.3 } },
  'g4-80': { pattern: { kind: 'group4', sparsity: 0.8 } },
  'u-80': { pattern: { kind: 'csr', sparsity: 0.8 } },
  'u-90': { pattern: { kind: 'csr', sparsity: 0.9 } },
};

/** `time`: what is timed; the answer to every network is checked all the same. `wasm: false`: for scale, not a peer. */
export const ENGINES = [
  {
    module: 'sparsimd',
    wasm: true,
    time: ['dense', 'g4-30', 'g4-80', 'u-80', 'u-90'],
    options: { dense: { sparsity: 'off' } },
  },
  { module: 'litert', wasm: true, time: ['dense', 'g4-80', 'u-80', 'u-90'] },
  { module: 'ort-web', wasm: true, time: ['dense'] },
  { module: 'tfjs', wasm: true, time: ['dense'] },
  { module: 'ort-node', wasm: false, time: ['dense'] },
];

/** The engine whose answers the others are compared with. */
export const REFERENCE = 'ort-node';

/**
 * The promises: `slow` over `fast`, each a list of [engine, network] of which the quickest counts, at least `relaxed` where
 * the engine has relaxed SIMD and `simd128` where it does not. LiteRT at 80 % counts with its better pattern: groups of 4
 * run slower there than its dense network.
 */
export const RATIOS = [
  {
    name: 'dense: LiteRT / ours',
    slow: [['litert', 'dense']],
    fast: ['sparsimd', 'dense'],
    relaxed: 1.3,
    simd128: 1.2,
  },
  {
    name: 'g4-30: our dense / ours',
    slow: [['sparsimd', 'dense']],
    fast: ['sparsimd', 'g4-30'],
    relaxed: 1.27,
    simd128: 1.27,
  },
  {
    name: 'g4-30: best peer dense / ours',
    slow: [
      ['litert', 'dense'],
      ['ort-web', 'dense'],
      ['tfjs', 'dense'],
    ],
    fast: ['sparsimd', 'g4-30'],
    relaxed: 1.7,
    simd128: 1.5,
  },
  {
    name: 'g4-80: LiteRT 80 % / ours',
    slow: [
      ['litert', 'u-80'],
      ['litert', 'g4-80'],
    ],
    fast: ['sparsimd', 'g4-80'],
    relaxed: 1.5,
    simd128: 1.5,
  },
  {
    name: 'u-90: LiteRT 90 % / ours',
    slow: [['litert', 'u-90']],
    fast: ['sparsimd', 'u-90'],
    relaxed: 1.25,
    simd128: 1.3,
  },
];
