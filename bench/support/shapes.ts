/** [output channels, input channels, pixels or tokens] of real layers; none left out because it is awkward. */
export type Shape = readonly [rows: number, cols: number, columns: number];

export const SHAPES: Record<string, readonly Shape[]> = {
  // The pointwise layers of MobileNetV1 1.0/224.
  mobilenetv1: [
    [64, 32, 12544],
    [128, 64, 3136],
    [128, 128, 3136],
    [256, 128, 784],
    [256, 256, 784],
    [512, 256, 196],
    [512, 512, 196],
    [1024, 512, 49],
    [1024, 1024, 49],
  ],
  // Of MobileNetV2 1.0/224, all nineteen: expansions and projections of each resolution.
  mobilenetv2: [
    [16, 32, 12544],
    [96, 16, 12544],
    [24, 96, 3136],
    [144, 24, 3136],
    [24, 144, 3136],
    [32, 144, 784],
    [192, 32, 784],
    [32, 192, 784],
    [64, 192, 196],
    [384, 64, 196],
    [64, 384, 196],
    [96, 384, 196],
    [576, 96, 196],
    [96, 576, 196],
    [160, 576, 49],
    [960, 160, 49],
    [160, 960, 49],
    [320, 960, 49],
    [1280, 320, 49],
  ],
  transformer: [
    [768, 768, 128],
    [3072, 768, 128],
    [768, 3072, 128],
    [768, 768, 384],
    [3072, 768, 384],
    [768, 3072, 384],
  ],
};

/** The shapes of a family, or one written as 512x512x196. */
export const shapesOf = (name: string): readonly Shape[] =>
  SHAPES[name] ?? [name.split('x').map(Number) as unknown as Shape];
