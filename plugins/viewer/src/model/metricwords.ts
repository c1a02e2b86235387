// What the metrics are called, and what they mean: for cards and the glossary. docs/metrics.md has the same at length.

import type { Run } from "./api";

interface Words {
  readonly title: string;
  readonly unit: string;
  readonly meaning: string;
}

// What the numbers of a run are stands in these places: "norm of the pixels".
const STATE = "norm of the {state}";
const VALUE = "{state}";
const PREDICTION = "norm of the {prediction}";
const NOISE = "norm of the noise ε";
const SHARE = "of 1";
const COSINE = "cosine";
const NATS = "nats";

const OVERVIEW: Record<string, Words> = {
  latent_l2_norm: { title: "Size of the state", unit: STATE, meaning: "‖x′‖, the L2 norm of the state that the step ends in; near √D for noise of D numbers." },
  predicted_noise_l2_norm: { title: "Size of the predicted noise", unit: NOISE, meaning: "‖ε‖, the L2 norm of the noise that the prediction means, guidance and forces included; near √D." },
  cosine_similarity_to_previous: { title: "Alike to the state before", unit: COSINE, meaning: "x₋·x / (‖x₋‖ ‖x‖ + 1e-8) of states rounded to half precision; almost 1 wherever noise is most of a state." },
  cosine_of_updates: { title: "Straightness of the path", unit: COSINE, meaning: "The cosine between what this step changes and what the one before changed: near 1 the path is straight, below 0 it goes back." },
  attention_kl_divergence: { title: "Change of attention to tokens", unit: NATS, meaning: "Σ p ln(p / q), where p is the share of attention that each token gets at this step and q that at the step before." },
  masked_attention_kl_divergence: { title: "Change of attention to words", unit: NATS, meaning: "The same without begin, end and filling, whose shares hide those of the words." },
  cross_attention_entropy: { title: "Spread of attention to tokens", unit: NATS, meaning: "−Σ p ln p over tokens, the mean over places and layers: 0 where each place attends to one token, at most ln T." },
  self_attention_entropy: { title: "Spread of attention among places", unit: NATS, meaning: "−Σ p ln p over places, the mean over places and layers: at most the logarithm of the number of places." },
};

const MORE: Record<string, Words> = {
  delta_x_l2: { title: "Step length", unit: STATE, meaning: "‖δ‖, δ = x′ − x: how far the state moved, drifts included; large where the image takes shape." },
  delta_x_mean: { title: "Mean change", unit: VALUE, meaning: "The mean of the numbers of δ: far from 0, the picture gets darker or lighter." },
  delta_x_std: { title: "Spread of the change", unit: VALUE, meaning: "The standard deviation of the numbers of δ." },
  delta_x_min: { title: "Smallest change", unit: VALUE, meaning: "The smallest of the numbers of δ." },
  delta_x_max: { title: "Largest change", unit: VALUE, meaning: "The largest of the numbers of δ." },
  delta_pixel_l2: { title: "Step length in pixels", unit: "norm of grey levels, 0 … 255", meaning: "‖pixels(x′) − pixels(x)‖, pixels from 0 to 255: the step as one sees it." },
  delta_x_cos: { title: "Straightness of the path", unit: COSINE, meaning: "δ₋·δ / (‖δ₋‖ ‖δ‖), the same as cosine_of_updates." },
  x_l2: { title: "Size of the state before the step", unit: STATE, meaning: "‖x‖ of the state that the step starts from." },
  x0_l2: { title: "Size of the image estimate", unit: STATE, meaning: "‖x̂₀‖ of the scheduler's estimate of the image." },
  x0_change_l2: { title: "Change of the image estimate", unit: STATE, meaning: "‖x̂₀ − x̂₀,₋‖: when the image is decided; it peaks where the estimate changes most." },
  noise_l2: { title: "Noise that is left", unit: NOISE, meaning: "‖x − s x̂₀‖ / n, s and n the rates of signal and noise: near √D for a sound model." },
  prediction_l2: { title: "Size of the prediction", unit: PREDICTION, meaning: "‖p‖, the base and all forces added." },
  base_l2: { title: "Size of the base", unit: PREDICTION, meaning: "‖b‖, the prediction before any force." },
  base_share: { title: "Share of the base", unit: SHARE, meaning: "b·p / ‖p‖²: the base's part of the prediction; with all forces' shares it adds up to 1." },
  drift_l2: { title: "Size of all drifts", unit: STATE, meaning: "‖Σ d‖: what all drifts changed of the state after the step." },
  alpha_t: { title: "α of the step", unit: "ratio of powers", meaning: "ᾱ / ᾱ′, the signal power where the step starts over that where it ends." },
  beta_t: { title: "β of the step", unit: SHARE, meaning: "1 − ᾱ / ᾱ′: how much noise the step removes." },
  alpha_cumprod_t: { title: "Signal power", unit: "share of the power", meaning: "ᾱ where the step starts: 0 is noise, 1 the image." },
  snr: { title: "Signal to noise", unit: "ratio of powers", meaning: "ᾱ / (1 − ᾱ) where the step starts." },
};

const OF_A_FORCE: Record<string, Words> = {
  l2: { title: "size", unit: PREDICTION, meaning: "‖f‖: its size in the prediction, its weight included." },
  cos_base: { title: "direction", unit: COSINE, meaning: "f·b / (‖f‖ ‖b‖): 1 is parallel to the base, 0 orthogonal, −1 against it." },
  share: { title: "share of the prediction", unit: SHARE, meaning: "f·p / ‖p‖²: negative where the rest outweighs it in its own direction." },
  displacement_l2: { title: "displacement", unit: STATE, meaning: "‖c f‖: how far it moves the state in this step, to first order." },
  displacement_share: { title: "share of the step", unit: SHARE, meaning: "c f·δ / ‖δ‖²: its part of the state's displacement δ, which includes drifts and drawn noise." },
  pull: { title: "pull", unit: STATE, meaning: "c f·δ / ‖c f‖: how far the state moved in the force's direction." },
};

export const FORCE_METRICS = Object.keys(OF_A_FORCE);

/** What the numbers of a run's states and predictions are. */
export interface Numbers {
  readonly state: "pixels" | "latents";
  readonly prediction: Run["predictionType"];
}

const PREDICTED = { epsilon: "noise ε", v_prediction: "velocity v", sample: "image estimate", flow: "flow's velocity" } as const;

/** Heading, title, unit and meaning of a metric, by the name that it has in files.
 *
 *  terms: names for people of forces and drifts, by their groups. */
export function wordsOf(name: string, terms: ReadonlyMap<string, string>, numbers: Numbers): Words & { readonly group: string } {
  const words = withPlaces(name, terms);
  return { ...words, unit: words.unit.replace("{state}", words.unit === VALUE && numbers.state === "pixels" ? "pixels, −1 … 1" : numbers.state).replace("{prediction}", PREDICTED[numbers.prediction]) };
}

function withPlaces(name: string, terms: ReadonlyMap<string, string>): Words & { readonly group: string } {
  const own = OVERVIEW[name];
  if (own !== undefined) return { ...own, group: "Overview" };
  const more = MORE[name];
  if (more !== undefined) return { ...more, group: groupOf(name) };
  if (name.startsWith("text_share ")) {
    const layer = name.slice("text_share ".length);
    return { title: `Attention to the text in ${layer}`, unit: "share of attention", meaning: "What all tokens of the text together get of a joint layer's attention; places of the image get the rest.", group: "Overview" };
  }
  for (const [key, term] of terms) {
    for (const [what, words] of Object.entries(OF_A_FORCE)) {
      if (name === `force_${key}_${what}`) return { ...words, title: `${term}: ${words.title}`, group: "Forces" };
    }
    if (name === `drift_${key}_l2`) return { title: `${term}: size`, unit: STATE, meaning: "‖d‖: what this drift changed of the state after the step.", group: "Drifts" };
  }
  return { title: name, unit: "", meaning: "", group: "Others" };
}

function groupOf(name: string): string {
  if (/^(alpha|beta|snr)/.test(name)) return "Noise level";
  if (/^(prediction|base)/.test(name)) return "Prediction";
  return name === "drift_l2" ? "Drifts" : name.startsWith("x0") || name === "noise_l2" ? "Image estimate" : "State";
}
