/** Times the depthwise kernels on the layers of MobileNetV1 1.0/224 and on 5x5 layers of MobileNetV3; answers are checked. */
import { depthwiseCalls, depthwiseScratchBytes } from '../src/kernel/depthwise.ts';
import { packDepthwise } from '../src/pack/depthwise.ts';
import { depthwise } from '../src/reference/depthwise.ts';
import { ISAS, Machine, option, rng } from './support/machine.ts';
import { Clock } from './support/timing.ts';

/** [input height and width, channels, kernel, stride, how often the network has it] */
const NETWORKS: Record<string, [number, number, number, number, number][]> = {
  mobilenetv1: [
    [112, 32, 3, 1, 1],
    [112, 64, 3, 2, 1],
    [56, 128, 3, 1, 1],
    [56, 128, 3, 2, 1],
    [28, 256, 3, 1, 1],
    [28, 256, 3, 2, 1],
    [14, 512, 3, 1, 5],
    [14, 512, 3, 2, 1],
    [7, 1024, 3, 1, 1],
  ],
  '5x5': [
    [56, 72, 5, 2, 1],
    [28, 120, 5, 1, 2],
    [14, 672, 5, 2, 1],
    [7, 960, 5, 1, 2],
  ],
};

const ms = Number(option('ms', '100'));
const lanesOf = option('lanes', '0,16').split(',').map(Number);

for (const isa of ISAS) {
  if (!option('isa', isa).includes(isa)) continue;
  const clock = new Clock(isa);
  for (const [network, layers] of Object.entries(NETWORKS)) {
    const total = lanesOf.map(() => 0);
    for (const [size, channels, kernel, stride, times] of layers) {
      const machine = new Machine(isa);
      const out = Math.ceil(size / stride);
      const pad = kernel >> 1;
      const shape = { channels, height: size, width: size, outHeight: out, outWidth: out, kernel, stride };
      const all = { ...shape, padTop: pad, padLeft: pad };
      const r = rng(size);
      const [x, w] = [channels * size * size, channels * kernel * kernel].map((n) =>
        Float32Array.from({ length: n }, r),
      );
      const place = {
        x: machine.put(x),
        weights: machine.put(packDepthwise(w, undefined, channels, kernel)),
        scratch: machine.alloc(depthwiseScratchBytes(all)),
      };
      const cases = lanesOf.map((lanes) => {
        const panelStride = lanes ? 4 * lanes * channels + 64 : 0;
        const y = machine.alloc(lanes ? Math.ceil((out * out) / lanes) * panelStride : 4 * channels * out * out);
        const strides = { yChannelStride: lanes ? 4 * lanes : 4 * out * out, yPanelStride: panelStride };
        const run = machine.bind(depthwiseCalls({ ...all, ...place, y, ...strides, lanes, min: 0, max: 6 }));
        run();
        const f32 = new Float32Array(machine.memory.buffer);
        const last = channels - 1;
        const plane = x.subarray(last * size * size);
        const expected = depthwise(plane, w.subarray(last * kernel * kernel), undefined, { ...all, channels: 1 });
        expected.forEach((v, p) => {
          const at = lanes ? Math.floor(p / lanes) * panelStride + 4 * (p % lanes) : 4 * p;
          const got = f32[(y + last * strides.yChannelStride + at) >> 2];
          if (!(Math.abs(got - Math.min(6, Math.max(0, v))) < 1e-5)) throw new Error(`${size}: ${got}, expected ${v}`);
        });
        // Past the engine's tier-up: the first layer of each kernel would carry the baseline compiler's time.
        for (const until = performance.now() + 100; performance.now() < until; ) run();
        return { name: lanes ? `panels of ${lanes}` : 'plain', run };
      });
      const flops = 2 * kernel * kernel * channels * out * out;
      const cells = clock.measure(cases, ms).map((t, i) => {
        total[i] += times * t.median;
        return `${(t.median / 1e6).toFixed(3)} ms ${(flops / t.median).toFixed(1)} GFLOP/s${t.kept < 3 ? '~' : ' '}`;
      });
      console.log(`${channels}x${size}x${size} ${kernel}x${kernel}s${stride}`.padEnd(20), `${times}x`, ...cells);
    }
    const sums = total.map((t, i) => `${(t / 1e6).toFixed(3)} ms ${lanesOf[i] ? `panels of ${lanesOf[i]}` : 'plain'}`);
    console.log(`${network}: ${sums.join(', ')} (Node ${process.versions.node} ${isa})\n`);
  }
}
