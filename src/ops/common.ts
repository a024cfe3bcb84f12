/** The operators of most networks. */
import { casts } from './cast.ts';
import { conv } from './conv.ts';
import { elementwise } from './elementwise.ts';
import { gathers } from './gather.ts';
import { linalg } from './linalg.ts';
import { moves } from './move.ts';
import { norms } from './norm.ts';
import { pools } from './pool.ts';
import { reductions } from './reduce.ts';
import { shapes } from './shape.ts';
import { softmaxes } from './softmax.ts';
import type { OpTable } from './types.ts';

export const COMMON: OpTable = {
  ...elementwise,
  ...casts,
  ...shapes,
  ...moves,
  ...gathers,
  ...reductions,
  ...conv,
  ...pools,
  ...norms,
  ...softmaxes,
  ...linalg,
};
