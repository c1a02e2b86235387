// What the page shows, as signals. Everything that a colleague should see under the same address is written to the hash.
import { batch, computed, signal } from "@preact/signals";
import type { Alignment, Field, Run, Sample } from "./model/api";

export const VIEWS = ["look", "compare", "story", "about"] as const;
export type View = (typeof VIEWS)[number];
/** Columns a second, slow to fast. */
export const SPEEDS = [2, 5, 10, 20, 40] as const;
/** So many samples have curves and colours of their own at once: more cannot be told apart. */
export const MOST_CHOSEN = 7;

/** One run, or two that are compared: A, B. */
export const runs = signal<readonly Run[]>([]);
export const view = signal<View>("look");
/** A column of A's kept steps; `kept.length` is the final state. */
export const column = signal(0);
export const playing = signal(false);
/** Columns a second. */
export const speed = signal<number>(10);
/** What frames show. */
export const field = signal<Field>("x");
/** Ids of the samples that panels show; the first is in focus. */
export const chosen = signal<readonly number[]>([]);
/** The page of the montage, and whether one frame stands in its place. */
export const page = signal(0);
export const enlarged = signal(false);
export const alignment = signal<Alignment>("progress");
/** Path and kind of a layer, "mid_block.attentions.0.self". */
export const layer = signal<string | undefined>(undefined);
export const head = signal<number | "mean">("mean");
export const condition = signal<string | undefined>(undefined);
export const token = signal<number | undefined>(undefined);
/** A line of text about what went wrong, as on the command line. */
export const problem = signal<string | undefined>(undefined);
/** What is being opened, as a line of text. */
export const opening = signal<string | undefined>(undefined);
/** A line of text for those who hear the page: what a key or a button did. */
export const notice = signal("");
export type Theme = "auto" | "light" | "dark";
export const theme = signal<Theme>("auto");
/** What the system prefers; main.tsx follows it. */
export const systemDark = signal(false);
export const dark = computed(() => (theme.value === "auto" ? systemDark.value : theme.value === "dark"));

/** A file that the page can open: it came with the page, by its address, or was dropped. */
export interface Entry {
  /** Unique on this page, and the name in its address. */
  readonly label: string;
  readonly origin: "served" | "address" | "embedded" | "disk" | "example";
  readonly open: () => Promise<Run>;
}
export const catalog = signal<readonly Entry[]>([]);
/** The catalog's entries of `runs`, in their order. */
export const entries = signal<readonly Entry[]>([]);
/** Rises whenever a run that is still written has more samples. */
export const tick = signal(0);

export const run = computed<Run | undefined>(() => runs.value[0]);
export const other = computed<Run | undefined>(() => runs.value[1]);
/** Samples of A: another array whenever more of them are done, which `run` alone does not tell. */
export const samples = computed<readonly Sample[]>(() => (tick.value >= 0 ? (run.value?.samples ?? []) : []));
/** The final state's column: frames of the state reach it, what a step computes ends one before. */
export const lastColumn = computed(() => run.value?.kept.length ?? 0);
/** The sample in focus: the first chosen one, or the first that is done. */
export const focus = computed<Sample | undefined>(() => {
  const [all, first] = [samples.value, chosen.value[0]];
  return all.find((sample) => sample.id === first && sample.done) ?? all.find((sample) => sample.done);
});
/** The samples that have curves: the chosen ones that are done, or that in focus. */
export const picked = computed<readonly Sample[]>(() => {
  const done = new Map(samples.value.filter((sample) => sample.done).map((sample) => [sample.id, sample]));
  const found = chosen.value.map((id) => done.get(id)).filter((sample) => sample !== undefined);
  return found.length ? found : focus.value ? [focus.value] : [];
});

/** Swaps A and B. */
export function swap(): void {
  batch(() => {
    runs.value = runs.value.toReversed();
    entries.value = entries.value.toReversed();
    column.value = Math.min(column.value, runs.value[0]?.kept.length ?? 0);
  });
}

/** Moves the slider, within the run. */
export function seek(to: number): void {
  column.value = Math.max(0, Math.min(lastColumn.value, Math.round(to)));
}

/** Starts or pauses; from the end it starts over. */
export function toggle(): void {
  if (!playing.value && column.value >= lastColumn.value) column.value = 0;
  playing.value = !playing.value;
}

/** A step up or down the list of speeds. */
export function faster(by: 1 | -1): void {
  const at = SPEEDS.findIndex((one) => one >= speed.value);
  speed.value = SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, (at < 0 ? SPEEDS.length - 1 : at) + by))] ?? 10;
  notice.value = `${speed.value} steps a second`;
}

/** Chooses one sample, or adds it to the chosen ones, or takes it from them. */
export function choose(id: number, add: boolean): void {
  const now = chosen.value;
  if (!add) chosen.value = [id];
  else if (now.includes(id)) chosen.value = now.filter((one) => one !== id);
  else chosen.value = [...(now.length ? now : picked.value.map((sample) => sample.id)), id].slice(-MOST_CHOSEN);
}

/** The CSS colour of a chosen sample, the same in every panel; that of soft ink for others. */
export function colourOf(id: number): string {
  const at = picked.value.findIndex((sample) => sample.id === id);
  return at < 0 ? "var(--soft)" : `var(--series-${at})`;
}
