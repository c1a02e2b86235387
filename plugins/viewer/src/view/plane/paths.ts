// What lies in the plane: the paths of a few samples, as they are or with every step at unit variance.
import type { Run, Sample } from "../../model/api";
import { planeOf } from "../../work/pca";
import { sizeOf } from "../parts/states";

export interface Plane {
  readonly samples: readonly Sample[];
  /** Of each sample x0, y0, x1, y1, …: a point for each column. */
  readonly points: readonly Float64Array[];
  /** Shares of the variance. */
  readonly explained: readonly [number, number];
}

/** Bytes of paths that are read together. */
const MOST_BYTES = 96e6;
const MOST_SAMPLES = 24;

export const pathBytes = (run: Run) => 4 * sizeOf(run) * (run.kept.length + 1);

/** The chosen samples, where there are two or more; else the first of each class in turn, as many as may be read. */
export function samplesOf(run: Run, picked: readonly Sample[]): readonly Sample[] {
  const most = Math.max(1, Math.min(MOST_SAMPLES, Math.floor(MOST_BYTES / pathBytes(run))));
  const kept = (sample: Sample) => sample.done && sample.row !== undefined;
  const chosen = picked.filter(kept);
  if (chosen.length > 1) return chosen.slice(0, most);
  const turns = new Map<number, number>();
  const others = run.samples.filter(kept).map((sample) => {
    const turn = turns.get(sample.label) ?? 0;
    turns.set(sample.label, turn + 1);
    return { sample, turn };
  });
  const ordered = others.sort((one, two) => one.turn - two.turn || one.sample.position - two.sample.position).map(({ sample }) => sample);
  return [...chosen, ...ordered.filter((sample) => !chosen.includes(sample))].slice(0, most);
}

/** unit: each step's states are divided by their standard deviation first, so that shape is seen, and not scale. */
export async function planeOfRun(run: Run, samples: readonly Sample[], unit: boolean): Promise<Plane> {
  const paths = await Promise.all(samples.map((sample) => run.path("x", sample.position)));
  const { points, explained } = await planeOf(paths, sizeOf(run), unit ? "unit" : "states");
  return { samples, points, explained: [explained[0], explained[1]] };
}
