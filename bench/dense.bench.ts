import { benchSpmm } from './support/spmm.ts';

benchSpmm(['dense'], 1, 1);
