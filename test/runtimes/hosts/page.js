// A page served over HTTP that imports the package's files as they are.
import * as sparsimd from './node_modules/sparsimd/dist/index.web.js';
import { run } from './page-smoke.js';

run(
  sparsimd,
  () => import('./node_modules/sparsimd/dist/inline.js'),
  async () => ({
    npy: await import('./node_modules/sparsimd/dist/npy.js'),
    mtx: await import('./node_modules/sparsimd/dist/mtx.js'),
  }),
);
