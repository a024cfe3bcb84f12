/** What both builds of onnxruntime share: one session, typed array in, typed array out. */
export async function session(ort, bytes, options) {
  const model = await ort.InferenceSession.create(bytes, options);
  const dims = model.inputMetadata[0].shape.map((d) => (typeof d === 'string' ? 1 : d));
  return async (image) => (await model.run({ image: new ort.Tensor('float32', image, dims) })).logits.data;
}
