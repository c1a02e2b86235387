// The story's sentences. Each states a number of the run or leaves it out: nothing is said that the file does not hold.
import type { Run, Term } from "../../model/api";
import { count, number, percent, sampleTitle, stepFacts } from "../../words";
import { conditionWords } from "../attention/choice";
import { doesWords, settingsWords } from "../ledger/words";
import { tokenWords } from "../tokens/words";
import type { Attended, Facts, Peak, Structure } from "./facts";

export type Stage =
  | { readonly kind: "state" | "both" | "estimate" | "attention" | "plane" | "class" | "image" }
  | { readonly kind: "force" | "drift"; readonly term: Term };

export interface Chapter {
  readonly id: string;
  readonly title: string;
  readonly text: readonly string[];
  /** Columns that pass while the chapter is read, and the one that it is about. */
  readonly from: number;
  readonly to: number;
  readonly key: number;
  readonly stage: Stage;
}

/** Forces and drifts with a chapter of their own; of more, those with the largest norm. */
const MOST_TERMS = 4;

const short = (value: number) => number(value, 2);

/** "step 3", or "the final state" after the last. */
export const stepWords = (run: Run, column: number): string => stepFacts(run, column).title;

function beginning({ run, sample, noise }: Facts): Chapter {
  const size = run.shape.reduce((product, side) => product * side, 1);
  const first = run.kept[0] ?? 0;
  const power = run.schedule.alphaBar[first];
  const place = first === 0 ? "At step 0" : `At ${stepWords(run, 0)}, the first that the file keeps,`;
  const text = [`Sample ${sample.id} (${sample.className}) begins as ${size.toLocaleString("en")} numbers.${power === undefined ? "" : ` ${place} signal has ${percent(power).replace("<", "less than")} of the power, noise the rest.`}`];
  if (noise !== undefined && Number.isFinite(noise)) {
    const seen = noise < 0.3 ? "What it will become can hardly be seen in it: this state" : "This state";
    text.push(`${seen} correlates with the finished one by ${short(noise)}, where 1 is the same picture and 0 has nothing in common with it.`);
  }
  if (!("recorder" in run.config) && sample.seed !== "0") text.push(`Its noise follows from the seed ${sample.seed} and the id ${sample.id}: the same two give the same noise in every run.`);
  return { id: "noise", title: noise !== undefined && noise > 0.5 ? "It begins" : "It begins as noise", text, from: 0, to: Math.max(0, Math.round(run.kept.length * 0.08)), key: 0, stage: { kind: "state" } };
}

function walking({ run }: Facts): Chapter {
  const evaluations = run.schedule.evaluations.reduce((sum, value) => sum + value, 0);
  const scheduler = (run.config["scheduler"] as { readonly name?: unknown } | undefined)?.name;
  const what = { epsilon: "the noise in the state", v_prediction: "the velocity v, a mixture of noise and image", sample: "the image", flow: "the flow's velocity, noise minus image" }[run.predictionType];
  const base = run.terms.find((term) => term.kind === "base");
  const text = [`In each of ${count(run.schedule.steps, "step")} a network predicts ${what}, and ${typeof scheduler === "string" ? `the scheduler ${scheduler}` : "a scheduler"} moves the state a little toward the image that this means.${Number.isFinite(evaluations) && evaluations > 0 ? ` That took ${count(Math.round(evaluations), "prediction")} a sample.` : ""}`];
  if (base) text.push(`The base of the prediction is ${doesWords(base)}.`);
  if (run.fields.includes("x0")) text.push("Left is the state x, in which noise hides what is decided; right is the estimate x₀ of the image that the scheduler had at the same step.");
  const last = run.kept.length - 1;
  return { id: "steps", title: "Step by step it moves", text, from: 0, to: Math.round(last / 2), key: Math.round(last / 4), stage: { kind: run.fields.includes("x0") && run.fields.includes("x") ? "both" : "state" } };
}

function appearing({ run }: Facts, found: Structure): Chapter {
  const { half, most, change, halfChange, field } = found;
  const name = field === "x0" ? "The estimate x₀" : "The state x";
  const last = run.kept.length - 1;
  const text: string[] = [];
  if (half !== undefined && most !== undefined) text.push(`${name} correlates with the finished state by more than 0.5 from ${stepWords(run, half)} on, and by more than 0.9 from ${stepWords(run, most)} on.`);
  else if (half !== undefined) text.push(`${name} correlates with the finished state by more than 0.5 from ${stepWords(run, half)} on; it never stays above 0.9.`);
  else text.push(`${name} never stays correlated with the finished state by more than 0.5 before the end.`);
  if (change !== undefined && change > 0) text.push(`It changed most between ${stepWords(run, change - 1)} and ${stepWords(run, change)}.`);
  if (halfChange !== undefined) text.push(`Half of all its change was done by ${stepFacts(run, halfChange).place}.`);
  const key = half ?? last;
  return { id: "structure", title: half === undefined ? "Structure comes late" : `Structure appears at ${stepWords(run, half)}`, text, from: Math.max(0, key - 3), to: Math.min(last, (most ?? last) + 1), key, stage: { kind: field === "x0" ? "estimate" : "state" } };
}

/** A few steps around a peak. */
function around(run: Run, column: number): { readonly from: number; readonly to: number } {
  const reach = Math.max(2, Math.round(run.kept.length / 8));
  return { from: Math.max(0, column - reach), to: Math.min(run.kept.length - 1, column + reach) };
}

function forceChapter({ run }: Facts, peak: Peak): Chapter {
  const { term, column, norm, relative, effect } = peak;
  const settings = settingsWords(term.settings);
  const key = effect?.column ?? column;
  const text = [`The force ${term.name} ${doesWords(term)}${settings ? ` (${settings})` : ""}.`];
  if (norm === 0) text.push("Of this sample it added nothing at any recorded step.");
  else {
    text.push(`What it added was largest at ${stepWords(run, column)}: a norm of ${short(norm)}${relative === undefined ? "" : `, ${percent(relative)} of the prediction's`}.`);
    if (effect) text.push(`It moved the state most at ${effect.column === column ? "the same step" : stepWords(run, effect.column)}: by ${short(effect.displaced)}, to first order.`);
    if (effect?.shift !== undefined) text.push(`Taken off at that step alone, at the same state, the image that the prediction means would differ by ${short(effect.shift)} in each of its numbers (root mean square). The pictures show it without and with the force.`);
    else text.push("The image without it cannot be computed: the file lacks x or the prediction, or the state holds no signal.");
  }
  return { id: `force-${term.key}`, title: `What ${term.name} did`, text, ...around(run, key), key, stage: { kind: "force", term } };
}

function driftChapter({ run }: Facts, peak: Peak): Chapter {
  const { term, column, norm, relative } = peak;
  const settings = settingsWords(term.settings);
  const text = [`A drift acts on the state itself, after the scheduler. ${term.name} ${doesWords(term)}${settings ? ` (${settings})` : ""}.`];
  if (norm === 0) text.push("It changed nothing of this sample at any recorded step.");
  else text.push(`It changed most at ${stepWords(run, column)}: by a norm of ${short(norm)}${relative === undefined ? "" : `, ${percent(relative)} of the state's`}.`);
  return { id: `drift-${term.key}`, title: `What the drift ${term.name} changed`, text, ...around(run, column), key: column, stage: { kind: "drift", term } };
}

function unforced({ run }: Facts, forces: number): Chapter | undefined {
  if (forces) return undefined;
  const last = run.kept.length - 1;
  return { id: "unforced", title: "No force took part", text: ["The prediction of every step is the base itself: nothing else pulled at this sample."], from: Math.round(last / 2), to: Math.round((3 * last) / 4), key: Math.round((5 * last) / 8), stage: { kind: "estimate" } };
}

function attentionChapter({ run, sample }: Facts, found: Attended): Chapter {
  const { layer, columns, entropy, narrowest, widest, place, tokens } = found;
  const at = (column: number) => short(entropy[columns.indexOf(column)] ?? Number.NaN);
  const last = columns.at(-1) ?? 0;
  const text = [`In ${layer.path} (${layer.kind} attention${layer.kind === "self" ? ", among the places of the picture" : ", to the words of the text"}), evaluated for ${conditionWords(found.condition, sample.className)}, attention was narrowest at ${stepWords(run, narrowest)}, with an entropy of ${at(narrowest)} nats, and widest at ${stepWords(run, widest)}, with ${at(widest)}${layer.keys ? `; an even spread has ${short(Math.log(layer.keys))}` : ""}.`];
  if (place) text.push(`At ${stepWords(run, narrowest)} the place in row ${place.row}, column ${place.column} of ${layer.grid.join("×")} got most: ${short(place.times)} times an even share.`);
  const { ranking = [], scores } = tokens?.maskedDominance ?? {};
  const words = ranking.slice(0, 3).map((token) => `“${tokenWords(tokens?.tokens[token])}” ${percent(scores?.[token] ?? Number.NaN)}`);
  if (words.length && tokens?.tokens.length) text.push(`On average over steps and layers, of what the words got together, most went to ${words.join(", ")}.`);
  text.push("Attention tells where a layer reads from; it is no proof that a place decides another.");
  return { id: "attention", title: "Where attention went", text, from: columns[0] ?? 0, to: last, key: narrowest, stage: { kind: "attention" } };
}

function classChapter(facts: Facts): Chapter {
  const { run, sample, leads, decided, leans, neighbour, others } = facts;
  const last = run.kept.length - 1;
  const text: string[] = [];
  const unconditioned = run.environment["conditioned"] === false;
  text.push(unconditioned ? "Nothing in this run read the sample's class." : `It was requested as ${sample.className}.`);
  if (leads && decided !== undefined) {
    const value = short(leads.values[last] ?? Number.NaN);
    text.push(`Measured by the other ${count(others, "finished sample")} of this file, its last estimate leans most to ${leads.name} (cosine ${value}), of ${leans.length} classes${decided > 0 ? `, and does so without a break from ${stepWords(run, decided)} on` : ", and did so from the first step on"}.`);
  } else if (!run.fields.includes("x") || !run.fields.includes("x0")) text.push("The file does not keep both states x and estimates x₀, so that no leaning can be measured.");
  else text.push("The file has finished samples of fewer than two classes beside this one, so that no leaning can be measured.");
  if (neighbour) text.push(`Of the other samples, ${neighbour.sample.id} (${neighbour.sample.className}) ended most alike: their final states correlate by ${short(neighbour.correlation)}.`);
  text.push("No classifier has looked at it: what it looks like is for you to see.");
  return { id: "class", title: leads ? `It leans to ${leads.name}` : "Its class", text, from: Math.max(0, (decided ?? 0) - 2), to: last, key: decided ?? last, stage: { kind: leans.length ? "class" : "estimate" } };
}

function ending({ run, sample }: Facts): Chapter {
  const end = run.kept.length;
  return {
    id: "finished", title: "The finished picture", stage: { kind: run.imageShape ? "image" : "state" }, from: end, to: end, key: end,
    text: [`After ${count(run.schedule.steps, "step")}, ${run.imageShape ? "the final state is decoded to" : "this is the final state of"} ${sampleTitle(sample)}. The slider goes back to any step, and the other views show it in detail.`],
  };
}

/** The chapters that a run has: from noise to structure, what each force and drift did, attention, its path, its class, the picture. */
export function chaptersOf(facts: Facts): readonly Chapter[] {
  const { run } = facts;
  const order = (peaks: readonly Peak[]) => {
    const most = new Set([...peaks].sort((one, two) => two.norm - one.norm).slice(0, MOST_TERMS));
    return peaks.filter((peak) => most.has(peak));
  };
  const plane: Chapter = {
    id: "path", title: "Its path among others", from: 0, to: run.kept.length, key: run.kept.length, stage: { kind: "plane" },
    text: ["All states of a few samples, in the two directions in which they differ most. Each line is a sample on its way from noise; the mark is where it stands at this step, the strong line is this sample."],
  };
  const chapters = [
    facts.noise === undefined ? undefined : beginning(facts),
    walking(facts),
    facts.structure && appearing(facts, facts.structure),
    ...order(facts.forces).map((peak) => forceChapter(facts, peak)),
    unforced(facts, run.terms.filter((term) => term.kind === "force").length),
    ...order(facts.drifts).map((peak) => driftChapter(facts, peak)),
    facts.attention && attentionChapter(facts, facts.attention),
    facts.noise === undefined || facts.others === 0 ? undefined : plane,
    classChapter(facts),
    ending(facts),
  ];
  return chapters.filter((chapter) => chapter !== undefined);
}
