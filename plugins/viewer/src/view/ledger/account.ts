// The numbers of the ledger: what each term weighs at every step.
import type { Field, Run, Term } from "../../model/api";
import { sizeOf, spread, stateAt } from "../parts/states";

export interface Account {
  /** L2 norm of each term's field, a number for each kept step. */
  readonly norms: ReadonlyMap<Term, Float64Array>;
  /** Of base and forces: f·p / ‖p‖², its part of the prediction p; together they are 1. As `emnist-diff metrics` has it. */
  readonly shares: ReadonlyMap<Term, Float64Array>;
  /** Below it lie 99.8 % of the absolute values of the term's whole path. */
  readonly scales: ReadonlyMap<Term, number>;
}

/** Bytes that an account of one sample reads. */
export function accountBytes(run: Run): number {
  const read = run.terms.filter((term) => term.field).length + Number(run.fields.includes("prediction"));
  return sizeOf(run) * run.kept.length * read * (run.dtype === "float16" ? 2 : 4);
}

function dot(one: Float32Array, two: Float32Array): number {
  let sum = 0;
  for (let at = 0; at < one.length; at += 1) sum += (one[at] ?? 0) * (two[at] ?? 0);
  return sum;
}

const known = new WeakMap<Run, Map<number, Promise<Account>>>();

/** The account of one sample, computed once a run: panel and story read the same numbers. */
export function accountOf(run: Run, position: number): Promise<Account> {
  const held = known.get(run) ?? new Map<number, Promise<Account>>();
  known.set(run, held);
  const found = held.get(position) ?? computed(run, position);
  held.set(position, found);
  found.catch(() => held.delete(position));
  return found;
}

/** All columns of all terms are read once, one column after the other. */
async function computed(run: Run, position: number): Promise<Account> {
  const recorded = run.terms.filter((term): term is Term & { readonly field: Field } => term.field !== undefined);
  const empty = () => new Float64Array(run.kept.length).fill(Number.NaN);
  const norms = new Map<Term, Float64Array>(recorded.map((term) => [term, empty()]));
  const shares = new Map<Term, Float64Array>(recorded.filter((term) => term.kind !== "drift").map((term) => [term, empty()]));
  const kept = new Map<Term, Float32Array[]>(recorded.map((term) => [term, []]));
  const whole = run.fields.includes("prediction");
  for (let column = 0; column < run.kept.length; column += 1) {
    const prediction = whole ? await stateAt(run, "prediction", position, column) : undefined;
    const power = prediction ? dot(prediction, prediction) : Number.NaN;
    for (const term of recorded) {
      const state = await stateAt(run, term.field, position, column);
      norms.get(term)?.fill(Math.sqrt(dot(state, state)), column, column + 1);
      if (prediction) shares.get(term)?.fill(power ? dot(state, prediction) / power : Number.NaN, column, column + 1);
      kept.get(term)?.push(thinned(state));
    }
  }
  const scales = new Map<Term, number>(recorded.map((term) => [term, spread(kept.get(term) ?? [], 0.998)]));
  return { norms, shares, scales };
}

/** At most 2000 values of a state, evenly taken: enough to set a scale, and small enough to keep of every step. */
function thinned(state: Float32Array): Float32Array {
  const stride = Math.ceil(state.length / 2000);
  return stride === 1 ? state : Float32Array.from({ length: Math.floor(state.length / stride) }, (_, at) => state[at * stride] ?? 0);
}

/** The largest number of several curves; 1 where there is none. */
export function topOf(curves: Iterable<Float64Array>): number {
  let top = 0;
  for (const curve of curves) for (const value of curve) if (value > top) top = value;
  return top || 1;
}
