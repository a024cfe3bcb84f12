/** Softmax, or its logarithm, of [outer][n][inner] along n. */
export function softmax(x: ArrayLike<number>, outer: number, n: number, inner: number, log: boolean): Float64Array {
  const y = new Float64Array(x.length);
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      const at = (k: number) => (o * n + k) * inner + i;
      let top = Number.NEGATIVE_INFINITY;
      for (let k = 0; k < n; k++) top = Math.max(top, x[at(k)]);
      let sum = 0;
      for (let k = 0; k < n; k++) sum += Math.exp(x[at(k)] - top);
      for (let k = 0; k < n; k++) {
        const d = x[at(k)] - top;
        y[at(k)] = log ? d - Math.log(sum) : Math.exp(d) / sum;
      }
    }
  return y;
}
