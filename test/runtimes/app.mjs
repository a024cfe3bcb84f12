import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const ROOT = join(HERE, '../..');
const MODELS = join(ROOT, 'test/fixtures/models');
const MODEL = 'mbv1-050-g4-80';
const SIZE = 96;

/** Image 0 of the fixture, bilinear 28 → 96 with half-pixel centres, normalised as in training. */
function firstImage() {
  const pixels = gunzipSync(readFileSync(join(MODELS, 'public1000.u8.gz'))).subarray(0, 28 * 28);
  const taps = Array.from({ length: SIZE }, (_, i) => {
    const at = Math.min(27, Math.max(0, ((i + 0.5) * 28) / SIZE - 0.5));
    const low = Math.floor(at);
    return { low, high: Math.min(low + 1, 27), weight: at - low };
  });
  const mix = (a, b, weight) => a * (1 - weight) + b * weight;
  return Float32Array.from({ length: SIZE * SIZE }, (_, i) => {
    const y = taps[Math.floor(i / SIZE)];
    const x = taps[i % SIZE];
    const row = (r) => mix(pixels[r * 28 + x.low], pixels[r * 28 + x.high], x.weight);
    return (mix(row(y.low), row(y.high), y.weight) / 255 - 0.286) / 0.353;
  });
}

/** The files of the fixture by name. */
function fixture() {
  return {
    'model.onnx': gunzipSync(readFileSync(join(MODELS, `${MODEL}.onnx.gz`))),
    'image.f32': new Uint8Array(firstImage().buffer),
    'logits.f32': readFileSync(join(MODELS, `${MODEL}.logits50.f32`)).subarray(0, 40),
  };
}

/**
 * A folder as a user of the package has it: what `npm pack` would publish, installed, beside the smoke test, its hosts and
 * the fixture. So every runtime resolves `sparsimd` through the package's own `exports`.
 * @returns {{ folder: string, fixture: Record<string, Uint8Array>, remove: () => void }}
 */
export function createApp() {
  if (!existsSync(join(ROOT, 'dist/index.web.js'))) throw new Error('dist/ is not built: npm run build');
  const folder = mkdtempSync(join(tmpdir(), 'sparsimd-smoke-'));
  const installed = join(folder, 'node_modules/sparsimd');
  mkdirSync(installed, { recursive: true });
  const packed = execFileSync('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [{ filename }] = Object.values(JSON.parse(packed));
  execFileSync('tar', ['-xzf', join(folder, filename), '-C', installed, '--strip-components=1']);
  rmSync(join(folder, filename));
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ private: true, type: 'module', dependencies: { sparsimd: '*' } }),
  );
  cpSync(join(HERE, 'smoke.js'), join(folder, 'smoke.js'));
  cpSync(join(HERE, 'hosts'), folder, { recursive: true });
  const files = fixture();
  mkdirSync(join(folder, 'fixture'));
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, 'fixture', name), bytes);
  return { folder, fixture: files, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
