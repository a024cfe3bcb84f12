/** Where a value lives in memory, and in which layout. */
import { align } from '../memory/arena.ts';
import { bytesOf, sizeOf, type TensorType } from '../tensor.ts';

/** 0: plain row-major; otherwise the lanes L of panels X[N][ceil(P/L)][C][L] of a value [N][C][spatial…]. */
export type Layout = 0 | Lanes;
export type Lanes = 8 | 16 | 32;

export interface Geometry {
  readonly layout: Layout;
  /** Images, channels, and pixels (the product of the spatial dimensions). */
  readonly images: number;
  readonly channels: number;
  readonly pixels: number;
  /** Bytes between neighbouring channels, panels, images. */
  readonly channelStride: number;
  readonly panelStride: number;
  readonly imageStride: number;
  /** Bytes of the whole buffer. */
  readonly bytes: number;
}

export interface Place extends Geometry {
  readonly at: number;
  readonly type: TensorType;
}

/** Strides and size of a value in a layout. Panels are f32 only. */
export function geometry(type: TensorType, layout: Layout): Geometry {
  const [images = 1, channels = 1, ...spatial] = type.dims;
  const pixels = sizeOf(spatial);
  const element = bytesOf(type.type);
  if (layout === 0) {
    const channelStride = element * pixels;
    const imageStride = channelStride * channels;
    return {
      layout,
      images,
      channels,
      pixels,
      channelStride,
      panelStride: 0,
      imageStride,
      bytes: element * sizeOf(type.dims),
    };
  }
  const channelStride = 4 * layout;
  // One cache line more than the rows need: without it all panels of 2^n channels fall into one cache set, and a
  // depthwise kernel writing one channel of every panel evicts itself (3-20 % of depthwise + SpMM).
  const panelStride = align(channelStride * channels) + 64;
  const imageStride = Math.ceil(pixels / layout) * panelStride;
  return { layout, images, channels, pixels, channelStride, panelStride, imageStride, bytes: imageStride * images };
}
