import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'vite';
import webpack from 'webpack';

const HTML = '<!doctype html><title>smoke</title><script type="module" src="SCRIPT"></script>';

/** Each builds bundled-page.js into a folder of the app's, with nothing configured but where, and answers its page's path. */
export const BUNDLERS = {
  async Vite(folder) {
    await writeFile(join(folder, 'vite.html'), HTML.replace('SCRIPT', '/bundled-page.js'));
    await build({
      ...{ root: folder, configFile: false, base: './', logLevel: 'error' },
      build: { outDir: 'vite', rollupOptions: { input: join(folder, 'vite.html') } },
    });
    return '/vite/vite.html';
  },
  async webpack(folder) {
    const stats = await promisify(webpack)({
      ...{ context: folder, mode: 'production', entry: './bundled-page.js' },
      output: { path: join(folder, 'webpack'), filename: 'main.js' },
    });
    if (stats.hasErrors()) throw new Error(stats.toString({ all: false, errors: true }));
    await writeFile(join(folder, 'webpack/index.html'), HTML.replace('SCRIPT', 'main.js'));
    return '/webpack/index.html';
  },
};
