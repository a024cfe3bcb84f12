/** Operators that detectors and transformers have besides: a chunk of its own, fetched when a graph names one. */
import { gathers } from './gather.ts';
import { moves } from './move.ts';
import { norms } from './norm.ts';
import { reductions } from './reduce.ts';
import type { OpTable } from './types.ts';

export const MORE: OpTable = { ...moves, ...gathers, ...reductions, ...norms };
