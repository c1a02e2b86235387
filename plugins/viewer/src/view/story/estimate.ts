// The image that a prediction means, by the table of docs/trajectory-format.md; also of predictions that no run had.
import { rates } from "../../model/levels";
import type { Run } from "../../model/api";

/** x0 of a state and a prediction of the run's kind at one of its steps; undefined where the state holds no signal to divide by. */
export function estimateOf(run: Run, x: Float32Array, prediction: Float32Array, step: number): Float32Array | undefined {
  const [signal, noise] = rates(run.schedule.alphaBar[step] ?? Number.NaN, run.forwardProcess);
  if (!Number.isFinite(signal)) return undefined;
  switch (run.predictionType) {
    case "sample": return prediction;
    case "epsilon": return signal > 1e-6 ? x.map((value, at) => (value - noise * (prediction[at] ?? 0)) / signal) : undefined;
    case "v_prediction": return x.map((value, at) => signal * value - noise * (prediction[at] ?? 0));
    case "flow": return x.map((value, at) => value - noise * (prediction[at] ?? 0));
  }
}

/** Pearson's correlation; NaN where one of the two is the same everywhere. */
export function correlation(one: Float32Array, two: Float32Array): number {
  const count = Math.min(one.length, two.length);
  let [a, b, aa, bb, ab] = [0, 0, 0, 0, 0];
  for (let at = 0; at < count; at += 1) {
    const [x, y] = [one[at] ?? 0, two[at] ?? 0];
    a += x;
    b += y;
    aa += x * x;
    bb += y * y;
    ab += x * y;
  }
  const [left, right] = [aa - (a * a) / count, bb - (b * b) / count];
  return left > 0 && right > 0 ? (ab - (a * b) / count) / Math.sqrt(left * right) : Number.NaN;
}

/** The root of the mean square of one − two. */
export function rootMeanSquare(one: Float32Array, two: Float32Array): number {
  let sum = 0;
  for (let at = 0; at < one.length; at += 1) sum += ((one[at] ?? 0) - (two[at] ?? 0)) ** 2;
  return Math.sqrt(sum / Math.max(1, one.length));
}
