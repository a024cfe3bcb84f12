/** Times the stem, the gathering of taps and the sum of transposed products on real layers; the stem's answer is checked. */
import { col2imCalls, im2panelCalls, stemCalls, stemScratchBytes } from '../src/kernel/conv.ts';
import { packStem } from '../src/pack/conv.ts';
import { convolution } from '../src/reference/conv.ts';
import { ISAS, Machine, option, rng } from './support/machine.ts';
import { type Case, Clock } from './support/timing.ts';

const ms = Number(option('ms', '100'));
const r = rng(3);
const floats = (n: number) => Float32Array.from({ length: n }, r);

/** [channels, output channels, input size] of MobileNet at two resolutions, and of a grey one whose rows are ragged. */
const STEMS = [
  [3, 32, 224],
  [3, 16, 192],
  [1, 32, 99],
] as const;

function stem(
  machine: Machine,
  [channels, rows, size]: (typeof STEMS)[number],
  lanes: number,
): Case & { flops: number } {
  const out = Math.ceil(size / 2);
  const pixels = out * out;
  const pad = size % 2;
  const shape = { channels, height: size, width: size, outHeight: out, outWidth: out };
  const [x, w, b] = [channels * size * size, rows * channels * 9, rows].map(floats);
  const yPanelStride = 4 * lanes * rows;
  const y = machine.alloc(4 * rows * (pixels + 16));
  const run = machine.bind(
    stemCalls({
      ...shape,
      ...{ rows, lanes, y, yPanelStride, yChannelStride: lanes ? 4 * lanes : 4 * pixels },
      ...{ x: machine.put(x), weights: machine.put(packStem(w, b, rows, channels)), padTop: pad, padLeft: pad },
      ...{ min: 0, max: 6, scratch: machine.alloc(stemScratchBytes(channels)) },
    }),
  );
  run();
  const f32 = new Float32Array(machine.memory.buffer);
  const window = { kernel: [3, 3], stride: [2, 2], dilation: [1, 1], pad: [pad, pad] } as const;
  convolution(x, w, b, rows, { ...shape, ...window }, 0, 6).forEach((v, n) => {
    const [c, p] = [Math.floor(n / pixels), n % pixels];
    const at = lanes ? Math.floor(p / lanes) * yPanelStride + 4 * (lanes * c + (p % lanes)) : 4 * n;
    const got = f32[(y + at) >> 2];
    if (!(Math.abs(got - v) < 1e-5)) throw new Error(`stem ${size}: Y[${c}][${p}] is ${got}, expected ${v}`);
  });
  return { name: lanes ? `panels of ${lanes}` : 'plain', run, flops: 2 * 9 * channels * rows * pixels };
}

/** [channels, output size, kernel, stride]: residual networks and the like. */
const GATHERS = [
  [3, 112, 7, 2],
  [64, 56, 3, 1],
  [128, 28, 3, 1],
  [128, 28, 3, 2],
  [256, 14, 3, 1],
  [512, 7, 3, 1],
  [64, 28, 1, 2],
  [36, 32, 3, 1],
  [144, 32, 3, 1],
  [64, 16, 3, 1],
  [64, 64, 3, 1],
] as const;

function gather(machine: Machine, [channels, out, kernel, stride]: (typeof GATHERS)[number]): Case & { bytes: number } {
  const size = out * stride;
  const pad = kernel >> 1;
  const taps = channels * kernel * kernel;
  const x = machine.put(floats(channels * size * size));
  const yPanelStride = 64 * taps + 64;
  const all = Math.ceil((out * out) / 16);
  const block = Math.min(all, Math.max(1, Math.floor((512 * 1024) / yPanelStride)));
  const y = machine.alloc(block * yPanelStride);
  const shape = { channels, height: size, width: size, outHeight: out, outWidth: out };
  const window = { kernel: [kernel, kernel], stride: [stride, stride], dilation: [1, 1], pad: [pad, pad] } as const;
  const calls = Array.from({ length: Math.ceil(all / block) }, (_, n) => n * block).flatMap((firstPanel) => {
    const panels = Math.min(block, all - firstPanel);
    return im2panelCalls({ ...shape, ...window, x, y, yPanelStride, lanes: 16, firstPanel, panels });
  });
  return { name: 'gather', run: machine.bind(calls), bytes: 64 * taps * all };
}

/** [channels, input size, kernel, stride]: upsampling by two, and a residual decoder. */
const SUMS = [
  [24, 80, 2, 2],
  [64, 28, 4, 2],
  [64, 28, 3, 1],
] as const;

function sum(machine: Machine, [channels, size, kernel, stride]: (typeof SUMS)[number]): Case & { bytes: number } {
  const pad = kernel > stride ? 1 : 0;
  const out = (size - 1) * stride + kernel - 2 * pad;
  const x = machine.put(floats(channels * kernel * kernel * size * size));
  const shape = { channels, height: size, width: size, outHeight: out, outWidth: out };
  const window = { kernel: [kernel, kernel], stride: [stride, stride], dilation: [1, 1], pad: [pad, pad] } as const;
  const y = machine.alloc(4 * channels * out * out);
  const bias = machine.put(floats(channels));
  const run = machine.bind(col2imCalls({ ...shape, ...window, x, y, bias, min: 0, max: 6 }));
  return { name: 'sum', run, bytes: 4 * channels * kernel * kernel * size * size };
}

for (const isa of ISAS) {
  if (!option('isa', isa).includes(isa)) continue;
  const clock = new Clock(isa);
  for (const shape of STEMS) {
    const cases = [0, 16].map((lanes) => stem(new Machine(isa), shape, lanes));
    const cells = clock.measure(cases, ms).map((t, i) => {
      const rate = (cases[i].flops / t.median).toFixed(1);
      return `${t.name} ${(t.median / 1e6).toFixed(3)} ms ${rate} GFLOP/s${t.kept < 3 ? '~' : ''}`;
    });
    console.log(`stem ${shape.join('x')}`.padEnd(24), cells.join(', '));
  }
  for (const shape of GATHERS) {
    const one = gather(new Machine(isa), shape);
    const [t] = clock.measure([one], ms);
    console.log(
      `gather ${shape.join('x')}`.padEnd(24),
      `${(t.median / 1e6).toFixed(3)} ms ${(one.bytes / t.median).toFixed(1)} GB/s written${t.kept < 3 ? '~' : ''}`,
    );
  }
  for (const shape of SUMS) {
    const one = sum(new Machine(isa), shape);
    const [t] = clock.measure([one], ms);
    console.log(
      `sum ${shape.join('x')}`.padEnd(24),
      `${(t.median / 1e6).toFixed(3)} ms ${(one.bytes / t.median).toFixed(1)} GB/s of products${t.kept < 3 ? '~' : ''}`,
    );
  }
  console.log(`Node ${process.versions.node} ${isa}, roofline ${clock.roofline.toFixed(1)} GFLOP/s\n`);
}
