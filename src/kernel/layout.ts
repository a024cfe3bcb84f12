import type { KernelCall } from './call.ts';

/** Between plain [channels][pixels] and panels. Addresses and strides in bytes. */
export interface PanelCopy {
  readonly x: number;
  readonly y: number;
  readonly channels: number;
  readonly pixels: number;
  readonly lanes: 8 | 16 | 32;
  /** Bytes from a panel to the next. */
  readonly panelStride: number;
}

/** Between row-major [tokens][features] and panels with tokens in lanes. Addresses and strides in bytes. */
export interface TokenCopy {
  readonly x: number;
  readonly y: number;
  readonly tokens: number;
  readonly features: number;
  /** Any multiple of 4. */
  readonly lanes: number;
  readonly panelStride: number;
}

/** Plain [channels][pixels] -> panels. Dead lanes of the last panel are left as they are. */
export function packPanelsCalls({ x, y, channels, pixels, lanes, panelStride }: PanelCopy): KernelCall[] {
  return [{ kernel: `f32_plain_pack_${lanes}`, args: [x, y, channels, pixels, panelStride] }];
}

/** Panels -> plain [channels][pixels]. */
export function unpackPanelsCalls({ x, y, channels, pixels, lanes, panelStride }: PanelCopy): KernelCall[] {
  return [{ kernel: `f32_panels_unpack_${lanes}`, args: [x, y, channels, pixels, panelStride] }];
}

/** Row-major [tokens][features] -> panels: feature f of token t at lane t mod lanes of channel f. */
export function packTokensCalls({ x, y, tokens, features, lanes, panelStride }: TokenCopy): KernelCall[] {
  return [{ kernel: 'f32_tokens_pack', args: [x, y, tokens, features, lanes, panelStride] }];
}

/** Panels with tokens in lanes -> row-major [tokens][features]. */
export function unpackTokensCalls({ x, y, tokens, features, lanes, panelStride }: TokenCopy): KernelCall[] {
  return [{ kernel: 'f32_tokens_unpack', args: [x, y, tokens, features, lanes, panelStride] }];
}

/** [rows][cols] -> [cols][rows]; x and y must not overlap. */
export function transposeCalls(t: { x: number; y: number; rows: number; cols: number }): KernelCall[] {
  return [{ kernel: 'f32_plain_transpose', args: [t.x, t.y, t.rows, t.cols] }];
}
