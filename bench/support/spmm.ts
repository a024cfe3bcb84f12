/** Times SpMM variants on real shapes, one engine and instruction set at a time; every answer is checked first. */
import { writeFileSync } from 'node:fs';
import { spmmCalls } from '../../src/kernel/spmm.ts';
import { VARIANTS, type Variant } from '../../src/kernel/variants.ts';
import { packSpmm } from '../../src/pack/spmm.ts';
import { ISAS, type Isa, Machine, option, rng } from './machine.ts';
import { type Shape, shapesOf } from './shapes.ts';
import { Clock, geomean } from './timing.ts';

const LANES = 16;
const ACTIVATION = option('activation', 'network');

/**
 * The activation fused into a layer: MobileNetV1's Relu, V2's Relu6 after expansions, nothing after projections or in transformers.
 * `--activation none`: the products alone, which is what floating-point operations are counted of.
 */
function limitsOf(family: string, [rows, cols]: Shape): { min: number; max: number } {
  if (ACTIVATION === 'none') return { min: -Infinity, max: Infinity };
  const relu6 = family === 'mobilenetv2' && rows > cols;
  return { min: relu6 || family === 'mobilenetv1' ? -1e30 : -Infinity, max: relu6 ? 1e30 : Infinity };
}

/** Weights with a random `density` of nonzeros, shared by each `group` of rows. */
export function pruned(rows: number, cols: number, density: number, group: number, seed = 7): Float32Array {
  const r = rng(seed);
  const w = new Float32Array(rows * cols);
  for (let g = 0; g < rows; g += group) {
    for (let k = 0; k < cols; k++) {
      if ((r() + 1) / 2 >= density) continue;
      for (let c = g; c < Math.min(rows, g + group); c++) w[c * cols + k] = r() || 0.5;
    }
  }
  return w;
}

/** Binds one variant to one shape, and compares its answer on eight columns, the last included, with an f64 loop. */
export function prepare(machine: Machine, variant: Variant, w: Float32Array, shape: Shape, family: string) {
  const [rows, cols, columns] = shape;
  const bias = Float32Array.from({ length: rows }, (_, i) => i / rows);
  const p = packSpmm(w, rows, cols, variant, bias);
  const panels = Math.ceil(columns / LANES);
  const xPanelStride = cols * 64 + 64;
  const yPanelStride = rows * 64 + 64;
  const at = machine.put(p.data);
  const x = machine.alloc(panels * xPanelStride);
  const y = machine.alloc(panels * yPanelStride);
  const X = new Float32Array(machine.memory.buffer, x, (panels * xPanelStride) / 4);
  const r = rng(3);
  for (let i = 0; i < X.length; i++) X[i] = r();
  const io = { x, xPanelStride, y, yPanelStride, yChannelStride: 64, columns, ...limitsOf(family, shape) };
  const run = machine.bind(spmmCalls(p, at, io));
  run();
  const f32 = new Float32Array(machine.memory.buffer);
  for (let t = 0; t < 8; t++) {
    const column = columns - 1 - Math.floor((t * columns) / 8);
    const lane = (base: number, stride: number, c: number) =>
      f32[(base + Math.floor(column / LANES) * stride + c * 64 + (column % LANES) * 4) >> 2];
    for (let row = 0; row < rows; row++) {
      let sum = bias[row];
      for (let k = 0; k < cols; k++) sum += w[row * cols + k] * lane(x, xPanelStride, k);
      const got = lane(y, yPanelStride, row);
      if (!(Math.abs(got - sum) <= 1e-5 * Math.sqrt(cols) + 1e-6)) {
        throw new Error(`${variant.name} ${rows}x${cols}x${columns}: Y[${row}][${column}] is ${got}, expected ${sum}`);
      }
    }
  }
  return { run, packed: p };
}

export interface Row {
  isa: Isa;
  shape: string;
  kernel: string;
  microseconds: number;
  gflops: number;
  asIfDense: number;
  share: number;
  kept: number;
  /** GFLOP/s of the best sample. */
  best: number;
}

/** The rows of all calls, which end up in one file. */
const all: Row[] = [];

/**
 * @param group rows that share their zeros
 * @returns GFLOP/s of the fastest kernel for each shape, geometric mean, of each instruction set
 */
export function benchSpmm(formats: readonly string[], density: number, group: number): Map<Isa, number> {
  const rates = new Map<Isa, number>();
  const only = option('only', '');
  const ms = Number(option('ms', '100'));
  const shapes = option('shapes', 'mobilenetv1,mobilenetv2,transformer')
    .split(',')
    .flatMap((s) => shapesOf(s).map((shape) => ({ family: s, shape })));
  const variants = VARIANTS.filter((v) => v.op === 'spmm' && formats.includes(v.format!) && v.name.includes(only));
  if (!variants.length) return rates;
  const out: Row[] = [];
  for (const isa of ISAS) {
    if (!option('isa', isa).includes(isa)) continue;
    const clock = new Clock(isa);
    for (const { family, shape } of shapes) {
      const [rows, cols, columns] = shape;
      const machine = new Machine(isa);
      const w = pruned(rows, cols, density, group);
      const cases = variants.map((v) => ({ name: v.name, ...prepare(machine, v, w, shape, family) }));
      clock.measure(cases, ms).forEach((t, i) => {
        const flops = 2 * cases[i].packed.nonzeros * columns;
        out.push({
          isa,
          shape: shape.join('x'),
          kernel: t.name,
          microseconds: t.median / 1e3,
          gflops: flops / t.median,
          asIfDense: (2 * rows * cols * columns) / t.median,
          share: flops / t.median / clock.roofline,
          kept: t.kept,
          best: flops / t.best,
        });
      });
      const line = out
        .slice(-variants.length)
        .map((r) => `${r.gflops.toFixed(1)}${r.kept < 3 ? '~' : ' '}/${r.best.toFixed(1)}`.padStart(13));
      console.log(shape.join('x').padEnd(16), ...line);
    }
    console.log(
      `\nNode ${process.versions.node} ${isa}, density ${density}, groups of ${group}, ${ACTIVATION === 'none' ? 'no activation' : "the network's activation"}, roofline ${clock.roofline.toFixed(1)} GFLOP/s (a loop with slack: ${clock.most.toFixed(1)})`,
    );
    const summary = (name: string, mine: readonly Row[]) => {
      const g = geomean(mine.map((r) => r.gflops));
      console.log(
        `${name.padEnd(26)} geomean ${g.toFixed(1)} GFLOP/s on nonzeros, ${geomean(mine.map((r) => r.asIfDense)).toFixed(1)} as if dense, ` +
          `${((100 * g) / clock.roofline).toFixed(1)} % of the roofline, best samples ${((100 * geomean(mine.map((r) => r.best))) / clock.roofline).toFixed(1)} % (${mine.filter((r) => r.kept >= 3).length} of ${mine.length} shapes undisturbed)`,
      );
    };
    const rows = out.filter((r) => r.isa === isa);
    for (const v of variants) {
      summary(
        v.name,
        rows.filter((r) => r.kernel === v.name),
      );
    }
    const fastest = shapes.map(({ shape }) =>
      rows.filter((r) => r.shape === shape.join('x')).reduce((a, b) => (a.microseconds < b.microseconds ? a : b)),
    );
    if (variants.length > 1) summary('the fastest for each shape', fastest);
    const least = fastest.reduce((a, b) => (a.share < b.share ? a : b));
    console.log(`least: ${least.shape}, ${(100 * least.share).toFixed(1)} % of the roofline`);
    rates.set(isa, geomean(fastest.map((r) => r.gflops)));
    console.log();
  }
  const file = option('json', '');
  if (file) writeFileSync(file, JSON.stringify(all.push(...out) && all, null, 1));
  return rates;
}
