/** The operators this package knows. */
import { COMMON } from './common.ts';
import { RARE } from './rare.ts';
import type { OpTable } from './types.ts';

export const OPS: OpTable = { ...COMMON, ...RARE };
