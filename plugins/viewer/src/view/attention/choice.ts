// Which layer, head, condition and token panels show: what was chosen, where the file has it, and else the first that fits.
import { computed } from "@preact/signals";
import type { AttentionMaps, Layer, Run, Token } from "../../model/api";
import { condition, focus, head, layer, run, token } from "../../state";

export const layerKey = (one: Layer) => `${one.path}.${one.kind}`;

/** The run's attention, its layer in view, and everything that goes with it. */
export interface Choice {
  readonly run: Run;
  readonly maps: AttentionMaps;
  readonly layer: Layer;
  readonly head: number | "mean";
  readonly condition: string;
  /** Position of the sample in focus. */
  readonly position: number;
  /** Of cross attention: its tokens and the one in view. */
  readonly tokens: readonly Token[];
  readonly token: number;
}

function firstWord(tokens: readonly Token[]): number {
  return Math.max(0, tokens.findIndex((one) => !one.special && one.text.trim() !== ""));
}

/** The same at the slider's column, within the kept steps: the final state has no attention. */
export interface Moment extends Choice { readonly column: number }

export const momentOf = (shown: Choice, at: number): Moment => ({ ...shown, column: Math.min(at, shown.run.kept.length - 1) });

/** Undefined where the run has no attention, or none of the sample in focus. */
export const choice = computed<Choice | undefined>(() => {
  const [opened, sample] = [run.value, focus.value];
  const maps = opened?.attention;
  if (!opened || !maps || !sample || !maps.positions.includes(sample.position)) return undefined;
  // Of many layers the first of cross attention says most; without texts, the middle of the network.
  const first = maps.layers.find((one) => one.kind === "cross") ?? maps.layers.find((one) => one.block === "mid") ?? maps.layers[0];
  const shown = maps.layers.find((one) => layerKey(one) === layer.value) ?? first;
  const named = maps.conditions.find((one) => one === condition.value) ?? maps.conditions.find((one) => one === "own") ?? maps.conditions[0];
  if (!shown || named === undefined) return undefined;
  const tokens = shown.kind === "cross" ? maps.tokens(sample.position, named) : [];
  const at = token.value;
  return {
    run: opened, maps, layer: shown, condition: named, position: sample.position,
    head: head.value === "mean" || head.value < shown.heads ? head.value : "mean",
    tokens, token: at !== undefined && at < (shown.tokens ?? 0) ? at : firstWord(tokens),
  };
});

/** The kept steps with attention before and after a column that has none. */
export function neighbours(columns: readonly number[], at: number): { readonly before: number | undefined; readonly after: number | undefined } {
  return { before: columns.filter((one) => one < at).at(-1), after: columns.find((one) => one > at) };
}

/** "own" and "null" as people read them. */
export function conditionWords(name: string, className: string): string {
  if (name === "own") return `own (${className})`;
  if (name === "null") return "null (no class, no text)";
  return name;
}
