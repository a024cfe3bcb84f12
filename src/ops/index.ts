/** The operators this package knows. */
import { attention } from './attention.ts';
import { casts } from './cast.ts';
import { conv } from './conv.ts';
import { elementwise } from './elementwise.ts';
import { gathers } from './gather.ts';
import { linalg } from './linalg.ts';
import { losses } from './loss.ts';
import { moves } from './move.ts';
import { norms } from './norm.ts';
import { pools } from './pool.ts';
import { quant } from './quant.ts';
import { recurrents } from './recurrent.ts';
import { reductions } from './reduce.ts';
import { resize } from './resize.ts';
import { select } from './select.ts';
import { shapes } from './shape.ts';
import { softmaxes } from './softmax.ts';
import type { OpTable } from './types.ts';

export const OPS: OpTable = {
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
  ...resize,
  ...quant,
  ...select,
  ...losses,
  ...attention,
  ...recurrents,
};
