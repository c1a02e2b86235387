// Noise levels: how signal and noise mix into a state, and what a prediction means there. docs/trajectory-format.md.
import type { Run } from "./api";
import { combined, ratio, type Vector } from "./vectors";

/** (signal, noise) such that a state is signal · x0 + noise · epsilon. */
export function rates(alphaBar: number, process: Run["forwardProcess"]): readonly [number, number] {
  const [signal, noise] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
  return process === "flow" ? [signal / (signal + noise), noise / (signal + noise)] : [signal, noise];
}

/** The noise that a prediction means; NaN where it does not tell. */
export function epsilon(prediction: Vector, x: Vector, [signal, noise]: readonly [number, number], kind: Run["predictionType"]): Vector {
  if (kind === "epsilon") return prediction;
  const [ofPrediction, ofState] = {
    v_prediction: [signal, noise] as const,
    flow: [signal, 1] as const,
    sample: [-ratio(signal, noise), ratio(1, noise)] as const,
  }[kind];
  return combined(ofPrediction, prediction, ofState, x);
}

/** By how much a state moves in a step for each unit that is added to the prediction, in a first-order deterministic step:
 *  x′ = s′ x0 + n′ (x − s x0) / n. Song et al. 2021, arXiv:2010.02502, equation 12. */
export function displacement(alphaBar: number, alphaBarNext: number, run: Pick<Run, "forwardProcess" | "predictionType">): number {
  const [signal, noise] = rates(alphaBar, run.forwardProcess);
  const [signalNext, noiseNext] = rates(alphaBarNext, run.forwardProcess);
  const perX0 = { epsilon: -ratio(noise, signal), v_prediction: -noise, flow: -noise, sample: 1 }[run.predictionType];
  return (signalNext - noiseNext * ratio(signal, noise)) * perX0;
}
