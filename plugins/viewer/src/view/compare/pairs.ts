// Two samples beside each other: their frames at columns that belong together, and what differs in them.
import { rangeOf } from "../../draw/colours";
import { difference, type Match } from "../../model/align";
import type { Field, Run } from "../../model/api";
import { framed, looksLikeImage } from "../parts/frame";
import { columnsOf, sizeOf, spread, stateAt } from "../parts/states";

export interface Pair {
  readonly a: ImageData;
  readonly b: ImageData;
  /** A − B, where both have one shape. */
  readonly apart: Float32Array | undefined;
}

/** Columns of both runs, the nearest that the field has: estimates have none of the final state. */
export function columnsAt(a: Run, b: Run, field: Field, columns: Int32Array, column: number): readonly [number, number] {
  return [Math.min(column, columnsOf(a, field) - 1), Math.min(columns[column] ?? b.kept.length, columnsOf(b, field) - 1)];
}

/** One range for both, so that equal numbers have equal colours. */
export async function commonRange(a: Run, b: Run, field: Field): Promise<readonly [number, number]> {
  const [[low, high], [other, top]] = await Promise.all([rangeOf(field, a), rangeOf(field, b)]);
  return [Math.min(low, other), Math.max(high, top)];
}

export const sameShape = (a: Run, b: Run) => a.shape.join() === b.shape.join();

export async function pairAt(a: Run, b: Run, match: Match, field: Field, at: readonly [number, number]): Promise<Pair> {
  const [one, two, range] = await Promise.all([
    stateAt(a, field, match.a.position, at[0]), stateAt(b, field, match.b.position, at[1]), commonRange(a, b, field),
  ]);
  const [left, right] = await Promise.all([framed(a, field, one, range), framed(b, field, two, range, sameShape(a, b) ? a : b)]);
  return { a: left, b: right, apart: sameShape(a, b) ? difference(one, two) : undefined };
}

/** Bytes of two paths up to which the colours of A − B have one scale for all steps. */
const MOST = 48e6;

/** Below it lie 99.8 % of |A − B| over all steps; undefined where that would read too much. */
export async function scaleOf(a: Run, b: Run, match: Match, field: Field, columns: Int32Array): Promise<number | undefined> {
  if (!sameShape(a, b) || 8 * sizeOf(a) * columnsOf(a, field) > MOST) return undefined;
  const parts: Float32Array[] = [];
  for (let column = 0; column < columnsOf(a, field); column += 1) {
    const at = columnsAt(a, b, field, columns, column);
    const [one, two] = await Promise.all([stateAt(a, field, match.a.position, at[0]), stateAt(b, field, match.b.position, at[1])]);
    parts.push(difference(one, two));
  }
  return spread(parts, 0.998);
}

/** Fields that both runs keep, those that look like images first. */
export function commonFields(a: Run, b: Run): readonly Field[] {
  const both = a.fields.filter((field) => b.fields.includes(field));
  return [...both.filter(looksLikeImage).reverse(), ...both.filter((field) => !looksLikeImage(field))];
}
