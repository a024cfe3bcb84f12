import type { KernelCall } from './call.ts';

type Pair = readonly [number, number];

/** A window pool over plain [channels][height][width]. Addresses in bytes. */
export interface Pool {
  readonly kind: 'max' | 'average';
  readonly x: number;
  readonly y: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly outHeight: number;
  readonly outWidth: number;
  readonly kernel: Pair;
  readonly stride: Pair;
  readonly dilation: Pair;
  /** Top and left. */
  readonly pad: Pair;
  /** Bottom and right, as far as an average counts them; those of `pad` where not given. */
  readonly padEnd?: Pair;
  /** Divide by the taps inside the padded plane instead of those inside the plane. */
  readonly countIncludePad: boolean;
}

/** Plain [channels][height][width] -> [channels][outHeight][outWidth]. A window without a live tap gives -Infinity or NaN. */
export function poolCalls(p: Pool): KernelCall[] {
  const args = [p.x, p.y, p.channels, p.height, p.width, p.outHeight, p.outWidth];
  args.push(...p.kernel, ...p.stride, ...p.dilation, ...p.pad, ...(p.padEnd ?? p.pad), Number(p.countIncludePad));
  return [{ kernel: `f32_plain_${p.kind}pool`, args }];
}

/** Pools every pixel of a channel: [channels][pixels], plain or in panels, -> [channels]. Strides in bytes. */
export function globalPoolCalls(p: {
  kind: 'average' | 'max';
  x: number;
  xChannelStride: number;
  xPanelStride: number;
  /** Lanes of a panel; 0 is plain. */
  lanes: number;
  y: number;
  channels: number;
  pixels: number;
}): KernelCall[] {
  const args = [p.x, p.xChannelStride, p.xPanelStride, p.lanes, p.y, p.channels, p.pixels];
  return [{ kernel: `f32_panels_global_${p.kind}`, args }];
}

/** Plain [outer][n][inner] -> [outer][inner]. Over n = 0: 0, NaN, -Infinity and Infinity. */
export function reduceCalls(p: {
  kind: 'sum' | 'mean' | 'max' | 'min';
  x: number;
  y: number;
  outer: number;
  n: number;
  inner: number;
}): KernelCall[] {
  const mean = p.kind === 'mean';
  const args = [p.x, p.y, p.outer, p.n, p.inner, mean ? p.n : 1];
  return [{ kernel: `f32_plain_reduce_${mean ? 'sum' : p.kind}`, args }];
}
