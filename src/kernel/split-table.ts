/** How each kernel's work can be cut by changing its arguments. Times are for ranking only: one core of Zen 4, in ns. */
import type { KernelCall } from './call.ts';

/** A call whose work lies along columns, in panels of 16. */
export interface ColumnCall {
  readonly call: KernelCall;
  readonly columns: number;
  readonly panels: number;
  /** Cuts at multiples of this leave every tile as it was. */
  readonly tile: number;
  readonly ns: number;
  /** Columns `from` to `to`, or to the end. */
  cut(from: number, to: number): KernelCall;
  /** A product with packed weights. */
  readonly product?: { readonly channels: number; readonly dense: boolean };
}

/** A call of `units` that do not depend on each other. */
export interface SingleCall {
  readonly units: number;
  /** Cuts lie at multiples of this. */
  readonly align: number;
  readonly ns: number;
  /** Bytes of scratch memory, where the kernel has some. */
  readonly scratch?: number;
  /** Arguments for units `from` to `to`. */
  part(from: number, to: number, scratch: number): number[];
}

const PRODUCT = /^f32_(csr|group2|group4|dense)_spmm_(\d+)x(\d+)$/;

/** Undefined for kernels that are not along columns of panels of 16. */
export function columnCall(call: KernelCall): ColumnCall | undefined {
  const { kernel, args } = call;
  const make = (columns: number, tile: number, ns: number, cut: (panel: number, columns: number) => number[]) => ({
    call,
    columns,
    panels: Math.ceil(columns / 16),
    tile,
    ns,
    cut: (from: number, to: number) => ({ kernel, args: cut(from / 16, Math.min(to, columns) - from) }),
  });
  const product = PRODUCT.exec(kernel);
  if (product) {
    const [x, xPanelStride, y, yPanelStride, , columns, from, to] = args;
    const lanes = Number(product[2]);
    const ns = ((to - from) / 4) * columns * 0.05;
    return {
      ...make(columns, lanes === 24 ? 48 : Math.max(lanes, 16), ns, (panel, n) => {
        const part = [...args];
        part[0] = x + panel * xPanelStride;
        part[2] = y + panel * yPanelStride;
        part[5] = n;
        return part;
      }),
      product: { channels: Number(product[3]), dense: product[1] === 'dense' },
    };
  }
  if (kernel === 'f32_plain_im2panel') {
    const [x, y, panelStride, lanes, channels, height, width, outWidth, kh, kw, ...rest] = args;
    if (lanes !== 16) return undefined;
    const head = [lanes, channels, height, width, outWidth, kh, kw, ...rest.slice(0, 6)];
    const [first, panels] = rest.slice(6);
    return make(16 * panels, 16, panels * 16 * channels * kh * kw * 0.2, (panel, n) => [
      ...[x, y + panel * panelStride, panelStride, ...head, first + 16 * panel, n / 16],
    ]);
  }
  if (kernel === 'f32_tokens_pack' || kernel === 'f32_tokens_unpack') {
    const [x, y, tokens, features, lanes, panelStride] = args;
    if (lanes !== 16) return undefined;
    const row = 16 * 4 * features;
    const [dx, dy] = kernel === 'f32_tokens_pack' ? [row, panelStride] : [panelStride, row];
    return make(tokens, 16, tokens * features * 0.15, (panel, n) => [
      ...[x + panel * dx, y + panel * dy, n, features, lanes, panelStride],
    ]);
  }
  return undefined;
}

/** Undefined for kernels that run whole. */
export function singleCall({ kernel, args }: KernelCall): SingleCall | undefined {
  return TABLE[kernel]?.(args);
}

const TABLE: Record<string, (args: readonly number[]) => SingleCall | undefined> = {};
