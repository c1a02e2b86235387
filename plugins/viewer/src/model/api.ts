// What a trajectory file means: the contract between the files' reader and the page. docs/trajectory-format.md is normative.
import type { Source } from "../reader/api";

/** "x", "x0", "prediction", "base", "forces/00_cfg/contribution", "drifts/00_momentum/delta". */
export type Field = string;

export interface Sample {
  /** Index into everything of `samples/…`, and into `images`. */
  readonly position: number;
  readonly id: number;
  /** Decimal: seeds have 64 bits. */
  readonly seed: string;
  readonly label: number;
  readonly className: string;
  readonly done: boolean;
  /** Row of its states; undefined where the run kept none of this sample. */
  readonly row: number | undefined;
}

export interface Schedule {
  readonly steps: number;
  readonly timestep: Float64Array;
  readonly alphaBar: Float64Array;
  readonly sigma: Float64Array;
  readonly evaluations: Float64Array;
}

/** A force, a drift or the base: a line of the ledger. */
export interface Term {
  readonly kind: "base" | "force" | "drift";
  /** As in the file: "00_cfg". */
  readonly key: string;
  /** For people: "cfg". */
  readonly name: string;
  readonly field: Field | undefined;
  /** Of a force: its weight at each of the run's steps. */
  readonly weight: Float64Array | undefined;
  /** Its settings, as the configuration has them. */
  readonly settings: Readonly<Record<string, unknown>>;
}

export interface Token { readonly text: string; readonly id: number; readonly special: boolean; readonly word: number; readonly encoder: string }

/** One layer's maps: see docs/attention.md. */
export interface Layer {
  readonly path: string;
  readonly kind: "cross" | "self";
  readonly block: string;
  /** 1 where the mean of the heads is kept. */
  readonly heads: number;
  /** Rows and columns of the grid of places whose attention it is. */
  readonly grid: readonly [number, number];
  /** Of cross: how many tokens. Of self: undefined. */
  readonly tokens: number | undefined;
}

export interface AttentionMaps {
  readonly layers: readonly Layer[];
  /** Names of conditions, in the order of their axis. */
  readonly conditions: readonly string[];
  /** Columns (of `Run.kept`) that have maps, and positions of samples that have them. */
  readonly columns: readonly number[];
  readonly positions: readonly number[];
  /** Tokens of a condition of a sample; empty where the family has no texts. */
  tokens(position: number, condition: string): readonly Token[];
  /** Whether the step at this column evaluates the condition. */
  evaluated(column: number, condition: string): boolean;
  /** (heads, tokens, fy, fx) of cross, (heads, fy, fx, ky, kx) of self; undefined where there is none. */
  map(layer: Layer, position: number, column: number, condition: string): Promise<Float32Array | undefined>;
  /** (columns, heads): in nats. */
  entropy(layer: Layer, position: number, condition: string): Promise<Float32Array>;
  /** (columns, heads, tokens): what each token gets. */
  activation(layer: Layer, position: number, condition: string): Promise<Float32Array | undefined>;
}

/** A curve over a sample's kept steps: NaN where there is no value, drawn as a gap. */
export interface Metric {
  readonly name: string;
  /** In words, for cards and the glossary. */
  readonly title: string;
  readonly unit: string;
  /** One sentence: what it is, by which formula. */
  readonly meaning: string;
  readonly values: Float64Array;
}

/** A picture that can be put on a canvas: RGBA, row-major. */
export interface Picture { readonly width: number; readonly height: number; readonly rgba: Uint8ClampedArray }

export interface Run {
  readonly source: Source;
  readonly name: string;
  readonly version: readonly [number, number];
  readonly creator: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly configHash: string;
  readonly environment: Readonly<Record<string, unknown>>;
  readonly forwardProcess: "diffusion" | "flow";
  readonly predictionType: "epsilon" | "v_prediction" | "sample" | "flow";
  readonly schedule: Schedule;
  readonly classes: readonly string[];
  readonly samples: readonly Sample[];
  /** Steps whose states are kept, rising. States have one column more than this: the final one. */
  readonly kept: readonly number[];
  /** Of one state: channels, rows, columns. */
  readonly shape: readonly number[];
  /** Of one decoded image: rows, columns, 1 or 3. Undefined where there are none. */
  readonly imageShape: readonly [number, number, number] | undefined;
  readonly dtype: "float16" | "float32" | undefined;
  readonly fields: readonly Field[];
  /** Base, forces in the order in which they are added, drifts in theirs. */
  readonly terms: readonly Term[];
  readonly attention: AttentionMaps | undefined;
  /** Bytes of the file, and of its datasets of states. */
  readonly bytes: number;

  /** One state, (…shape). `column` counts kept steps; of "x" also `kept.length`, the final state. */
  state(field: Field, position: number, column: number): Promise<Float32Array>;
  /** All columns of a sample, (columns, …shape), in one read. */
  path(field: Field, position: number): Promise<Float32Array>;
  /** One column of many samples, in order of `positions`, (positions, …shape). */
  states(field: Field, positions: readonly number[], column: number): Promise<Float32Array>;
  image(position: number): Promise<Picture | undefined>;
  /** Which samples are done now, read anew: true where that changed. Then `samples` is another array. */
  refresh(): Promise<boolean>;
}

/** What a sentence in the page says of the sum: base + contributions = prediction, and by how much it misses. */
export interface Balance { readonly holds: boolean; readonly largest: number; readonly allowed: number }

/** Columns of two runs that belong together. */
export type Alignment = "step" | "progress" | "sigma";
