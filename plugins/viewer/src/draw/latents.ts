// Latent states in colours: the three directions in which their channels differ most.
import type { Run, Sample } from "../model/api";
import { pictureSize } from "./montage";

/** Standard deviations from the mean to the end of the range. */
const SHOWN = 2.5;
const ROUNDS = 200;
const MOST_SAMPLES = 8;
const known = new WeakMap<Run, Promise<Float32Array>>();

/** What `montage` takes as `colours` for the states of a run, the same at all steps; undefined where its states are
 *  pictures, have less than three channels, or none is there yet. By the final states of its first samples. */
export async function coloursOf(run: Run, reach: number): Promise<Float32Array | undefined> {
  const some = run.samples.filter((sample) => sample.done && sample.row !== undefined).slice(0, MOST_SAMPLES);
  if (pictureSize(run.shape).channels < 3 || !run.fields.includes("x") || !some.length || (await run.pictures()) === "pictures") return undefined;
  const held = known.get(run) ?? measured(run, some);
  known.set(run, held);
  held.catch(() => known.delete(run));
  return (await held).map((factor) => factor * reach);
}

async function measured(run: Run, some: readonly Sample[]): Promise<Float32Array> {
  const finals = await run.states("x", some.map((sample) => sample.position), run.kept.length);
  return principalColours(finals, run.shape, 1);
}

/** Factors (3, channels) by which channels become red, green and blue: the principal components of the channels over all
 *  places of these states, scaled so that ±`reach` of the result are 2.5 standard deviations. Latents that a model has
 *  made look like their image in false colours; they are not what it decodes to. */
export function principalColours(states: Float32Array, shape: readonly number[], reach: number): Float32Array {
  const { channels, height, width } = pictureSize(shape);
  const factors = new Float32Array(3 * channels);
  const matrix = products(states, channels, height * width);
  for (let colour = 0; colour < Math.min(3, channels); colour += 1) {
    const { vector, value } = leading(matrix, channels);
    const scale = value > 0 ? reach / (SHOWN * Math.sqrt(value)) : 0;
    vector.forEach((weight, channel) => (factors[colour * channels + channel] = weight * scale));
    for (let a = 0; a < channels; a += 1) {
      for (let b = 0; b < channels; b += 1) matrix[a * channels + b]! -= value * vector[a]! * vector[b]!;
    }
  }
  return factors;
}

/** The mean over places of the products of channels, about zero: grey is then the same latent in every state. */
function products(states: Float32Array, channels: number, places: number): Float64Array {
  const out = new Float64Array(channels * channels);
  const count = Math.max(1, states.length / channels);
  for (let start = 0; start + channels * places <= states.length; start += channels * places) {
    for (let a = 0; a < channels; a += 1) {
      for (let b = 0; b < channels; b += 1) {
        let sum = 0;
        for (let place = 0; place < places; place += 1) {
          sum += (states[start + a * places + place] || 0) * (states[start + b * places + place] || 0);
        }
        out[a * channels + b]! += sum / count;
      }
    }
  }
  return out;
}

/** The largest eigenvalue and its vector, by repeated multiplication; its largest entry is positive. */
function leading(matrix: Float64Array, size: number): { vector: Float64Array; value: number } {
  let vector = Float64Array.from({ length: size }, (_, place) => 1 + place / size);
  let value = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const next = new Float64Array(size);
    for (let a = 0; a < size; a += 1) for (let b = 0; b < size; b += 1) next[a]! += matrix[a * size + b]! * vector[b]!;
    value = Math.hypot(...next);
    if (!(value > 0)) return { vector: new Float64Array(size), value: 0 };
    vector = next.map((entry) => entry / value);
  }
  const largest = vector.reduce((best, entry) => (Math.abs(entry) > Math.abs(best) ? entry : best), 0);
  return { vector: vector.map((entry) => entry * Math.sign(largest)), value };
}
