// The numbers that the story tells: all of them are computed from the run's own file, and what it lacks is undefined.
import type { Layer, Run, Sample, Term } from "../../model/api";
import { displacement } from "../../model/levels";
import { firstCondition, tokenActivation, type TokenActivation } from "../../model/tokens";
import { headCurve, largest } from "../attention/slices";
import { density, toPlaces } from "../../draw/overlay";
import { accountOf } from "../ledger/account";
import { stateAt } from "../parts/states";
import { correlation, estimateOf, rootMeanSquare } from "./estimate";
import { decidedAt, finishedOf, leader, leansOf, nearest, type Lean, type Neighbour } from "./lean";

/** What one force or drift did: where it was largest, and what that was. */
export interface Peak {
  readonly term: Term;
  readonly column: number;
  readonly norm: number;
  /** Of a force ‖f‖ / ‖p‖ at that step, of a drift ‖d‖ / ‖x‖. */
  readonly relative: number | undefined;
  /** Of a force: where it moved the state most, which short steps at either end keep it from where it is largest. */
  readonly effect: Effect | undefined;
}

export interface Effect {
  readonly column: number;
  /** ‖c f‖, to first order: `displacement_l2` of docs/metrics.md. */
  readonly displaced: number;
  /** How far the estimate of the image moves when the contribution is taken off there, root mean square. */
  readonly shift: number | undefined;
}

export interface Structure {
  readonly field: "x0" | "x";
  /** Correlation with the finished state at each column. */
  readonly alike: Float64Array;
  /** The first columns from which on it stays above a half, and above nine tenths. */
  readonly half: number | undefined;
  readonly most: number | undefined;
  /** Where the estimate changed most from the step before, and after how many steps half of all its change was done. */
  readonly change: number | undefined;
  readonly halfChange: number | undefined;
}

export interface Attended {
  readonly layer: Layer;
  readonly condition: string;
  /** Columns with maps of the condition, and entropy there. */
  readonly columns: readonly number[];
  readonly entropy: Float64Array;
  readonly narrowest: number;
  readonly widest: number;
  /** Of self attention, at the narrowest step: the place that gets most, and how many times an even share. */
  readonly place: { readonly row: number; readonly column: number; readonly times: number } | undefined;
  readonly tokens: TokenActivation | undefined;
}

export interface Facts {
  readonly run: Run;
  readonly sample: Sample;
  /** Correlation of the first state with the finished one. */
  readonly noise: number | undefined;
  readonly structure: Structure | undefined;
  readonly forces: readonly Peak[];
  readonly drifts: readonly Peak[];
  readonly attention: Attended | undefined;
  readonly leans: readonly Lean[];
  readonly leads: Lean | undefined;
  readonly decided: number | undefined;
  readonly neighbour: Neighbour | undefined;
  readonly others: number;
}

/** The first column from which on all numbers are above a bound. */
export function staysAbove(values: ArrayLike<number>, bound: number): number | undefined {
  let column = values.length;
  while (column > 0 && (values[column - 1] ?? Number.NaN) > bound) column -= 1;
  return column < values.length ? column : undefined;
}

function largestAt(values: ArrayLike<number>): number {
  return largest(Array.from(values, (value) => (Number.isFinite(value) ? value : -Infinity)), 1)[0] ?? 0;
}

async function structureOf(run: Run, sample: Sample, final: Float32Array): Promise<Structure> {
  const field = run.fields.includes("x0") ? "x0" : "x";
  const alike = new Float64Array(run.kept.length);
  const changes = new Float64Array(run.kept.length);
  let before: Float32Array | undefined;
  for (let column = 0; column < run.kept.length; column += 1) {
    const state = await stateAt(run, field, sample.position, column);
    alike[column] = correlation(state, final);
    if (before) changes[column] = rootMeanSquare(state, before);
    before = state;
  }
  const total = changes.reduce((sum, value) => sum + value, 0);
  let sum = 0;
  const halfChange = changes.findIndex((value) => (sum += value) >= total / 2);
  return {
    field, alike, half: staysAbove(alike, 0.5), most: staysAbove(alike, 0.9),
    change: total > 0 ? largestAt(changes) : undefined, halfChange: total > 0 && halfChange >= 0 ? halfChange : undefined,
  };
}

const normOf = (state: Float32Array) => Math.sqrt(state.reduce((sum, value) => sum + value * value, 0));

async function peakOf(run: Run, sample: Sample, term: Term, norms: Float64Array): Promise<Peak> {
  const column = largestAt(norms);
  const norm = norms[column] ?? Number.NaN;
  const whole = term.kind === "drift" ? "x" : "prediction";
  const size = run.fields.includes(whole) ? normOf(await stateAt(run, whole, sample.position, column)) : Number.NaN;
  return { term, column, norm, relative: size > 0 ? norm / size : undefined, effect: term.kind === "force" ? await effectOf(run, sample, term, norms) : undefined };
}

async function effectOf(run: Run, sample: Sample, term: Term, norms: Float64Array): Promise<Effect | undefined> {
  const displaced = norms.map((norm, column) => {
    const step = run.kept[column] ?? 0;
    return norm * Math.abs(displacement(run.schedule.alphaBar[step] ?? Number.NaN, run.alphaBarNext[step] ?? Number.NaN, run));
  });
  const column = largestAt(displaced);
  const value = displaced[column] ?? Number.NaN;
  if (!(value > 0 && value < Infinity)) return undefined;
  const both = await withAndWithout(run, sample, term, column);
  return { column, displaced: value, shift: both && rootMeanSquare(both[0], both[1]) };
}

/** The estimates that the prediction means, and that it would mean without a force, at the same state. */
export async function withAndWithout(run: Run, sample: Sample, term: Term, column: number): Promise<readonly [Float32Array, Float32Array] | undefined> {
  if (!term.field || !run.fields.includes("prediction") || !run.fields.includes("x")) return undefined;
  const [x, prediction, force] = await Promise.all(["x", "prediction", term.field].map((field) => stateAt(run, field, sample.position, column)));
  if (!x || !prediction || !force) return undefined;
  const step = run.kept[column] ?? 0;
  const one = estimateOf(run, x, prediction, step);
  const two = estimateOf(run, x, prediction.map((value, at) => value - (force[at] ?? 0)), step);
  return one && two && [one, two];
}

async function attendedOf(run: Run, sample: Sample): Promise<Attended | undefined> {
  const maps = run.attention;
  const condition = maps && firstCondition(maps);
  if (!maps || condition === undefined || !maps.positions.includes(sample.position)) return undefined;
  const layer = maps.layers.find((one) => one.kind === "cross") ?? maps.layers.find((one) => one.block === "mid") ?? maps.layers[0];
  if (!layer) return undefined;
  const all = headCurve(await maps.entropy(layer, sample.position, condition), layer.heads, "mean");
  const usable = maps.columns.map((column, at) => ({ column, value: all[at] ?? Number.NaN })).filter(({ value }) => Number.isFinite(value));
  if (!usable.length) return undefined;
  const entropy = Float64Array.from(usable, ({ value }) => value);
  const columns = usable.map(({ column }) => column);
  const narrowest = columns[largestAt(entropy.map((value) => -value))] ?? 0;
  const map = layer.kind === "self" ? await maps.map(layer, sample.position, narrowest, condition) : undefined;
  const times = map && density(toPlaces(map, layer.heads, layer.grid, "mean"));
  const top = times && largestAt(times);
  return {
    layer, condition, columns, entropy, narrowest, widest: columns[largestAt(entropy)] ?? 0,
    place: times && top !== undefined ? { row: Math.floor(top / layer.grid[1]), column: top % layer.grid[1], times: times[top] ?? Number.NaN } : undefined,
    tokens: layer.kind === "cross" ? await tokenActivation(run, sample.position, condition) : undefined,
  };
}

/** Everything that the story tells of one sample. */
export async function factsOf(run: Run, sample: Sample): Promise<Facts> {
  const has = run.fields.includes("x");
  const final = has ? await stateAt(run, "x", sample.position, run.kept.length) : undefined;
  const account = await accountOf(run, sample.position);
  const peaks = await Promise.all([...account.norms].filter(([term]) => term.kind !== "base").map(([term, norms]) => peakOf(run, sample, term, norms)));
  const finished = await finishedOf(run, sample);
  const leans = await leansOf(run, sample, finished);
  return {
    run, sample,
    noise: final && correlation(await stateAt(run, "x", sample.position, 0), final),
    structure: final && (await structureOf(run, sample, final)),
    forces: peaks.filter(({ term }) => term.kind === "force"),
    drifts: peaks.filter(({ term }) => term.kind === "drift"),
    attention: await attendedOf(run, sample),
    leans, leads: leader(leans, run.kept.length - 1), decided: decidedAt(leans, run.kept.length),
    neighbour: final && nearest(finished, final), others: finished.samples.length,
  };
}
