import { toOnnx } from '../../models/mobilenet.mjs';

/** @type {import('../engine.mjs').OpenEngine} */
export async function open() {
  const { Model, Tensor } = await import('../../../dist/index.node.js');
  let isa = '';
  return {
    get name() {
      return `sparsimd ${isa}`;
    },
    layout: 'NCHW',
    async load(network, { sparsity = 'auto' } = {}) {
      const { channels, resolution } = network.options;
      const model = await Model.load(toOnnx(network), { sparsity });
      isa = model.engine.info.isa;
      return (image) =>
        model.runSync({ image: new Tensor('float32', image, [1, channels, resolution, resolution]) }).logits.data;
    },
  };
}
