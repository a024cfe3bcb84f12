import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { inspect } from 'node:util';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

/** What a user of the published package gets. Needs a finished build in dist/, which `npm test` makes. */

const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const gzipped = (file: string) => gzipSync(readFileSync(file), { level: 9 }).length;
const KILOBYTE = 1000;

type Target = string | Record<string, string>;
const entries = Object.entries(manifest.exports as Record<string, Target>);
const bundles = readdirSync('dist', { recursive: true, encoding: 'utf8' })
  .filter((f) => f.endsWith('.js') && f !== 'cli.js')
  .map((f) => `dist/${f}`);

describe('manifest', () => {
  test('has no dependencies and runs nothing at installation', () => {
    for (const key of ['dependencies', 'optionalDependencies', 'peerDependencies', 'bundleDependencies']) {
      expect(Object.keys(manifest[key] ?? {}), key).toEqual([]);
    }
    expect(Object.keys(manifest.scripts)).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/install|^prepare$/)]),
    );
  });

  test('is ESM without side effects, for every Node from 20', () => {
    expect(manifest).toMatchObject({
      type: 'module',
      sideEffects: false,
      engines: { node: expect.stringMatching(/^>=20/) },
    });
  });

  test.each(entries)('export %s: every target exists', (_, target) => {
    for (const file of typeof target === 'string' ? [target] : Object.values(target)) {
      expect(existsSync(file.replace(/\*$/, '')), file).toBe(true);
    }
  });

  test.each(entries.filter(([, target]) => typeof target === 'object'))(
    'export %s: types come first and default last',
    (_, target) => {
      const conditions = Object.keys(target);
      expect(conditions[0]).toBe('types');
      expect(conditions.at(-1)).toBe('default');
    },
  );

  test('every runtime has its entry', () => {
    expect(Object.keys(manifest.exports['.'])).toEqual(
      expect.arrayContaining(['types', 'workerd', 'deno', 'bun', 'node', 'default']),
    );
    for (const path of ['./core', './inline', './onnx', './npy', './mtx', './wasm/*', './package.json']) {
      expect(manifest.exports).toHaveProperty([path]);
    }
  });

  test('commands are scripts of Node', () => {
    for (const file of Object.values<string>(manifest.bin)) {
      expect(readFileSync(file, 'utf8').split('\n')[0]).toBe('#!/usr/bin/env node');
    }
  });
});

test('public classes keep their names in every bundle, and lines are short: both are what an uncaught error prints', async () => {
  const { ArgumentRangeError, SparseMatrix, Tensor, ...rest } = await import(pathToFileURL('dist/core.js').href);
  for (const [name, value] of Object.entries({ ArgumentRangeError, SparseMatrix, Tensor, ...rest })) {
    if (typeof value === 'function' && /^[A-Z]/.test(name)) expect(value.name).toBe(name);
  }
  expect(() => new Tensor(new Tensor('float32', new Float32Array(1), [1]), [], [])).toThrow(/got a Tensor/);
  try {
    SparseMatrix.fromDense([], -1, 1);
    expect.unreachable();
  } catch (error) {
    expect(inspect(error)).toMatch(/^SparseFormatError: rows: expected/);
  }
  for (const file of bundles.filter((f) => /node-|core|deno-|files-/.test(f))) {
    const longest = Math.max(
      ...readFileSync(file, 'utf8')
        .split('\n')
        .map((line) => line.length),
    );
    expect(longest, file).toBeLessThan(1000);
  }
});

test('a script without its wasm, as some bundlers leave it: a typed error that says what to do, and a later try works', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sparsimd-'));
  try {
    cpSync('dist/index.node.js', join(folder, 'index.node.js'));
    cpSync('dist/chunks', join(folder, 'chunks'), { recursive: true });
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    const { AssetError, Engine } = await import(pathToFileURL(join(folder, 'index.node.js')).href);
    const failed = await Engine.create({ isa: 'simd128' }).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(AssetError);
    expect(failed.message).toMatch(/sparsimd\.simd128\.wasm.*needs sparsimd\/inline, or \{ wasm:/);
    cpSync('dist/wasm', join(folder, 'wasm'), { recursive: true });
    expect((await Engine.create({ isa: 'simd128' })).info.isa).toBe('simd128');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe('types', () => {
  test('a strict TypeScript project can use every entry', () => {
    const modules = entries.filter(([, target]) => typeof target === 'object').map(([path]) => path.slice(1));
    const lines = modules.map((path, i) => `import * as m${i} from '${manifest.name}${path}'; export { m${i} };`);
    const source = [
      ...lines,
      `import { Model, Tensor } from '${manifest.name}';`,
      'export const answer: Promise<Float32Array> = Model.load(new Uint8Array(8), { isa: "simd128", sparsity: "off" })',
      "  .then((m) => m.run({ image: new Tensor('float32', new Float32Array(4), [1, 4]) }))",
      "  .then(({ logits }) => (logits?.type === 'float32' ? logits.data : new Float32Array(0)));",
      '// @ts-expect-error: no such instruction set',
      'export const wrong = Model.load(new Uint8Array(8), { isa: "avx" });',
    ].join('\n');
    const file = `${process.cwd()}/consumer.mts`;
    const options: ts.CompilerOptions = {
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      noEmit: true,
      types: [],
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.NodeNext,
      lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'],
    };
    const host = ts.createCompilerHost(options);
    const { fileExists, getSourceFile, readFile } = host;
    host.fileExists = (f) => f === file || fileExists(f);
    host.readFile = (f) => (f === file ? source : readFile(f));
    host.getSourceFile = (f, language) =>
      f === file ? ts.createSourceFile(f, source, language) : getSourceFile.call(host, f, language);
    const diagnostics = ts.getPreEmitDiagnostics(ts.createProgram([file], options, host));
    expect(ts.formatDiagnostics(diagnostics, host)).toBe('');
  });
});

/** A module's sections by id, read off the binary: Node 20 cannot compile the relaxed one. */
function sectionsOf(bytes: Uint8Array): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  for (let at = 8; at < bytes.length; ) {
    const id = bytes[at++];
    let size = 0;
    let shift = 0;
    let byte: number;
    do {
      byte = bytes[at++];
      size += (byte & 0x7f) * 2 ** shift;
      shift += 7;
    } while (byte & 0x80);
    found.set(id, bytes.subarray(at, at + size));
    at += size;
  }
  return found;
}
const sections = (bytes: Uint8Array): number[] => [...sectionsOf(bytes).keys()];

describe.each(['simd128', 'relaxed'])('%s module', (isa) => {
  const file = `dist/wasm/sparsimd.${isa}.wasm`;
  const SECTION = { import: 2, memory: 5, export: 7, start: 8, code: 10, data: 11 };

  test('imports nothing, so that every way of loading wasm takes it', () => {
    const ids = sections(readFileSync(file));
    expect(ids).toEqual(expect.arrayContaining([SECTION.export, SECTION.code]));
    for (const id of [SECTION.import, SECTION.start, SECTION.data]) expect(ids).not.toContain(id);
  });

  test('is at most 60 kB gzipped', () => {
    expect(gzipped(file)).toBeLessThanOrEqual(60 * KILOBYTE);
  });

  test('for threads: the same code over an imported, shared memory, without start function or data', () => {
    const [one, more] = [file, file.replace('.wasm', '-threads.wasm')].map((f) => sectionsOf(readFileSync(f)));
    expect(Buffer.from(more.get(SECTION.code)!).equals(one.get(SECTION.code)!)).toBe(true);
    for (const id of [SECTION.memory, SECTION.start, SECTION.data]) expect(more.has(id)).toBe(false);
    // One import, env.memory: kind 2, flags 3 (shared, with a maximum), from 1 to 65536 pages.
    const wanted = [1, 3, ...Buffer.from('env'), 6, ...Buffer.from('memory'), 2, 3, 1, 0x80, 0x80, 4];
    expect([...more.get(SECTION.import)!]).toEqual(wanted);
  });
});

describe('bundles', () => {
  test('the web entry without the ONNX reader is at most 20 kB gzipped', async () => {
    const { metafile } = await build({
      entryPoints: ['dist/index.web.js'],
      bundle: true,
      splitting: true,
      format: 'esm',
      metafile: true,
      write: false,
      outdir: 'unused',
      logLevel: 'silent',
    });
    const loaded = new Set<string>();
    const later = new Set<string>();
    const visit = (file: string) => {
      if (loaded.has(file)) return;
      loaded.add(file);
      for (const { path, kind } of metafile.inputs[file].imports) {
        if (kind === 'import-statement') visit(path);
        else later.add(path);
      }
    };
    visit('dist/index.web.js');
    expect([...later].filter((f) => !loaded.has(f))).not.toEqual([]);
    const sizes = Object.fromEntries([...loaded].map((f) => [f, gzipped(f)]));
    const total = Object.values(sizes).reduce((a, b) => a + b, 0);
    expect(total, JSON.stringify(sizes)).toBeLessThanOrEqual(20 * KILOBYTE);
  });

  test.each(bundles.filter((f) => !/index\.(node|deno)|worker\.node|chunks\/(node|deno)|\/onnx\.js/.test(f)))(
    '%s needs nothing of Node',
    (file) => {
      expect(readFileSync(file, 'utf8').match(/\b(from|import)\W*["']node:|\brequire\(/)).toBeNull();
    },
  );

  test('the edge entry asks for no URL of its own, which workers do not have', () => {
    expect(readFileSync('dist/index.workerd.js', 'utf8').includes('import.meta')).toBe(false);
  });
});

test('the readers of files are for every host, and errors are the classes of every entry', async () => {
  for (const file of ['onnx', 'npy', 'mtx']) {
    const seen = new Set<string>();
    const walk = (path: string) => {
      if (seen.has(path)) return;
      seen.add(path);
      const text = readFileSync(path, 'utf8');
      expect(text, path).not.toMatch(/node:(fs|os|worker_threads)/);
      for (const [, next] of text.matchAll(/from"(\.[^"]+)"/g)) walk(join(dirname(path), next));
    };
    walk(`dist/${file}.js`);
  }
  const load = (file: string) => import(pathToFileURL(`dist/${file}.js`).href);
  const [core, npy, onnx] = await Promise.all(['core', 'npy', 'onnx'].map(load));
  const [file, argument, model] = [
    () => npy.readNpy(new Uint8Array(3)),
    () => npy.readNpy(7),
    () => onnx.readOnnxSync(new Uint8Array(0)),
  ].map((f) => {
    try {
      return f();
    } catch (error) {
      return error;
    }
  });
  expect(file).toBeInstanceOf(core.FileFormatError);
  expect(file).toBeInstanceOf(core.SparsimdError);
  expect(file).not.toBeInstanceOf(core.ModelFormatError);
  expect(argument).toBeInstanceOf(core.ArgumentTypeError);
  expect(argument).toBeInstanceOf(TypeError);
  expect(argument).not.toBeInstanceOf(core.SparsimdError);
  expect(model).toBeInstanceOf(core.ModelFormatError);
  expect(new Error('x')).not.toBeInstanceOf(core.SparsimdError);
  // Users' own classes are themselves only.
  class Mine extends core.SparsimdError {}
  const again = { Mine: class Mine extends core.SparsimdError {} };
  expect(new (Mine as new (code: string, message: string) => Error)('X', 'y')).toBeInstanceOf(core.SparsimdError);
  expect(new (Mine as new (code: string, message: string) => Error)('X', 'y')).not.toBeInstanceOf(again.Mine);
  expect(model).not.toBeInstanceOf(Mine);
  expect(Object.create(model, { constructor: { value: undefined } })).toBeInstanceOf(core.ModelFormatError);
});

test('licences of what is bundled are in the package', () => {
  const text = readFileSync('dist/THIRD-PARTY-NOTICES.txt', 'utf8');
  for (const name of ['@bufbuild/protobuf', 'cli-progress', 'cli-table3']) expect(text).toContain(`\n${name} `);
  expect(text).toMatch(/Google Inc[\s\S]*Apache License[\s\S]*MIT License/i);
});

test('npm publishes the build and the documents, nothing else', () => {
  const out = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [{ files }] = Object.values(JSON.parse(out)) as [{ files: { path: string }[] }];
  const paths = files.map(({ path }) => path);
  const documents = ['package.json', 'README.md', 'CHANGELOG.md', 'LICENSE', 'ARCHITECTURE.md', 'assembly/README.md'];
  expect(paths).toEqual(expect.arrayContaining(documents));
  expect(paths.filter((p) => !documents.includes(p) && !p.startsWith('dist/'))).toEqual([]);
  expect(paths.filter((p) => /\.(map|test\.\w+|tsbuildinfo)$/.test(p))).toEqual([]);
});
