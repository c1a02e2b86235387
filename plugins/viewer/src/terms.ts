// The words of the page: each in a sentence or two, with its formula where it has one. Metrics explain themselves.

export interface TermOf { readonly term: string; readonly meaning: string; readonly formula?: string }

export const TERMS: readonly TermOf[] = [
  { term: "Step", meaning: "One move of the scheduler, from a noisier state to a cleaner one. A run has the same steps for all samples; step 0 starts from pure noise. Tables call it step_index." },
  { term: "State x", meaning: "What the process moves: pixels of an image, from −1 (black) to 1 (white), or latents that a decoder turns into one.", formula: "x = signal · x₀ + noise · ε" },
  { term: "Timestep", meaning: "The training time that the network is told at a step: 999 is nearly pure noise, 0 nearly an image." },
  { term: "Signal", meaning: "The share of the image in the state's power; on a flow, its share of the mixture. The rest is noise.", formula: "ᾱ; flow: 1 − t" },
  { term: "σ", meaning: "The noise for each unit of signal. It is infinite where a state has no signal.", formula: "σ = √((1 − ᾱ) / ᾱ)" },
  { term: "Prediction", meaning: "What the scheduler uses at a step: the base and what every force adds. The kind is in the file: noise ε, velocity v, the image, or the flow.", formula: "prediction = base + Σ contributions" },
  { term: "Base", meaning: "The network's own prediction before any force: with guidance, without a class, or with the sample's own class." },
  { term: "Force", meaning: "A rule that adds to the prediction at each step, with a weight that may change over the run." },
  { term: "Contribution", meaning: "What a force added at a step, its weight included, in the prediction's own units." },
  { term: "Drift", meaning: "A rule that changes the state itself after a step." },
  { term: "Estimate x₀", meaning: "The scheduler's estimate, from one step's prediction, of the image that the sample becomes.", formula: "of ε: x₀ = (x − noise · ε) / signal" },
  { term: "Guidance", meaning: "A base that goes beyond the class's prediction, away from the one without a class.", formula: "e = e₀ + g (e₁ − e₀)" },
  { term: "Condition", meaning: "What the network is told beside state and timestep: the sample's own class or text, none (null), or another class that a force asks about." },
  { term: "Layer", meaning: "A part of the network that lets places of the picture read from one another (self attention) or from the text (cross attention)." },
  { term: "Head", meaning: "One of several attentions that a layer computes side by side, each with a pattern of its own. They are counted from 0." },
  { term: "Token", meaning: "A piece of the text, often a word. Special tokens mark the beginning, the end, and empty places." },
  { term: "Attention", meaning: "For each place of the picture, how it shares what it reads among tokens or other places. The shares of a place add up to one.", formula: "softmax(q kᵀ / √d)" },
  { term: "Entropy", meaning: "How widely attention spreads: 0 where all goes to one token or place, and ln n where n of them get the same.", formula: "−Σ p ln p, in nats" },
  { term: "Sample", meaning: "One image on its way from noise. Its noise depends on its seed and id alone, not on what else is in the run." },
  { term: "Class", meaning: "What a sample is asked to become, such as a letter." },
];
