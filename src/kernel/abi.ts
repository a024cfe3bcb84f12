/** Raised together with `abi_version` in assembly/index.ts, in a release in which a kernel's arguments or a packed layout changed. */
export const ABI_VERSION = 1;
