/** The operators this package knows. */
import { COMMON } from './common.ts';
import { MORE } from './more.ts';
import { RARE } from './rare.ts';
import type { OpTable } from './types.ts';

export const OPS: OpTable = { ...COMMON, ...MORE, ...RARE };
