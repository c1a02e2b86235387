import type { Field, Run } from "../../model/api";

/** Paths up to this many bytes are read whole, since a slider will visit all of them; larger states come one by one. */
const WHOLE = 24e6;

/** Numbers in one state. */
export function sizeOf(run: Run): number {
  return run.shape.reduce((product, length) => product * length, 1);
}

/** Columns of a field: x has one more, the final state. */
export function columnsOf(run: Run, field: Field): number {
  return run.kept.length + (field === "x" ? 1 : 0);
}

/** One state of a sample; the reader keeps the path that it is cut from. */
export async function stateAt(run: Run, field: Field, position: number, column: number): Promise<Float32Array> {
  const size = sizeOf(run);
  if (4 * size * columnsOf(run, field) > WHOLE) return run.state(field, position, column);
  return (await run.path(field, position)).subarray(column * size, (column + 1) * size);
}

/** The value below which this share of the absolute values lies, over at most 40,000 of them: outliers must not set a scale. */
export function spread(parts: readonly Float32Array[], share: number): number {
  const total = parts.reduce((sum, part) => sum + part.length, 0);
  const stride = Math.max(1, Math.floor(total / 40_000));
  const sizes: number[] = [];
  for (const part of parts) for (let at = 0; at < part.length; at += stride) sizes.push(Math.abs(part[at] ?? 0));
  const finite = Float64Array.from(sizes.filter(Number.isFinite)).sort();
  return finite[Math.min(finite.length - 1, Math.floor(share * finite.length))] ?? 0;
}
