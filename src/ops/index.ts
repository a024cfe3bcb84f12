/** The operators this package knows. */
import { casts } from './cast.ts';
import { conv } from './conv.ts';
import { elementwise } from './elementwise.ts';
import { gathers } from './gather.ts';
import { moves } from './move.ts';
import { reductions } from './reduce.ts';
import { shapes } from './shape.ts';
import type { OpTable } from './types.ts';

export const OPS: OpTable = { ...elementwise, ...casts, ...shapes, ...moves, ...gathers, ...reductions, ...conv };
