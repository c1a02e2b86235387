// Numbers and names as people read them: the same everywhere on the page.
import type { Field, Run, Sample } from "./model/api";

const LETTERS: Readonly<Record<string, string>> = { x: "State x", x0: "Estimate of the image x₀", prediction: "Prediction", base: "Base prediction", image: "Decoded image" };

/** A field's name for people: "Force cfg", "Estimate of the image x₀". */
export function fieldTitle(field: Field): string {
  const known = LETTERS[field];
  if (known) return known;
  const [group, key = ""] = field.split("/");
  const name = key.replace(/^\d+_/, "");
  return group === "forces" ? `Force ${name}` : group === "drifts" ? `Drift ${name}` : field;
}

/** What a field's values are, in one sentence. */
export function fieldSays(field: Field, run: Run): string {
  const prediction = { epsilon: "noise", v_prediction: "velocity v", sample: "image", flow: "flow" }[run.predictionType];
  if (field === "x") return "The state that each step starts from; at the end of the slider, the final state.";
  if (field === "x0") return "The scheduler's estimate, at each step, of the image that the sample becomes.";
  if (field === "prediction") return `The ${prediction} that the scheduler saw: the base and all forces added.`;
  if (field === "base") return `The ${prediction} that the network predicted, before any force.`;
  if (field === "image") return "The final sample, decoded to an image: the same at every step.";
  if (field.startsWith("forces/")) return "What this force added to the prediction, its weight included.";
  if (field.startsWith("drifts/")) return "What this drift changed of the state after each step.";
  return "Values of this dataset at each step.";
}

// One formatter for all: making one takes longer than all the numbers of a step.
const THOUSANDS = new Intl.NumberFormat("en");

const trimmed = (text: string): string => text.replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");

/** Digits that a number may have before it is written as a power of ten. */
const MOST_DIGITS = 6;

/** Four significant digits, never more than fits a column: 0.001234, 12.34, 1.23e-9, 1,234; no digit before the point is left out. */
export function number(value: number, digits = 4): string {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  const text = digits < 4 ? trimmed(size.toPrecision(digits)) : size.toPrecision(digits);
  const small = size < 1e-3 && (text.includes("e") || text.length - 1 > MOST_DIGITS);
  if (size !== 0 && (small || size >= 10 ** MOST_DIGITS)) {
    const power = size.toExponential(2).replace("e+", "e");
    return sign + (digits < 4 ? power.replace(/\.?0+e/, "e") : power).replace("-", "−");
  }
  return sign + (Number.isInteger(size) || text.includes("e") ? THOUSANDS.format(Math.round(size)) : text);
}

const UNITS = ["bytes", "kB", "MB", "GB", "TB"] as const;

/** Decimal units, as file managers state them: "2.1 GB". */
export function bytes(count: number): string {
  let at = 0;
  let value = count;
  while (value >= 999.5 && at < UNITS.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${at === 0 ? value : value.toPrecision(3)} ${UNITS[at]}`;
}

/** A text that begins a sentence. */
export const capital = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1);

/** A share in percent: "12 %", "1.2 %", "< 0.1 %". */
export function percent(share: number): string {
  if (Number.isNaN(share)) return "–";
  const size = Math.abs(share);
  if (size > 0 && size < 5e-4) return "< 0.1 %";
  return `${(100 * share).toFixed(size > 0 && size < 0.0995 ? 1 : 0).replace("-", "−")} %`;
}

/** "1 sample", "3 samples". */
export function count(amount: number, one: string, many = `${one}s`): string {
  return `${THOUSANDS.format(amount)} ${amount === 1 ? one : many}`;
}

/** A sample in a list: "A, sample 3". */
export function sampleTitle(sample: Sample): string {
  return `${sample.className}, sample ${sample.id}`;
}

/** `title` names the step in a sentence, `place` beside the slider. */
export interface StepFacts { readonly title: string; readonly place: string; readonly timestep: string; readonly sigma: string; readonly signal: string }

/** What the slider says of a column: the step as files count it, from 0, its timestep, σ and share of signal in the state's power. */
export function stepFacts(run: Run, column: number): StepFacts {
  const { schedule, kept } = run;
  const step = kept[column];
  if (step === undefined) return { title: "the final state", place: "final state", timestep: "–", sigma: "0", signal: "100 %" };
  const power = schedule.alphaBar[step] ?? Number.NaN;
  const [signal, noise] = [Math.sqrt(power), Math.sqrt(1 - power)];
  const share = run.forwardProcess === "flow" ? signal / (signal + noise) : power;
  return {
    title: `step ${step}`,
    place: `step ${step} of 0 … ${schedule.steps - 1}`,
    timestep: number(schedule.timestep[step] ?? Number.NaN),
    sigma: number(schedule.sigma[step] ?? Number.NaN, 3),
    signal: percent(share),
  };
}

/** A column in a file's name: "step-12", "final". */
export function stepWord(run: Run, column: number): string {
  const step = run.kept[column];
  return step === undefined ? "final" : `step-${step}`;
}

/** A name of a file that says what is in it: "trajectory_frames_x0_step-12.png". */
export function fileName(run: Run | undefined, ...parts: readonly string[]): string {
  const stem = (run?.name ?? "viewer").replace(/\.(h5|hdf5)$/, "");
  const tail = parts.at(-1) ?? "";
  const words = [stem, ...parts.slice(0, -1)].map((part) => part.replace(/[^\w.-]+/g, "-").replace(/^[-.]+|-$/g, "")).filter(Boolean);
  return `${words.join("_")}${tail}`;
}
