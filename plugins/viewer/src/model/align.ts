// Two runs beside each other: which columns and samples belong together, where they part, and what differs in them.
import type { Alignment, Field, Run, Sample } from "./api";
import { minus, norm, ratio } from "./vectors";

/** Of each of A's columns, the final one last, the column of B that belongs to it.
 *
 *  step: of the same step, or the nearest that B keeps. progress: of the nearest fraction of all steps. sigma: of the
 *  nearest noise-to-signal ratio on a logarithmic scale; the final states have none and belong together. */
export function pairColumns(a: Run, b: Run, by: Alignment): Int32Array {
  const [of, among] = [levelsOf(a, by), levelsOf(b, by)];
  const last = b.kept.length;
  return Int32Array.from(of, (level, column) => (column === a.kept.length ? last : nearest(level, among)));
}

/** What columns are compared by, the final one last. */
function levelsOf(run: Run, by: Alignment): readonly number[] {
  const { steps, sigma } = run.schedule;
  if (by === "step") return [...run.kept, steps];
  if (by === "progress") return [...run.kept, steps].map((step) => step / steps);
  return [...run.kept.map((step) => Math.log(sigma[step]!)), -Infinity];
}

function nearest(level: number, among: readonly number[]): number {
  let [best, least] = [0, Infinity];
  among.forEach((other, column) => {
    // Noise without signal is as far from all else, and equal to itself.
    const distance = level === other ? 0 : Math.abs(level - other);
    if (distance < least) [best, least] = [column, distance];
  });
  if (least < Infinity) return best;
  // An infinite level belongs to the end of the other run on its side.
  const finite = among.map((other, column) => [other, column] as const).filter(([other]) => Number.isFinite(other));
  return (level > 0 ? finite[0] : finite.at(-1))?.[1] ?? 0;
}

/** Which alignments two runs have: by σ only where both have levels in common. */
export function alignments(a: Run, b: Run): readonly { by: Alignment; why: string }[] {
  const same = a.schedule.steps === b.schedule.steps;
  return [
    { by: "step", why: same ? "Both runs have the same number of steps." : `The runs have ${a.schedule.steps} and ${b.schedule.steps} steps: the same number is another noise level.` },
    { by: "progress", why: "The same fraction of each run's steps." },
    { by: "sigma", why: "The nearest noise-to-signal ratio σ, on a logarithmic scale." },
  ];
}

export interface Match { readonly a: Sample; readonly b: Sample; readonly why: string }

/** Samples that belong together, of those that are committed and whose states are kept: by id; where no id is in both,
 *  by seed; else by their order. `why` is a sentence for people. */
export function matchSamples(a: Run, b: Run): readonly Match[] {
  const [first, second] = [looked(a), looked(b)];
  const byId = new Map(second.map((sample) => [sample.id, sample]));
  const same = first.flatMap((sample) => pair(sample, byId.get(sample.id), whyId));
  if (same.length) return same;
  const bySeed = new Map(second.map((sample) => [sample.seed, sample]));
  const seeds = new Set(first.map((sample) => sample.seed));
  if (bySeed.size === second.length && seeds.size === first.length) {
    const found = first.flatMap((sample) => pair(sample, bySeed.get(sample.seed), ({ seed }) => `Both have the seed ${seed}.`));
    if (found.length) return found;
  }
  return first.flatMap((sample, place) =>
    pair(sample, second[place], () => `Both are number ${place + 1} of their run; no id and no seed is in both runs, so they began in different noise.`),
  );
}

function looked(run: Run): readonly Sample[] {
  return run.samples.filter((sample) => sample.done && sample.row !== undefined);
}

function pair(a: Sample, b: Sample | undefined, why: (a: Sample, b: Sample) => string): Match[] {
  return b === undefined ? [] : [{ a, b, why: why(a, b) }];
}

function whyId(a: Sample, b: Sample): string {
  const seeds = a.seed === b.seed ? `the same seed, ${a.seed}: their noise is the same` : `different seeds, ${a.seed} and ${b.seed}: their noise is not the same`;
  return `Both have the id ${a.id}, and ${seeds}.`;
}

export interface Parting {
  /** ‖A − B‖ at each of A's columns; NaN where states cannot be compared. */
  readonly distance: Float64Array;
  /** ‖A − B‖ / ‖A‖. */
  readonly relative: Float64Array;
  /** The first of A's columns at which a bit differs, and at which the relative distance passes the threshold. */
  readonly first: number | undefined;
  readonly apart: number | undefined;
}

/** Where two samples part, by a field that both runs keep.
 *
 *  threshold: relative distance beyond which they are called apart. */
export async function partingOf(a: Run, b: Run, match: Match, columns: Int32Array, field: Field = "x", threshold = 0.01): Promise<Parting | undefined> {
  if (!a.fields.includes(field) || !b.fields.includes(field) || a.shape.join() !== b.shape.join()) return undefined;
  const [own, other] = await Promise.all([a.path(field, match.a.position), b.path(field, match.b.position)]);
  const width = a.shape.reduce((all, side) => all * side, 1);
  const count = own.length / width;
  const last = other.length / width - 1;
  const [distance, relative] = [new Float64Array(count), new Float64Array(count)];
  let first: number | undefined;
  for (let column = 0; column < count; column += 1) {
    const place = Math.min(columns[column]!, last);
    const [x, y] = [own.subarray(column * width, (column + 1) * width), other.subarray(place * width, (place + 1) * width)];
    distance[column] = norm(minus(x, y));
    relative[column] = distance[column] === 0 ? 0 : ratio(distance[column]!, norm(x));
    if (first === undefined && !same(x, y)) first = column;
  }
  const apart = relative.findIndex((value) => value > threshold);
  return { distance, relative, first, apart: apart < 0 ? undefined : apart };
}

function same(a: Float32Array, b: Float32Array): boolean {
  return a.every((value, place) => Object.is(value, b[place]));
}

/** A − B, in float32. */
export function difference(a: Float32Array, b: Float32Array): Float32Array {
  return a.map((value, place) => value - b[place]!);
}

export interface Apart { readonly path: string; readonly a: unknown; readonly b: unknown }

/** Settings of the configurations that differ, "scheduler.settings.order"; undefined where one has none. */
export function settingsApart(a: Run, b: Run): readonly Apart[] {
  const out: Apart[] = [];
  const walk = (path: string, left: unknown, right: unknown): void => {
    if (isTable(left) && isTable(right)) {
      for (const key of [...new Set([...Object.keys(left), ...Object.keys(right)])].sort()) {
        const inside = Array.isArray(left) ? `${path}[${key}]` : path ? `${path}.${key}` : key;
        walk(inside, left[key], right[key]);
      }
    } else if (!Object.is(left, right) && JSON.stringify(left) !== JSON.stringify(right)) out.push({ path, a: left, b: right });
  };
  walk("", a.config, b.config);
  return out;
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
