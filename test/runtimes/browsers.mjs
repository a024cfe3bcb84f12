import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import puppeteer from 'puppeteer-core';
import { BUNDLERS, SERVERS } from './bundlers.mjs';

const TIMEOUT = 120_000;
const TYPES = { '.js': 'text/javascript', '.wasm': 'application/wasm', '.html': 'text/html' };

const BROWSERS = [
  {
    name: 'Chromium',
    launch: {
      executablePath: '/usr/bin/chromium',
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--disable-sync',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
      ],
    },
  },
  { name: 'Firefox', launch: { browser: 'firefox', executablePath: '/usr/bin/firefox-esr' } },
];

/**
 * Serves the app's folder with the policy the documentation asks for, at `/?forbidden` one that bars WebAssembly, and at
 * `/?isolated` with the headers that shared memory needs. */
async function serve(folder) {
  const server = createServer(async ({ url }, response) => {
    const { pathname, search } = new URL(url, 'http://localhost');
    // A worker's script needs it as well as its page.
    response.setHeader('cross-origin-embedder-policy', 'require-corp');
    if (search === '?isolated') response.setHeader('cross-origin-opener-policy', 'same-origin');
    if (pathname === '/') {
      response.setHeader('content-type', 'text/html');
      response.setHeader(
        'content-security-policy',
        `default-src 'self'; script-src 'self'${search === '?forbidden' ? '' : " 'wasm-unsafe-eval'"}`,
      );
      response.end('<!doctype html><title>smoke</title><script type="module" src="/page.js"></script>');
      return;
    }
    try {
      const body = await readFile(join(folder, normalize(pathname)));
      response.setHeader('content-type', TYPES[extname(pathname)] ?? 'application/octet-stream');
      response.setHeader('content-length', body.length);
      response.end(body);
    } catch {
      response.writeHead(404, { 'content-type': 'text/html' });
      response.end('<!doctype html><title>404</title>');
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

/** One HTML file that needs nothing else: the package's inline entry, the smoke test and the fixture in a classic script. */
async function writeFilePage({ folder, fixture }) {
  const encoded = Object.fromEntries(
    Object.entries(fixture).map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')]),
  );
  const { outputFiles } = await build({
    entryPoints: [join(folder, 'file-page.js')],
    bundle: true,
    format: 'iife',
    write: false,
    logLevel: 'silent',
    plugins: [
      {
        name: 'fixture',
        setup(b) {
          b.onResolve({ filter: /^fixture$/ }, () => ({ path: 'fixture', namespace: 'fixture' }));
          b.onLoad({ filter: /.*/, namespace: 'fixture' }, () => ({
            contents: JSON.stringify(encoded),
            loader: 'json',
          }));
        },
      },
    ],
  });
  const script = outputFiles[0].text.replaceAll('</script', '<\\/script');
  const file = join(folder, 'file-page.html');
  await writeFile(file, `<!doctype html><meta charset="utf-8"><title>smoke</title><script>${script}</script>`);
  return pathToFileURL(file).href;
}

async function visit(browser, url) {
  const page = await browser.newPage();
  const said = [];
  page.on('console', (message) => said.push(message.text()));
  page.on('pageerror', (error) => said.push(String(error)));
  await page.goto(url, { timeout: TIMEOUT });
  for (const start = Date.now(); Date.now() - start < TIMEOUT; await new Promise((r) => setTimeout(r, 100))) {
    const results = await page.evaluate(() => JSON.stringify(globalThis.smokeResults ?? null));
    if (results !== 'null') return JSON.parse(results);
  }
  throw new Error(`no results within ${TIMEOUT} ms; the page said: ${said.join('; ')}`);
}

async function inBrowser(app, launch, work) {
  const server = await serve(app.folder);
  let browser;
  try {
    browser = await puppeteer.launch({ headless: true, protocolTimeout: TIMEOUT, ...launch });
    const results = [];
    await work(server.origin, async (where, url) => {
      for (const r of await visit(browser, url)) results.push({ ...r, name: `${where}: ${r.name}` });
    });
    return results;
  } finally {
    await browser?.close();
    server.close();
  }
}

export const PAGES = [
  ...BROWSERS.map(({ name, launch }) => ({
    name,
    run: (app) =>
      inBrowser(app, launch, async (origin, check) => {
        await check('page', `${origin}/`);
        await check('page', `${origin}/?forbidden`);
        await check('isolated page', `${origin}/?isolated`);
        await check('file: page', await writeFilePage(app));
      }),
  })),
  ...Object.entries(BUNDLERS).map(([name, bundle]) => ({
    name: `Chromium, ${name}`,
    run: (app) =>
      inBrowser(app, BROWSERS[0].launch, async (origin, check) => {
        const path = await bundle(app.folder);
        await check('page', `${origin}${path}`);
        await check('isolated page', `${origin}${path}?isolated`);
      }),
  })),
  ...Object.entries(SERVERS).map(([name, start]) => ({
    name: `Chromium, ${name}`,
    run: (app) =>
      inBrowser(app, BROWSERS[0].launch, async (_, check) => {
        const { url, close } = await start(app.folder);
        try {
          await check('isolated page', `${url}?isolated`);
        } finally {
          await close();
        }
      }),
  })),
];
