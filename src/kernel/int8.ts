/** Calls of int8 products: activations quantised into 16-bit panels of 8 columns, then multiplied exactly. */
import type { PackedInt8 } from '../pack/int8.ts';
import type { KernelCall } from './call.ts';

/** f32 activations: plain [channels][columns], or panels of 16 lanes. Addresses and strides in bytes. */
export interface Activations {
  readonly x: number;
  readonly xChannelStride: number;
  /** 64 where X is plain. */
  readonly xPanelStride: number;
  readonly channels: number;
  readonly columns: number;
}

/** Bytes from a panel of 8 columns to the next; an even number of inputs, since dense kernels read them in pairs. */
export const int8PanelStride = (channels: number): number => 16 * (channels + (channels & 1));

/** Bytes of the panels, and of the scales of the columns. */
export const int8PanelBytes = (channels: number, columns: number): number =>
  int8PanelStride(channels) * Math.ceil(columns / 8);
export const int8ScaleBytes = (columns: number): number => 32 * Math.ceil(columns / 8);

/** Scales of the columns from their largest magnitudes: `token`, one each; `tensor`, one for all. */
export function scaleCalls(a: Activations, scales: number, per: 'token' | 'tensor'): KernelCall[] {
  const args = [a.x, a.xChannelStride, a.xPanelStride, a.channels, a.columns, scales, Number(per === 'tensor')];
  return [{ kernel: 'i8_panels_scales', args }];
}

/**
 * Activations into panels, by scales that memory holds: clamp(round(x times 1 / scale), lo, hi). For a type with a zero point z, lo
 * and hi are its limits less z; what the panel holds is the quantised value less z, so the product needs no correction.
 */
export function quantizeCalls(
  a: Activations,
  io: { scales: number; panels: number; lo?: number; hi?: number; pairs?: boolean },
): KernelCall[] {
  const { lo = -127, hi = 127 } = io;
  const args = [a.x, a.xChannelStride, a.xPanelStride, a.channels, a.columns, io.scales, io.panels];
  return [
    { kernel: 'i8_panels_quantize', args: [...args, int8PanelStride(a.channels), lo, hi, Number(io.pairs ?? false)] },
  ];
}

export interface Int8Io {
  readonly panels: number;
  readonly scales: number;
  readonly columns: number;
  readonly y: number;
  /** f32, plain (panel stride 64) or in panels of 16 lanes; or `panels`, the next layer's 16-bit panels. */
  readonly yPanelStride: number;
  readonly yChannelStride: number;
  readonly into: 'f32' | 'panels';
  readonly min: number;
  readonly max: number;
  /** Address of the entry for 0 of a table of i16, for `panels`; 0: none. */
  readonly table?: number;
}

/**
 * Y = clamp(scale of the row x scale of the column x (W Q) + bias).
 * @param at address the packed data was copied to
 */
export function int8Calls(p: PackedInt8, at: number, io: Int8Io): KernelCall[] {
  if (!io.columns) return [];
  const to = [io.y, io.yPanelStride, io.yChannelStride, io.columns, at, at + p.bytes, io.scales];
  const args = [io.panels, int8PanelStride(p.cols), ...to, Number(io.into === 'panels'), io.min, io.max, io.table ?? 0];
  return [{ kernel: p.kernel, args }];
}
