import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build, createServer } from 'vite';
import * as vite7 from 'vite7';
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

const HEADERS = { 'cross-origin-embedder-policy': 'require-corp', 'cross-origin-opener-policy': 'same-origin' };

/** A page of Vite's development server, cross-origin isolated. */
async function develop(create, folder, config) {
  const name = `vite-${Object.keys(config).join('') || 'plain'}.html`;
  await writeFile(join(folder, name), HTML.replace('SCRIPT', '/bundled-page.js'));
  const server = await create({
    ...{ root: folder, configFile: false, logLevel: 'error', appType: 'mpa', cacheDir: join(folder, `.${name}`) },
    // Optimised ahead, the page is not loaded again in the middle of a check.
    server: { port: 0, host: '127.0.0.1', headers: HEADERS, hmr: false },
    ...config,
  });
  await server.listen();
  return { url: `${server.resolvedUrls.local[0]}${name}`, close: () => server.close() };
}

/** Development servers, which move scripts but do not bundle them; as README says, those before Vite 8 must leave ours alone. */
export const SERVERS = {
  'Vite 8, development': (folder) => develop(createServer, folder, {}),
  'Vite 7, development': (folder) => develop(vite7.createServer, folder, { optimizeDeps: { exclude: ['sparsimd'] } }),
};
