import { option } from './support/machine.ts';
import { benchSpmm } from './support/spmm.ts';

benchSpmm(['csr'], Number(option('density', '0.2')), 1);
