import { option } from './support/machine.ts';
import { benchSpmm } from './support/spmm.ts';

// Weights in groups of 4 also run on the kernel for groups of 2, which is faster for short rows.
benchSpmm(['group4', 'group2'], Number(option('density', '0.2')), 4);
benchSpmm(['group2'], Number(option('density', '0.2')), 2);
