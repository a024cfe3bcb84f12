/** Operators that few networks for images or text have: a chunk of its own, fetched when a graph names one. */
import { attention } from './attention.ts';
import { einsums } from './einsum.ts';
import { losses } from './loss.ts';
import { quant } from './quant.ts';
import { recurrents } from './recurrent.ts';
import { resize } from './resize.ts';
import { select } from './select.ts';
import type { OpTable } from './types.ts';

export const RARE: OpTable = {
  ...resize,
  ...quant,
  ...einsums,
  ...select,
  ...losses,
  ...attention,
  ...recurrents,
};
