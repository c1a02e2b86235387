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
  /** Its weight in the configuration, which the one of each step is a multiple of; undefined where it says none. */
  readonly scale: number | undefined;
  /** Its settings, as the configuration has them. */
  readonly settings: Readonly<Record<string, unknown>>;
}

export interface Token { readonly text: string; readonly id: number; readonly special: boolean; readonly word: number; readonly encoder: string }

/** One layer's maps: see docs/attention.md. */
export interface Layer {
  readonly path: string;
  readonly kind: "cross" | "self";
  /** Where it stands in the network: down, mid, up, double, single; "" where the file does not say. */
  readonly block: string;
  /** Whether attention to tokens and to places sum to one together, as in layers of Stable Diffusion 3 and Flux. */
  readonly joint: boolean;
  /** 1 where the mean of the heads is kept. */
  readonly heads: number;
  /** How many heads the network has there; undefined where the file does not say. */
  readonly networkHeads: number | undefined;
  /** Rows and columns of the grid of places whose attention it is. */
  readonly grid: readonly [number, number];
  /** Of cross: how many tokens. Of self: undefined. */
  readonly tokens: number | undefined;
  /** How many tokens, or places at the network's resolution, are attended to: of an even spread, entropy is its logarithm.
   *  Undefined where the file does not say, and of joint layers, of whose attention each kind is a part. */
  readonly keys: number | undefined;
}

/** Hidden states that are recorded beside attention: see docs/attention.md. */
export interface Hidden {
  /** The module that hands them on: "mid_block.resnets.1". */
  readonly path: string;
  /** Of one step, sample and condition, as the module hands it on. */
  readonly shape: readonly number[];
  /** Share of the variance of each principal component, where components are kept in place of channels. */
  readonly explained: readonly number[] | undefined;
}

export interface AttentionMaps {
  /** In the order of evaluation. */
  readonly layers: readonly Layer[];
  readonly hidden: readonly Hidden[];
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
  /** (columns, heads): in nats; a row for each of `columns`, NaN where the step does not evaluate the condition. */
  entropy(layer: Layer, position: number, condition: string): Promise<Float32Array>;
  /** (columns, heads, tokens): what each token gets; NaN as of `entropy`. Undefined of self attention. */
  activation(layer: Layer, position: number, condition: string): Promise<Float32Array | undefined>;
}

/** A curve over a sample's kept steps: NaN where there is no value, drawn as a gap. */
export interface Metric {
  /** As tables and datasets have it: "delta_x_l2". */
  readonly name: string;
  /** The heading that it stands under: "Overview", "State", "Image estimate", "Prediction", "Forces", "Drifts", "Noise level". */
  readonly group: string;
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
  /** Signal power where each step ends; 1 after the last. */
  readonly alphaBarNext: Float64Array;
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
  /** Whether a run may still add samples: some were not committed when the file was last looked at. */
  readonly live: boolean;
  /** Bytes of the file, and of its datasets of states. */
  readonly bytes: number;

  /** One state, (…shape). `column` counts kept steps; of "x" also `kept.length`, the final state. */
  state(field: Field, position: number, column: number): Promise<Float32Array>;
  /** All columns of a sample, (columns, …shape), in one read. */
  path(field: Field, position: number): Promise<Float32Array>;
  /** One column of many samples, in order of `positions`, (positions, …shape). */
  states(field: Field, positions: readonly number[], column: number): Promise<Float32Array>;
  image(position: number): Promise<Picture | undefined>;
  /** Whether states are pictures as they are, [-1, 1] from black to white: they have an image's shape, and final states
   *  look like the images. Others are latents, which only the run's model could decode. */
  pictures(): Promise<"pictures" | "latents">;
  /** Which samples are done now, read anew: true where that changed. Then `samples` is another array. */
  refresh(): Promise<boolean>;
}

/** What a sentence in the page says of the sum: base + contributions = prediction. Of the number that misses by the
 *  largest part of what rounding allows: by how much, and how much is allowed; none in float32. NaN where a number of the
 *  file is none. */
export interface Balance { readonly holds: boolean; readonly largest: number; readonly allowed: number }

/** Columns of two runs that belong together. */
export type Alignment = "step" | "progress" | "sigma";
