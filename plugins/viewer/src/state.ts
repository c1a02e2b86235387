// What the page shows, as signals. Everything that a colleague should see under the same address is written to the hash.
import { computed, signal } from "@preact/signals";
import type { Alignment, Field, Run, Sample } from "./model/api";

export type View = "look" | "compare" | "story" | "about";

/** One run, or two that are compared: A, B. */
export const runs = signal<readonly Run[]>([]);
export const view = signal<View>("look");
/** A column of A's kept steps; `kept.length` is the final state. */
export const column = signal(0);
export const playing = signal(false);
/** Columns a second. */
export const speed = signal(10);
/** What frames show. */
export const field = signal<Field>("x");
/** Ids of the samples that panels show; the first is in focus. */
export const chosen = signal<readonly number[]>([]);
export const alignment = signal<Alignment>("progress");
/** Path and kind of a layer, "mid_block.attentions.0.self". */
export const layer = signal<string | undefined>(undefined);
export const head = signal<number | "mean">("mean");
export const condition = signal<string | undefined>(undefined);
export const token = signal<number | undefined>(undefined);
/** A line of text about what went wrong, as on the command line. */
export const problem = signal<string | undefined>(undefined);

export const run = computed<Run | undefined>(() => runs.value[0]);
export const other = computed<Run | undefined>(() => runs.value[1]);
/** The sample in focus: the first chosen one, or the first that is done. */
export const focus = computed<Sample | undefined>(() => {
  const samples = run.value?.samples ?? [];
  return samples.find((sample) => sample.id === chosen.value[0]) ?? samples.find((sample) => sample.done);
});
