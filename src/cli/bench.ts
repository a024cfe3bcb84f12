import Progress from 'cli-progress';
import { feedsOf, load, megabytes, type Options, table, threadsOf } from './common.ts';

const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1];

/** Dense against sparse on this machine: the same network twice, runs interleaved so that noise hits both alike. */
export async function bench(file: string, options: Options): Promise<void> {
  const { model: sparse, fileBytes } = await load(file, options);
  const { model: dense } = await load(file, options, 'off');
  const feeds = await feedsOf(sparse, options);
  const [a, b] = [sparse.runSync(feeds), dense.runSync(feeds)];
  let worst = 0;
  for (const [name, { data }] of Object.entries(a)) {
    const other = b[name].data as Float32Array;
    (data as Float32Array).forEach((v, i) => {
      worst = Math.max(worst, Math.abs(Number(v) - Number(other[i])) / (1 + Math.abs(Number(other[i]))));
    });
  }
  const bar = new Progress.SingleBar(
    { format: '{bar} {percentage}% {what}', linewrap: true, clearOnComplete: true, stream: process.stderr },
    Progress.Presets.shades_classic,
  );
  const warm = Math.max(10, options.runs >> 1);
  if (!options.json) bar.start(warm + options.runs, 0, { what: 'warming up' });
  const times = { sparse: [] as number[], dense: [] as number[] };
  for (let i = 0; i < warm + options.runs; i++) {
    for (const [kind, model] of [
      ['dense', dense],
      ['sparse', sparse],
    ] as const) {
      const start = performance.now();
      model.runSync(feeds);
      if (i >= warm) times[kind].push(performance.now() - start);
    }
    bar.increment(1, { what: i < warm ? 'warming up' : 'timing' });
  }
  bar.stop();
  const [profile, denseProfile] = [sparse.profile(feeds, 10), dense.profile(feeds, 10)];
  const result = {
    file,
    engine: sparse.engine.info,
    denseMs: median(times.dense),
    sparseMs: median(times.sparse),
    speedup: median(times.dense) / median(times.sparse),
    largestDifference: worst,
    fileBytes,
    densePackedBytes: denseProfile.weightBytes,
    packedBytes: profile.weightBytes,
    layers: profile.steps.map((s) => ({ ...s, denseMs: denseProfile.steps.find((d) => d.node === s.node)?.ms })),
  };
  sparse.dispose();
  dense.dispose();
  if (options.json) return console.log(JSON.stringify(result, null, 1));
  console.log(
    table(
      ['layer', 'op', 'format', 'zeros', 'ms', 'dense ms', 'gain', 'GFLOP/s', 'as if dense'],
      result.layers.map((s) => [
        s.node.length > 36 ? `…${s.node.slice(-35)}` : s.node,
        s.op,
        s.format ?? s.kernel,
        s.sparsity === undefined ? '' : `${(100 * s.sparsity).toFixed(0)} %`,
        s.ms.toFixed(3),
        s.denseMs?.toFixed(3) ?? '',
        s.denseMs && s.ms ? `${(s.denseMs / s.ms).toFixed(2)}x` : '',
        s.gflops?.toFixed(1) ?? '',
        s.denseGflops?.toFixed(1) ?? '',
      ]),
      3,
    ),
  );
  console.log(
    `${result.engine.isa} (${result.engine.why}), ${threadsOf(result.engine)}, medians of ${options.runs} interleaved runs`,
  );
  console.log(
    `dense ${result.denseMs.toFixed(2)} ms, sparse ${result.sparseMs.toFixed(2)} ms: ${result.speedup.toFixed(2)}x; largest relative difference ${worst.toExponential(1)}`,
  );
  console.log(
    `file ${megabytes(fileBytes)}, packed dense ${megabytes(result.densePackedBytes)}, packed sparse ${megabytes(result.packedBytes)}`,
  );
}
