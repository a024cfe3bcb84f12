// What the wasm module exports: every kernel family and the ABI version, which the loader compares with src/kernel/abi.ts.
export * from './csr';
export * from './dense';
export * from './group';
