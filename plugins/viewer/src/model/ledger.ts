// The ledger: base + Σ contributions = prediction, at each step of each sample. docs/trajectory-format.md, "Ledger".
import type { Balance, Run } from "./api";

/** Whether a step's terms add up to the prediction; undefined where one of them is not recorded.
 *
 *  In float32 they do bit for bit, added one after the other; in float16 each is rounded by itself. */
export async function balanceOf(run: Run, position: number, column: number): Promise<Balance | undefined> {
  const added = run.terms.filter((term) => term.kind !== "drift").map((term) => term.field);
  const fields = added.filter((field) => field !== undefined);
  if (fields.length < added.length || fields[0] !== "base" || !run.fields.includes("prediction")) return undefined;
  const [total, ...terms] = await Promise.all(["prediction", ...fields].map((field) => run.state(field, position, column)));
  return balance(terms, total!, run.dtype === "float16");
}

/** The same of numbers that were read.  half: whether the file keeps float16. */
export function balance(terms: readonly Float32Array[], total: Float32Array, half: boolean): Balance {
  let [holds, largest, allowed, worst] = [true, 0, 0, -1];
  for (let place = 0; place < total.length; place += 1) {
    let [sum, size, sizes] = [terms[0]![place]!, Math.abs(total[place]!), 0];
    for (let term = 1; term < terms.length; term += 1) sum = Math.fround(sum + terms[term]![place]!);
    for (const term of terms) {
      size = Math.max(size, Math.abs(term[place]!));
      sizes = Math.fround(sizes + Math.abs(term[place]!));
    }
    const bound = half ? allowance(Math.max(size, Math.fround(sizes + Math.abs(total[place]!)) / 2), terms.length + 1) : 0;
    // Both infinite is equal too, and what is no number never is.
    const miss = sum === total[place] ? 0 : Math.abs(Math.fround(sum - total[place]!));
    holds &&= miss <= bound;
    const part = Number.isNaN(miss) ? Infinity : miss / (bound || 2 ** -149);
    if (part > worst) [largest, allowed, worst] = [miss, bound, part];
  }
  return { holds, largest, allowed };
}

/** What rounding may cost: half a unit in the last place of each number, which with one force never is more than 2⁻¹⁰ of
 *  the largest; below 2⁻¹⁴ the spacing of float16 is 2⁻²⁴. */
function allowance(size: number, count: number): number {
  return Math.fround(Math.fround(size * (2 ** -10 * (1 + 2 ** -9))) + count * 2 ** -24);
}
