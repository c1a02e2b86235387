// What tokens get of attention over a run: document 002's numbers, and those without begin, end and filling.
import type { AttentionMaps, Layer, Run, Token } from "./api";
import { ratio } from "./vectors";

/** What a share of attention is at least before it is compared. */
const SMALLEST = 1e-8;
/** Tokens in a ranking. */
const MOST_RANKED = 25;

export interface Dominance {
  /** (T,) the mean over steps. */
  readonly scores: Float64Array;
  /** Places of tokens, those with the largest score first; at most 25. */
  readonly ranking: readonly number[];
}

export interface TokenActivation {
  readonly tokens: readonly Token[];
  /** How many tokens the layers attend to. */
  readonly count: number;
  /** (columns of the maps, T): the mean over layers of what each token gets; the rows sum to one. NaN where a step does
   *  not evaluate the condition. */
  readonly values: Float64Array;
  /** The same without special tokens, the rest summing to one again. */
  readonly masked: Float64Array;
  readonly dominance: Dominance;
  readonly maskedDominance: Dominance;
  /** Of joint layers: what the text gets of all attention, by path, (columns). */
  readonly textShare: ReadonlyMap<string, Float64Array>;
}

/** The condition whose attention is looked at first: the samples' own class, or else the first that is not the null. */
export function firstCondition(attention: AttentionMaps): string | undefined {
  const names = attention.conditions;
  return names.includes("own") ? "own" : (names.find((name) => name !== "null") ?? names[0]);
}

/** Of a sample; undefined where no cross attention is kept. */
export async function tokenActivation(run: Run, position: number, condition: string): Promise<TokenActivation | undefined> {
  const attention = run.attention;
  const cross = attention?.layers.filter((layer) => layer.kind === "cross") ?? [];
  const count = cross[0]?.tokens ?? 0;
  if (attention === undefined || !count) return undefined;
  const steps = attention.columns.length;
  const values = new Float64Array(steps * count);
  const textShare = new Map<string, Float64Array>();
  let layers = 0;
  for (const layer of cross) {
    const found = await ofLayer(attention, layer, position, condition);
    if (found === undefined) continue;
    if (layer.joint) textShare.set(layer.path, sums(found, layer.tokens ?? 1));
    if (layer.tokens !== count) continue;
    layers += 1;
    const shares = layer.joint ? normalised(found, count) : found;
    shares.forEach((share, place) => (values[place]! += share));
  }
  if (!layers) return undefined;
  values.forEach((value, place) => (values[place] = value / layers));
  const listed = attention.tokens(position, condition);
  const tokens = listed.length === count ? listed : [];
  const masked = normalised(values.map((value, place) => (tokens[place % count]?.special ? 0 : value)), count);
  return { tokens, count, values, masked, dominance: dominance(values, count), maskedDominance: dominance(masked, count), textShare };
}

/** (columns, tokens) of a layer, the mean of its heads. */
async function ofLayer(attention: AttentionMaps, layer: Layer, position: number, condition: string): Promise<Float64Array | undefined> {
  const [found, tokens] = [await attention.activation(layer, position, condition), layer.tokens ?? 1];
  if (found === undefined) return undefined;
  const out = new Float64Array(attention.columns.length * tokens);
  found.forEach((value, place) => {
    const column = Math.floor(place / (layer.heads * tokens));
    out[column * tokens + (place % tokens)]! += value / layer.heads;
  });
  return out;
}

function sums(values: Float64Array, width: number): Float64Array {
  const out = new Float64Array(values.length / width);
  values.forEach((value, place) => (out[Math.floor(place / width)]! += value));
  return out;
}

/** Rows of `width`, each over its sum; NaN where that is zero. */
function normalised(values: Float64Array, width: number): Float64Array {
  const totals = sums(values, width);
  return values.map((value, place) => ratio(value, totals[Math.floor(place / width)]!));
}

function dominance(values: Float64Array, width: number): Dominance {
  const [totals, counts] = [new Float64Array(width), new Float64Array(width)];
  values.forEach((value, place) => {
    if (!Number.isFinite(value)) return;
    totals[place % width]! += value;
    counts[place % width]! += 1;
  });
  const scores = totals.map((total, token) => ratio(total, counts[token]!));
  const known = [...scores.keys()].filter((token) => Number.isFinite(scores[token]));
  return { scores, ranking: known.sort((a, b) => scores[b]! - scores[a]!).slice(0, MOST_RANKED) };
}

/** Σ p ln(p / q) of each row against the one before, which are at least 1e-8 each and then sum to one; NaN of the first. */
export function divergence(values: Float64Array, width: number): Float64Array {
  const p = normalised(values.map((value) => Math.max(value, SMALLEST)), width);
  const out = new Float64Array(values.length / width).fill(NaN);
  let before = -1; // the last row whose attention is known
  for (let row = 0; row < out.length; row += 1) {
    const shares = p.subarray(row * width, (row + 1) * width);
    if (!shares.every(Number.isFinite)) continue;
    if (before >= 0) out[row] = shares.reduce((sum, share, place) => sum + share * Math.log(share / p[before * width + place]!), 0);
    before = row;
  }
  return out;
}

/** Entropy of a kind of attention by step: the mean over layers and heads in nats, (columns); undefined without such layers. */
export async function meanEntropy(attention: AttentionMaps, kind: Layer["kind"], position: number, condition: string): Promise<Float64Array | undefined> {
  const layers = attention.layers.filter((layer) => layer.kind === kind);
  if (!layers.length) return undefined;
  const out = new Float64Array(attention.columns.length);
  for (const layer of layers) {
    const found = await attention.entropy(layer, position, condition);
    found.forEach((value, place) => (out[Math.floor(place / layer.heads)]! += value / layer.heads / layers.length));
  }
  return out;
}
