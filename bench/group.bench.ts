import { option } from './support/machine.ts';
import { benchSpmm } from './support/spmm.ts';

benchSpmm(['group4'], Number(option('density', '0.2')), 4);
benchSpmm(['group2'], Number(option('density', '0.2')), 2);
