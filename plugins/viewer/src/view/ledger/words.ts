// What terms of the ledger do, in words. The sentences are those of the plugins that come with emnist-diff; a plugin that
// is not among them is described by its settings alone.
import type { Run, Term } from "../../model/api";

const FORCES: Readonly<Record<string, string>> = {
  adaptive_projected: "guides across the prediction, so that colours do not saturate",
  and: "pulls toward all of several classes at once",
  attract_class: "pulls toward a class",
  autoguidance: "leads away from a weaker version of the network",
  blend_two: "pulls toward a mixture of two classes",
  cfg_pp: "guides, and adds noise anew without the class",
  cfg_zero_star: "guides from a rescaled prediction without the class",
  classifier: "follows the gradient of a classifier",
  contrast: "adds the difference of two classes, networks or variants",
  cycle_classes: "pulls toward one class after another",
  drift_noise: "adds white noise to the prediction",
  dynamic_cfg: "guides by a scale that follows a curve",
  energy: "goes down the gradient of an energy",
  frequency_decoupled: "guides each band of frequencies by a scale of its own",
  interval: "guides within a range of noise levels",
  none: "adds nothing",
  not: "pushes away from a class, by its density",
  or: "pulls toward one of several classes",
  oscillate_two: "pulls toward two classes in turn",
  perp_neg: "pushes away from classes, across the one that is kept",
  perturbed_attention: "leads away from a network that cannot attend",
  ramp_attract: "pulls toward a class, more and more",
  regional: "guides each region of the picture to a class of its own",
  repel_class: "pushes away from a class",
  rescale: "restores the contrast of the prediction for the class",
  semantic: "adds concepts where they matter most",
  skip_layers: "leads away from a network without some of its layers",
  smoothed_energy: "leads away from a network with blurred attention",
  subtract_two: "pulls toward one class and pushes away from another",
  switch_two: "pulls toward one class first, then toward another",
  user_custom: "adds what a function of the user returns",
  user_schedule: "pulls toward classes by a table of weights over time",
  weighted_multi: "pulls toward many classes by a sum of weights",
};

const DRIFTS: Readonly<Record<string, string>> = {
  clamp: "bounds every element of the state",
  data_consistency: "makes the state agree with a measurement",
  decay_only: "lets the state decay toward zero",
  default: "lets the state decay, then adds white noise",
  dynamic_threshold: "bounds the state by a percentile",
  freeze_mask: "keeps a part of the state as it was",
  inpaint: "keeps the known part of an image",
  inverse_time_scaled: "adds white noise, most of it early",
  langevin: "moves the state toward the distribution of its noise level",
  low_pass: "keeps the coarse content of a reference",
  momentum: "goes on a little as the state went before",
  none: "leaves the state as it is",
  normalize: "sets the state's deviation or norm",
  oscillatory: "adds white noise that comes and goes",
  sdedit: "starts from an image at a chosen noise level",
  symmetry: "averages the state over flips or rotations",
  time_scaled: "adds white noise, most of it late",
  user_custom: "changes the state by a function of the user",
};

/** A setting as people write it: 2.5, not 2.500. */
const plain = (setting: number) => String(Number(setting.toPrecision(6))).replace("-", "−");

function value(setting: unknown): string {
  if (typeof setting === "number") return plain(setting);
  if (typeof setting === "string") return setting;
  if (typeof setting === "boolean") return setting ? "yes" : "no";
  if (Array.isArray(setting)) return setting.map(value).join(", ");
  return JSON.stringify(setting);
}

/** Settings as a list of words: "target A, strength 1.5"; those that were left out are not named. */
export function settingsWords(settings: Readonly<Record<string, unknown>>): string {
  const stated = Object.entries(settings).filter(([name, setting]) => !name.endsWith("_sha256") && setting !== null && setting !== undefined && setting !== "");
  return stated.map(([name, setting]) => `${name.replaceAll("_", " ")} ${value(setting)}`).join(", ");
}

function baseWords(term: Term): string {
  const scale = term.settings["guidance_scale"];
  const kind = term.name;
  if (kind === "cfg" && typeof scale === "number") return `guidance of scale ${plain(scale)}: e(null) + ${plain(scale)} · (e(own) − e(null))`;
  if (kind === "cond") return "the network's prediction for the sample's own class";
  if (kind === "uncond") return "the network's prediction without a class";
  return "the prediction before any force";
}

/** What a term does, in one phrase without a capital and a full stop. */
export function doesWords(term: Term): string {
  if (term.kind === "base") return baseWords(term);
  // The second of two alike is called "cfg #2": what it does is found by its key.
  return (term.kind === "force" ? FORCES : DRIFTS)[term.key.replace(/^\d+_/, "")] ?? `a ${term.kind} of a plugin`;
}

/** In what a prediction is measured. */
export function predictionUnit(run: Run): string {
  const units = {
    epsilon: "standard deviations of the noise",
    v_prediction: "units of the velocity v",
    sample: "units of the image estimate",
    flow: "units of the flow's velocity",
  };
  return units[run.predictionType];
}
