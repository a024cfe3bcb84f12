/** Plain [channels][pixels] -> panels of `lanes`, `panelFloats` apart; what no element goes to is NaN. */
export function packPanels(
  x: ArrayLike<number>,
  channels: number,
  pixels: number,
  lanes: number,
  panelFloats: number,
): Float64Array {
  const y = new Float64Array(Math.ceil(pixels / lanes) * panelFloats).fill(Number.NaN);
  for (let c = 0; c < channels; c++)
    for (let p = 0; p < pixels; p++)
      y[Math.floor(p / lanes) * panelFloats + c * lanes + (p % lanes)] = x[c * pixels + p];
  return y;
}

/** [rows][cols] -> [cols][rows]. */
export function transpose(x: ArrayLike<number>, rows: number, cols: number): Float64Array {
  const y = new Float64Array(rows * cols);
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) y[c * rows + r] = x[r * cols + c];
  return y;
}
