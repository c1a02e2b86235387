// Which class an estimate leans to, by the finished samples of the same file: `emnist-diff metrics --basin own`.
import type { Run, Sample } from "../../model/api";
import { sizeOf, stateAt } from "../parts/states";
import { correlation } from "./estimate";

export interface Lean { readonly label: number; readonly name: string; /** cos(x0 − μ, μ_c − μ) at each column. */ readonly values: Float64Array }

export interface Neighbour { readonly sample: Sample; readonly correlation: number }

/** Samples and bytes of finished states up to which classes are measured. */
const MOST_SAMPLES = 512;
const MOST_BYTES = 64e6;

export interface Finished { readonly samples: readonly Sample[]; readonly states: readonly Float32Array[] }

/** The finished states of the samples of a run, as many as may be read; the sample itself is not among them. */
export async function finishedOf(run: Run, sample: Sample): Promise<Finished> {
  const most = Math.min(MOST_SAMPLES, Math.floor(MOST_BYTES / (4 * sizeOf(run))));
  const samples = run.samples.filter((one) => one.id !== sample.id && one.done && one.row !== undefined).slice(0, most);
  if (!samples.length || !run.fields.includes("x")) return { samples: [], states: [] };
  const all = await run.states("x", samples.map((one) => one.position), run.kept.length);
  const size = sizeOf(run);
  return { samples, states: samples.map((_, at) => all.subarray(at * size, (at + 1) * size)) };
}

/** The other sample whose finished state is most alike. */
export function nearest(finished: Finished, own: Float32Array): Neighbour | undefined {
  let best: Neighbour | undefined;
  finished.samples.forEach((sample, at) => {
    const value = correlation(finished.states[at] ?? new Float32Array(0), own);
    if (Number.isFinite(value) && (!best || value > best.correlation)) best = { sample, correlation: value };
  });
  return best;
}

function meanOf(states: readonly Float32Array[]): Float64Array {
  const mean = new Float64Array(states[0]?.length ?? 0);
  for (const state of states) for (let at = 0; at < mean.length; at += 1) mean[at] = (mean[at] ?? 0) + (state[at] ?? 0) / states.length;
  return mean;
}

/** How far the sample's estimates lean to each class, at every column of x0; empty where the file has fewer than two classes. */
export async function leansOf(run: Run, sample: Sample, finished: Finished): Promise<readonly Lean[]> {
  const labels = [...new Set(finished.samples.map((one) => one.label))].sort((one, two) => one - two);
  if (labels.length < 2 || !run.fields.includes("x0")) return [];
  const means = labels.map((label) => meanOf(finished.states.filter((_, at) => finished.samples[at]?.label === label)));
  const middle = means.reduce((sum, mean) => sum.map((value, at) => value + (mean[at] ?? 0) / means.length), new Float64Array(means[0]?.length ?? 0));
  const directions = means.map((mean) => mean.map((value, at) => value - (middle[at] ?? 0)));
  const values = labels.map(() => new Float64Array(run.kept.length));
  for (let column = 0; column < run.kept.length; column += 1) {
    const estimate = await stateAt(run, "x0", sample.position, column);
    const centred = Float64Array.from(estimate, (value, at) => value - (middle[at] ?? 0));
    directions.forEach((direction, at) => {
      values[at]?.fill(cosine(centred, direction), column, column + 1);
    });
  }
  return labels.map((label, at) => ({ label, name: run.classes[label] ?? String(label), values: values[at] ?? new Float64Array(0) }));
}

function cosine(one: Float64Array, two: Float64Array): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let at = 0; at < one.length; at += 1) {
    const [a, b] = [one[at] ?? 0, two[at] ?? 0];
    ab += a * b;
    aa += a * a;
    bb += b * b;
  }
  return aa > 0 && bb > 0 ? ab / Math.sqrt(aa * bb) : Number.NaN;
}

/** The class that leads at a column. */
export function leader(leans: readonly Lean[], column: number): Lean | undefined {
  let best: Lean | undefined;
  for (const lean of leans) if (!best || (lean.values[column] ?? -2) > (best.values[column] ?? -2)) best = lean;
  return best;
}

/** The first column from which on the class that leads at the end leads without a break. */
export function decidedAt(leans: readonly Lean[], columns: number): number | undefined {
  const last = leader(leans, columns - 1);
  if (!last) return undefined;
  let column = columns - 1;
  while (column > 0 && leader(leans, column - 1) === last) column -= 1;
  return column;
}
