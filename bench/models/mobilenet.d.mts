export interface Pattern {
  /** `csr` drops single weights, `groupN` blocks of N consecutive output channels at one input channel. */
  kind: 'dense' | 'csr' | 'group2' | 'group4';
  /** Fraction of the weights that are zero. */
  sparsity?: number;
}
export interface MobilenetOptions {
  /** Width multiplier (1). */
  alpha?: number;
  /** Height and width of the image (224). */
  resolution?: number;
  /** Channels of the image (3). */
  channels?: number;
  /** Number of logits (1000). */
  classes?: number;
  /** Which weights of the pointwise convolutions are zero (dense). */
  pattern?: Pattern;
  /** After every convolution (relu6). */
  activation?: 'relu6' | 'relu';
  seed?: number;
}
export interface ConvLayer {
  kind: 'conv' | 'depthwise' | 'pointwise';
  /** Channels in. */
  input: number;
  /** Channels out. */
  output: number;
  /** Side of the square kernel; padding is kernel >> 1 on all four sides. */
  kernel: number;
  stride: number;
  /** Height and width of the output. */
  size: number;
  /** [output][input / groups][kernel][kernel] */
  weights: Float32Array;
  bias: Float32Array;
}
export interface Mobilenet {
  options: Required<MobilenetOptions>;
  /** In order; a global average pool follows. */
  layers: ConvLayer[];
  /** weights [output][input] */
  classifier: { input: number; output: number; weights: Float32Array; bias: Float32Array };
}
export function mobilenetV1Layers(options?: MobilenetOptions): Mobilenet;
export function mobilenetV1(options?: MobilenetOptions): Uint8Array;
export function toOnnx(network: Mobilenet): Uint8Array;
