// The page's state in the address: what a colleague sees who opens it. The hash is a stranger's text: each part is checked by
// itself, and what is not understood, or is not in the opened run, is left out without a word.
import type { Alignment, Run } from "./model/api";
import * as state from "./state";
import { MOST_CHOSEN, VIEWS, type View } from "./state";

/** What an address may say. Files are names of what the page already offers: a hash never makes the page request anything. */
export interface Shown {
  a?: string;
  b?: string;
  view?: View;
  /** A step as files count it, from 0, or the final state. */
  step?: number | "final";
  field?: string;
  chosen?: readonly number[];
  page?: number;
  enlarged?: boolean;
  alignment?: Alignment;
  layer?: string;
  head?: number | "mean";
  condition?: string;
  token?: number;
}

const LONGEST = 4000;
const ALIGNMENTS: readonly Alignment[] = ["step", "progress", "sigma"];

function whole(text: string | null): number | undefined {
  return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

/** Printable text of a sensible length. */
function words(text: string | null): string | undefined {
  return text !== null && text.length > 0 && text.length <= 200 && !/[\p{C}\p{Zl}\p{Zp}]/u.test(text) ? text : undefined;
}

function ids(text: string | null): readonly number[] | undefined {
  const found = (text ?? "").split(",", MOST_CHOSEN).map(whole);
  return found.length && found.every((id) => id !== undefined) ? [...new Set(found as number[])] : undefined;
}

/** What a hash says, with or without its #. Never raises. */
export function parse(hash: string): Shown {
  if (hash.length > LONGEST) return {};
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const shown: Shown = {};
  const put = <K extends keyof Shown>(key: K, value: Shown[K] | undefined) => {
    if (value !== undefined) shown[key] = value;
  };
  put("a", words(parts.get("a")));
  put("b", words(parts.get("b")));
  put("view", VIEWS.find((one) => one === parts.get("view")));
  put("step", parts.get("step") === "final" ? "final" : whole(parts.get("step")));
  put("field", words(parts.get("field")));
  put("chosen", ids(parts.get("samples")));
  put("page", whole(parts.get("page")));
  put("enlarged", parts.get("large") === "1" ? true : undefined);
  put("alignment", ALIGNMENTS.find((one) => one === parts.get("align")));
  put("layer", words(parts.get("layer")));
  put("head", parts.get("head") === "mean" ? "mean" : whole(parts.get("head")));
  put("condition", words(parts.get("condition")));
  put("token", whole(parts.get("token")));
  return shown;
}

/** The hash of what is shown, without its #. Defaults are left out, so that addresses stay short. */
export function format(shown: Shown): string {
  const parts = new URLSearchParams();
  const put = (key: string, value: string | number | undefined) => {
    if (value !== undefined && value !== "") parts.set(key, String(value));
  };
  put("a", shown.a);
  put("b", shown.b);
  put("view", shown.view === "look" ? undefined : shown.view);
  put("step", shown.step);
  put("field", shown.field === "x" ? undefined : shown.field);
  put("samples", shown.chosen?.join(","));
  put("page", shown.page || undefined);
  put("large", shown.enlarged ? 1 : undefined);
  put("align", shown.alignment === "progress" ? undefined : shown.alignment);
  put("layer", shown.layer);
  put("head", shown.head === "mean" ? undefined : shown.head);
  put("condition", shown.condition);
  put("token", shown.token);
  return parts.toString().replaceAll("%2C", ",").replaceAll("%2F", "/");
}

/** What the page shows now. Reads every signal of it, so that an effect that calls it follows them. */
export function current(): Shown {
  const [a, b] = state.entries.value;
  const shown: Shown = {
    view: state.view.value, step: state.run.value?.kept[state.column.value] ?? "final", field: state.field.value, chosen: state.chosen.value, page: state.page.value,
    enlarged: state.enlarged.value, alignment: state.alignment.value, head: state.head.value,
  };
  if (a) shown.a = a.label;
  if (b) shown.b = b.label;
  if (state.layer.value !== undefined) shown.layer = state.layer.value;
  if (state.condition.value !== undefined) shown.condition = state.condition.value;
  if (state.token.value !== undefined) shown.token = state.token.value;
  return shown;
}

/** The column of a step, or of the next one that the file keeps. */
function columnOf(run: Run, step: Shown["step"]): number {
  const found = typeof step === "number" ? run.kept.findIndex((kept) => kept >= step) : -1;
  return found < 0 ? run.kept.length : found;
}

/** Shows what an address says, as far as the run has it; the rest is as on a first look. */
export function apply(shown: Shown, run: Run): void {
  const known = new Set(run.samples.map((sample) => sample.id));
  const layers = (run.attention?.layers ?? []).map((layer) => `${layer.path}.${layer.kind}`);
  const fields = run.imageShape ? [...run.fields, "image"] : run.fields;
  state.view.value = shown.view ?? "look";
  state.column.value = columnOf(run, shown.step);
  state.field.value = shown.field !== undefined && fields.includes(shown.field) ? shown.field : (fields[0] ?? "x");
  state.chosen.value = (shown.chosen ?? []).filter((id) => known.has(id));
  state.page.value = shown.page ?? 0;
  state.enlarged.value = shown.enlarged ?? false;
  state.alignment.value = shown.alignment ?? "progress";
  state.layer.value = shown.layer !== undefined && layers.includes(shown.layer) ? shown.layer : undefined;
  state.head.value = shown.head ?? "mean";
  state.condition.value = shown.condition !== undefined && run.attention?.conditions.includes(shown.condition) ? shown.condition : undefined;
  state.token.value = shown.token;
}
