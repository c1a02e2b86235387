// A run in memory, for tests and for work on the page without a file: rings of each class's own radius that appear from noise.
import type { Field, Picture, Run, Sample } from "../src/model/api";
import type { Source } from "../src/reader/api";

/** The same numbers on every machine: mulberry32. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export interface Demo { readonly samples?: number; readonly steps?: number; readonly side?: number; readonly done?: number; readonly name?: string }

const CLASSES = ["A", "B", "k"];

function stateOf(field: Field, position: number, column: number, steps: number, side: number): Float32Array {
  const share = Math.min(1, column / steps);
  const draw = random(1000 + position);
  const radius = (0.18 + 0.1 * (position % CLASSES.length)) * side;
  const noise = field === "x0" ? 0.35 * (1 - share) : field === "x" ? Math.sqrt(1 - share * share) : 1;
  const image = field === "x" ? share : field === "x0" ? 1 : -0.4;
  return Float32Array.from({ length: side * side }, (_, i) => {
    const from = Math.hypot((i % side) - side / 2 + 0.5, Math.floor(i / side) - side / 2 + 0.5);
    const ring = Math.abs(from - radius) < 1.8 ? 1 : -1;
    const spread = draw() + draw() + draw() - 1.5;
    const scale = field.startsWith("forces/") || field.startsWith("drifts/") ? 0.3 * (1 - share) : 1;
    return scale * (image * ring + 1.4 * noise * spread);
  });
}

function source(name: string): Source {
  const none = () => Promise.reject(new Error("a run in memory has no bytes"));
  return { name, size: 1_234_567, read: none, fresh: none, requests: 0, received: 0 };
}

export function demoRun({ samples = 8, steps = 20, side = 28, done = samples, name = "demo.h5" }: Demo = {}): Run {
  const list: Sample[] = Array.from({ length: samples }, (_, position) => ({
    position, id: position, seed: String(1000 + position), label: position % CLASSES.length, className: CLASSES[position % CLASSES.length] as string,
    done: position < done, row: position,
  }));
  const alphaBar = Float64Array.from({ length: steps }, (_, step) => Math.sin((Math.PI / 2) * (step / steps)) ** 2);
  const state = (field: Field, position: number, column: number) => Promise.resolve(stateOf(field, position, column, steps, side));
  const columnsOf = (field: Field) => steps + (field === "x" ? 1 : 0);
  return {
    source: source(name), name, version: [1, 0], creator: "emnist-diff 0.1.0", configHash: "0".repeat(64),
    config: { steps, seed: 1000, guidance_scale: 3, forces: [{ name: "attract_class", target: "B" }] },
    environment: { emnist_diff: "0.1.0", python: "3.11.2", torch: "2.9.1", device: "cpu", threads: 2 },
    forwardProcess: "diffusion", predictionType: "epsilon",
    schedule: {
      steps, alphaBar, sigma: alphaBar.map((power) => Math.sqrt((1 - power) / power)), evaluations: new Float64Array(steps).fill(1),
      timestep: Float64Array.from({ length: steps }, (_, step) => 999 - Math.round((999 * step) / steps)),
    },
    classes: CLASSES, samples: list, kept: Array.from({ length: steps }, (_, step) => step), shape: [1, side, side], imageShape: [side, side, 1],
    dtype: "float32", fields: ["x", "x0", "prediction", "base", "forces/00_attract_class/contribution", "drifts/00_default/delta"],
    terms: [], attention: undefined, bytes: 1_234_567, state,
    path: async (field, position) => {
      const path = new Float32Array(columnsOf(field) * side * side);
      for (let column = 0; column < columnsOf(field); column += 1) path.set(stateOf(field, position, column, steps, side), column * side * side);
      return path;
    },
    states: async (field, positions, column) => {
      const states = new Float32Array(positions.length * side * side);
      positions.forEach((position, i) => states.set(stateOf(field, position, column, steps, side), i * side * side));
      return states;
    },
    image: (position): Promise<Picture> => {
      const rgba = new Uint8ClampedArray(side * side * 4).fill(255);
      stateOf("x", position, steps, steps, side).forEach((value, i) => rgba.fill(127.5 + 127.5 * value, i * 4, i * 4 + 3));
      return Promise.resolve({ width: side, height: side, rgba });
    },
    refresh: () => Promise.resolve(false), live: done < samples, pictures: () => Promise.resolve("pictures"),
    alphaBarNext: Float64Array.from({ length: steps }, (_, step) => alphaBar[step + 1] ?? 1),
  };
}
