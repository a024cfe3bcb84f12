import { feedsOf, load, megabytes, type Options, table, threadsOf } from './common.ts';

/** Layers, shapes, sparsity, the format chosen and what it is predicted to gain, file and packed size. */
export async function inspect(file: string, options: Options): Promise<void> {
  const { model, fileBytes } = await load(file, options);
  const { engine } = model;
  const steps = model.plan(await feedsOf(model, options));
  if (options.json) {
    console.log(
      JSON.stringify(
        {
          file,
          fileBytes,
          packedBytes: model.weightBytes,
          engine: engine.info,
          inputs: model.inputs,
          outputs: model.outputs,
          steps,
        },
        null,
        1,
      ),
    );
    return model.dispose();
  }
  const io = (list: typeof model.inputs) =>
    list.map((v) => `${v.name} ${v.type}[${v.dims?.map((d) => d ?? '?').join(',') ?? '…'}]`).join('  ');
  console.log(`${file}: ${steps.length} steps; in ${io(model.inputs)}; out ${io(model.outputs)}`);
  console.log(`engine: ${engine.info.isa} (${engine.info.why}), ${threadsOf(engine.info)}`);
  console.log(
    table(
      ['layer', 'op', 'output', 'kernel', 'format', 'zeros', 'MFLOP', 'predicted gain', 'why'],
      steps.map((s) => [
        s.node.length > 36 ? `…${s.node.slice(-35)}` : s.node,
        s.op,
        s.dims.join('x'),
        s.kernel,
        s.format ?? '',
        s.sparsity === undefined ? '' : `${(100 * s.sparsity).toFixed(1)} %`,
        s.denseFlops ? (s.denseFlops / 1e6).toFixed(2) : '',
        s.predictedMs && s.predictedDenseMs && s.format !== 'dense'
          ? `${(s.predictedDenseMs / s.predictedMs).toFixed(2)}x`
          : '',
        why(s),
      ]),
      5,
    ),
  );
  console.log(`file ${megabytes(fileBytes)}, packed weights ${megabytes(model.weightBytes)}`);
  model.dispose();
}

type Steps = ReturnType<Awaited<ReturnType<typeof load>>['model']['plan']>;

/** The formats' predicted times, and what the same zeros would gain in groups. */
function why(step: Steps[number]): string {
  const { format, sparsity, predictedMs, predictedFormatsMs, predictedGroupedMs, groupSize } = step;
  if (!sparsity || !predictedMs || !predictedFormatsMs) return '';
  const others = Object.entries(predictedFormatsMs)
    .sort(([, a], [, b]) => a - b)
    .map(([name, ms]) => `${name} ${ms.toPrecision(2)}`);
  const gain = predictedMs / (predictedGroupedMs ?? predictedMs);
  const grouped = `; the same zeros in groups of ${groupSize}: ${gain.toFixed(1)}x faster`;
  return `${others.join(' < ')} ms${format !== `group${groupSize}` && gain > 1.1 ? grouped : ''}`;
}
