/** The operators of classifiers: what a graph of nothing else needs. */
import { batchnorm } from './batchnorm.ts';
import { casts } from './cast.ts';
import { conv } from './conv.ts';
import { elementwise } from './elementwise.ts';
import { integers } from './integers.ts';
import { linalg } from './linalg.ts';
import { pools } from './pool.ts';
import { shapes } from './shape.ts';
import { softmaxes } from './softmax.ts';
import type { OpTable } from './types.ts';

export const COMMON: OpTable = {
  ...elementwise,
  ...casts,
  ...shapes,
  ...conv,
  ...pools,
  ...batchnorm,
  ...softmaxes,
  ...linalg,
  ...integers,
};
