// What is read off a layer's maps besides its pictures.

/** The shares of all tokens at one place, of cross attention (heads, tokens, places). */
export function tokensAt(map: Float32Array, heads: number, places: number, place: number, head: number | "mean"): Float32Array {
  const tokens = map.length / heads / places;
  const used = head === "mean" ? Array.from({ length: heads }, (_, at) => at) : [Math.min(head, heads - 1)];
  return Float32Array.from({ length: tokens }, (_, token) =>
    used.reduce((sum, each) => sum + (map[(each * tokens + token) * places + place] ?? 0), 0) / used.length);
}

/** −Σ p ln p, in nats. */
export function entropyOf(shares: Float32Array): number {
  let sum = 0;
  for (const share of shares) if (share > 0) sum -= share * Math.log(share);
  return sum;
}

/** Indices of the largest values, largest first. */
export function largest(values: ArrayLike<number>, count: number): number[] {
  return Array.from({ length: values.length }, (_, at) => at).sort((one, two) => (values[two] ?? 0) - (values[one] ?? 0)).slice(0, count);
}

/** The mean over heads of (columns, heads), or the curve of one head. */
export function headCurve(values: Float32Array, heads: number, head: number | "mean"): Float64Array {
  return Float64Array.from({ length: values.length / heads }, (_, column) => {
    const row = values.subarray(column * heads, (column + 1) * heads);
    return head === "mean" ? row.reduce((sum, value) => sum + value, 0) / heads : row[Math.min(head, heads - 1)] ?? Number.NaN;
  });
}
