// The licences of the packages whose code is in the bundles: dist/THIRD-PARTY-NOTICES.txt.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** @param results esbuild's, with metafiles */
export function writeNotices(results) {
  const inputs = results.flatMap(({ metafile }) => Object.keys(metafile.inputs));
  const folders = inputs.flatMap((path) => path.match(/^.*node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0] ?? []);
  const notices = [...new Set(folders)].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const files = readdirSync(folder).filter((f) => /^(licen[cs]e|copying|notice)/i.test(f));
    const texts = files.map((f) => readFileSync(join(folder, f), 'utf8').trim());
    // @bufbuild/protobuf has its notices in the sources alone.
    const mine = inputs.filter((path) => path.startsWith(`${folder}/`) && !files.length);
    const comments = mine.map((path) =>
      readFileSync(path, 'utf8')
        .match(/^(\/\/.*\n)*/)?.[0]
        .replace(/^\/\/ ?/gm, '')
        .trim(),
    );
    return [`${name} ${version} (${license})`, ...texts, ...new Set(comments)].join('\n\n');
  });
  const head = 'Parts of these packages are in the files of this folder.';
  writeFileSync('dist/THIRD-PARTY-NOTICES.txt', `${[head, ...notices].join(`\n\n${'-'.repeat(80)}\n\n`)}\n`);
}
