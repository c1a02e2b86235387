// A run in memory: six samples of two classes over eight steps, two forces, a drift, and attention to places and to words.
// Its numbers are made, but the ledger holds to the bit and rows of attention sum to one, as in a file.
import type { AttentionMaps, Field, Layer, Picture, Run, Sample, Term, Token } from "../src/model/api";

const SIDE = 14;
const SIZE = SIDE * SIDE;
const STEPS = 8;
const GRID = 7;

/** Numbers in [0, 1) that follow from a seed alone (Mulberry32). */
function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function normals(seed: number, count: number): Float32Array {
  const next = uniform(seed);
  return Float32Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()));
}

/** A ring for class 0, a cross for class 1; ink is +1, paper −1. */
function drawing(label: number, shift: number): Float32Array {
  return Float32Array.from({ length: SIZE }, (_, at) => {
    const [dx, dy] = [(at % SIDE) - 6.5 - shift, Math.floor(at / SIDE) - 6.5];
    const ink = label === 0 ? Math.abs(Math.hypot(dx, dy) - 4) < 1 : Math.min(Math.abs(dx), Math.abs(dy)) < 1 && Math.max(Math.abs(dx), Math.abs(dy)) < 5;
    return ink ? 1 : -1;
  });
}

const alphaBar = Float64Array.from({ length: STEPS }, (_, step) => 0.002 + 0.99 * (step / (STEPS - 1)) ** 1.5);

const settings: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "00_ramp_attract": { target: "A", strength: 1.5, power: 1, start: 0 },
  "01_repel_class": { target: "B", strength: 1 },
  base: { guidance_scale: 2.5 },
  "00_time_scaled": { noise_scale: 0.02, skip_last: true },
};

function term(kind: Term["kind"], key: string, field: Field): Term {
  const weight = kind === "force" ? Float64Array.from({ length: STEPS }, (_, step) => (key === "01_repel_class" ? 0.5 : step / STEPS)) : undefined;
  return { kind, key, scale: kind === "force" ? 1 : undefined, name: key === "base" ? "cfg" : key.replace(/^\d+_/, ""), field, weight, settings: settings[key] ?? {} };
}

export const TERMS: readonly Term[] = [
  term("base", "base", "base"),
  term("force", "00_ramp_attract", "forces/00_ramp_attract/contribution"),
  term("force", "01_repel_class", "forces/01_repel_class/contribution"),
  term("drift", "00_time_scaled", "drifts/00_time_scaled/delta"),
];

/** One state of a field of a sample: the noise that remains, what forces add, and what follows from them. */
function stateOf(sample: Sample, field: Field, column: number, salt: number): Float32Array {
  const noise = normals(100 + sample.id, SIZE);
  const image = drawing(sample.label, sample.id % 3 - 1);
  if (field === "x" && column === STEPS) return image;
  const power = alphaBar[column] ?? 1;
  const [signal, rest] = [Math.sqrt(power), Math.sqrt(1 - power)];
  if (field === "x") return image.map((value, at) => signal * value + rest * (noise[at] ?? 0));
  if (field.startsWith("drifts")) return normals(7 * column + sample.id, SIZE).map((value) => 0.02 * (column / STEPS) * value);
  const base = noise.map((value, at) => value * 0.9 + 0.05 * (image[at] ?? 0) * (1 - power));
  if (field === "base") return base;
  const first = drawing(0, 0).map((value) => -0.3 * (column / STEPS) * (1 - power) * value * (1 + salt));
  const second = drawing(1, 0).map((value) => 0.1 * (1 - power) * value);
  if (field.includes("ramp_attract")) return first;
  if (field.includes("repel_class")) return second;
  const prediction = base.map((value, at) => value + (first[at] ?? 0)).map((value, at) => value + (second[at] ?? 0));
  if (field === "prediction") return prediction;
  const x = stateOf(sample, "x", column, salt);
  return x.map((value, at) => (value - rest * (prediction[at] ?? 0)) / signal);
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}

const WORDS = ["<start>", "a", "ring", "on", "paper", "<end>"];
const LAYERS: readonly Layer[] = [
  { path: "mid_block.attentions.0", kind: "self", block: "mid", heads: 2, grid: [GRID, GRID], tokens: undefined, joint: false, networkHeads: 2, keys: GRID * GRID },
  { path: "up_blocks.0.attentions.0", kind: "cross", block: "up", heads: 2, grid: [GRID, GRID], tokens: WORDS.length, joint: false, networkHeads: 2, keys: WORDS.length },
];
/** Columns of the kept steps that have attention: every second. */
const CAPTURED = [0, 2, 4, 6];

/** Positive rows of which each sums to one. */
function shares(seed: number, rows: number, length: number): Float32Array {
  const next = uniform(seed);
  return joined(Array.from({ length: rows }, () => {
    const row = Float32Array.from({ length }, () => Math.exp(3 * next()));
    const sum = row.reduce((total, value) => total + value, 0);
    return row.map((value) => value / sum);
  }));
}

/** Places by tokens, turned into tokens by places. */
function transposed(rows: Float32Array, places: number, tokens: number): Float32Array {
  return Float32Array.from({ length: rows.length }, (_, at) => rows[(at % places) * tokens + Math.floor(at / places)] ?? 0);
}

export const ATTENTION: AttentionMaps = {
  layers: LAYERS,
  conditions: ["own", "null"],
  hidden: [],
  columns: CAPTURED,
  positions: [0, 1, 2, 3, 4, 5],
  tokens: (_, condition): readonly Token[] =>
    WORDS.map((text, at) => ({ text: condition === "null" ? "<end>" : text, id: at, special: text.startsWith("<"), word: at - 1, encoder: "text_encoder" })),
  evaluated: () => true,
  map: (layer, position, column, condition) => {
    if (!CAPTURED.includes(column)) return Promise.resolve(undefined);
    const seed = 1000 * column + 10 * position + condition.length;
    const places = GRID * GRID;
    const heads = Array.from({ length: layer.heads }, (_, head) =>
      layer.kind === "self" ? shares(seed + head, places, places) : transposed(shares(seed + head, places, WORDS.length), places, WORDS.length));
    return Promise.resolve(joined(heads));
  },
  entropy: (layer) => Promise.resolve(Float32Array.from({ length: CAPTURED.length * layer.heads }, (_, at) => 1 + 0.08 * at)),
  activation: (layer, position) => {
    if (layer.kind === "self") return Promise.resolve(undefined);
    return Promise.resolve(shares(position + 1, CAPTURED.length * layer.heads, WORDS.length));
  },
};

function pictureOf(sample: Sample): Picture {
  const rgba = new Uint8ClampedArray(4 * SIZE);
  drawing(sample.label, sample.id % 3 - 1).forEach((value, at) => rgba.set([127.5 + 127.5 * value, 127.5 + 127.5 * value, 127.5 + 127.5 * value, 255], 4 * at));
  return { width: SIDE, height: SIDE, rgba };
}

/** salt: another one gives a run whose first force is stronger, of the same noise. */
export function demoRun(salt = 0, changes: Partial<Run> = {}): Run {
  const samples: Sample[] = Array.from({ length: 6 }, (_, id) => ({
    position: id, id, seed: "1000", label: id % 2, className: id % 2 ? "B" : "A", done: true, row: id,
  }));
  const sampleAt = (position: number) => samples[position] as Sample;
  const state = (field: Field, position: number, column: number) => Promise.resolve(stateOf(sampleAt(position), field, column, salt));
  const forces = ["00_ramp_attract", "01_repel_class"].map((key, at) => ({ name: key.slice(3), settings: settings[key], weight: at ? 0.5 : 1 + salt }));
  return {
    source: { name: "demo.h5", size: 0, read: () => Promise.reject(new Error("no bytes")), fresh: () => Promise.reject(new Error("no bytes")), requests: 0, received: 0 },
    name: salt ? "stronger.h5" : "demo.h5",
    version: [1, 0],
    creator: "demo",
    config: { base: "cfg", guidance_scale: 2.5, seed: 1000, steps: STEPS, forces, drifts: [], scheduler: { name: "ddim", settings: { eta: 0 } } },
    configHash: salt ? "b" : "a",
    environment: {},
    forwardProcess: "diffusion",
    predictionType: "epsilon",
    schedule: {
      steps: STEPS, timestep: Float64Array.from({ length: STEPS }, (_, step) => 999 - 125 * step), alphaBar,
      sigma: alphaBar.map((power) => Math.sqrt((1 - power) / power)), evaluations: new Float64Array(STEPS).fill(1),
    },
    classes: ["A", "B"],
    samples,
    kept: Array.from({ length: STEPS }, (_, step) => step),
    shape: [1, SIDE, SIDE],
    imageShape: [SIDE, SIDE, 1],
    dtype: "float32",
    fields: ["x", "x0", "prediction", "base", ...TERMS.slice(1).map((one) => one.field as Field)],
    terms: TERMS,
    attention: ATTENTION,
    bytes: 0,
    alphaBarNext: Float64Array.from({ length: STEPS }, (_, step) => alphaBar[step + 1] ?? 1),
    live: false,
    pictures: () => Promise.resolve("pictures" as const),
    state,
    path: async (field, position) => joined(await Promise.all(Array.from({ length: STEPS + (field === "x" ? 1 : 0) }, (_, column) => state(field, position, column)))),
    states: async (field, positions, column) => joined(await Promise.all(positions.map((position) => state(field, position, column)))),
    image: (position) => Promise.resolve(pictureOf(sampleAt(position))),
    refresh: () => Promise.resolve(false),
    ...changes,
  };
}
