/** The weights of i16 dense, two outputs and four inputs at a time; see assembly/int8dense.ts. Layout: int8.ts. */

/** A group of the dense kernel of i16: `inputs` of the rows before `end`; the view has zeros. */
export function putPairs(
  view: DataView,
  at: number,
  w: Int8Array,
  cols: number,
  row: number,
  end: number,
  inputs: readonly number[],
): number {
  const pair = 4 * inputs.length;
  for (let r = row; r < end; r++) {
    const to = at + ((r - row) >> 1) * pair;
    inputs.forEach((k, i) => {
      if (k >= 0) view.setInt16(to + placeInPair((r - row) & 1, i), w[r * cols + k], true);
    });
  }
  return at + 2 * pair;
}

/** Writes back what a group holds from `at` to `end`, of rows from `row` and inputs from `input`. */
export function takePairs(
  view: DataView,
  at: number,
  end: number,
  w: Int8Array,
  { rows, cols }: { rows: number; cols: number },
  row: number,
  input: number,
): void {
  const pair = (end - at) / 2;
  const inputs = Math.min(pair / 4, cols - input);
  for (let r = row; r < Math.min(row + 4, rows); r++) {
    const from = at + ((r - row) >> 1) * pair;
    for (let i = 0; i < inputs; i++)
      w[r * cols + input + i] = view.getInt16(from + placeInPair((r - row) & 1, i), true);
  }
}

/** Bytes from the start of a pair of outputs to input k of output c. */
const placeInPair = (c: number, k: number): number => 16 * (k >> 2) + 8 * c + 4 * (k & 1) + (k & 2);

/** The sum of products of a row's weights 0 and 1, 2 and 3, …: below 2^14 each. */
export function ownProducts(w: Int8Array, row: number, cols: number): number {
  let sum = 0;
  for (let k = row * cols + 1; k < (row + 1) * cols; k += 2) sum += w[k - 1] * w[k];
  return sum;
}
