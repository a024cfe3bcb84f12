// A page for bundlers, which must find the package's kernels and its worker.
import * as sparsimd from 'sparsimd';
import { run } from './page-smoke.js';

run(
  sparsimd,
  () => import('sparsimd/inline'),
  async () => ({ npy: await import('sparsimd/npy'), mtx: await import('sparsimd/mtx') }),
);
