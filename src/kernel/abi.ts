/** Raised together with `abi_version` in assembly/index.ts whenever a kernel's arguments or a packed layout changes. */
export const ABI_VERSION = 1;
