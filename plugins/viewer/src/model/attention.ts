// What a network attended to, from a run's own file or the one that `emnist-diff attend` writes. See docs/attention.md.
import { FileProblem, type Dataset } from "../reader/api";
import type { AttentionMaps, Hidden, Layer, Sample, Token } from "./api";
import { Cache } from "./cache";
import { damaged, table, type Table } from "./checks";
import { product, type RecordedRun } from "./trajectory";

const GROUP = "activations";
/** Bytes of a map that is read at once, and of maps that stay in memory. */
const MOST_MAP = 128 << 20;
const HELD = 32 << 20;
const AXES = { cross: 7, self: 8 } as const;

/** Gives a run the attention that another file of it has. Raises `FileProblem` for a file of another run. */
export function pairUp(run: RecordedRun, captured: RecordedRun): void {
  if (captured.attention === undefined) throw new FileProblem(`${captured.source.name} holds no attention`);
  const sameSteps = captured.schedule.timestep.join() === run.schedule.timestep.join();
  const seeds = new Map(run.samples.map((sample) => [sample.id, sample.seed]));
  const sameSeeds = captured.samples.every(({ id, seed }) => (seeds.get(id) ?? seed) === seed);
  if (captured.configHash !== run.configHash || !sameSteps || !sameSeeds) {
    throw new FileProblem(
      `${captured.source.name} is of another run than ${run.source.name}: capture it with emnist-diff attend ${run.source.name}`,
    );
  }
  run.attention = new CapturedAttention(run, captured, (captured.attention as CapturedAttention).facts);
  run.beside = captured;
  run.live ||= captured.live;
}

/** The attention that a file holds, as seen from a run; undefined where it holds none. */
export async function attentionOf(run: RecordedRun, captured: RecordedRun): Promise<AttentionMaps | undefined> {
  const facts = await readFacts(captured);
  return facts === undefined ? undefined : new CapturedAttention(run, captured, facts);
}

interface Facts {
  readonly layers: readonly Layer[];
  readonly hidden: readonly Hidden[];
  readonly conditions: readonly string[];
  /** Which kept steps evaluate which conditions, (K, D). */
  readonly evaluated: ArrayLike<number | bigint>;
  readonly texts: Table;
}

async function readFacts({ file, kept, samples, environment }: RecordedRun): Promise<Facts | undefined> {
  if (!file.has(`${GROUP}/condition`)) return undefined;
  const condition = file.dataset(`${GROUP}/condition`);
  const evaluated = file.has(`${GROUP}/evaluated`) ? file.dataset(`${GROUP}/evaluated`) : undefined;
  const count = condition.shape[0] ?? 0;
  if (condition.dtype !== "text" || condition.shape.length !== 1 || count > 1 << 16) {
    throw damaged(file, `${GROUP}/condition is no list of texts`);
  }
  if (evaluated?.dtype !== "uint8" || evaluated.shape.join() !== [kept.length, count].join()) {
    throw damaged(file, `${GROUP}/evaluated is not uint8 (${kept.length}, ${count})`);
  }
  const rows = samples.filter((sample) => sample.row !== undefined).length;
  const start = [rows, kept.length, count].join();
  const whole = (dataset: Dataset): Dataset => {
    if (dataset.shape.slice(0, 3).join() !== start || (dataset.dtype !== "float16" && dataset.dtype !== "float32")) {
      throw damaged(file, `${dataset.path} is ${dataset.dtype} (${dataset.shape.join(", ")}), not floats (${start}, …)`);
    }
    return dataset;
  };
  const told = table(environment["activations"]);
  const layers = file.names(`${GROUP}/attention`).map((name) => layerOf(name, whole(file.dataset(`${GROUP}/attention/${name}`)), told["attention"]));
  const pca = table(told["pca"]);
  const hidden = file.names(`${GROUP}/hidden`).map((path) => {
    const explained = table(pca[`hidden/${path}`])["explained"];
    const shape = whole(file.dataset(`${GROUP}/hidden/${path}`)).shape.slice(3);
    return { path, shape, explained: isNumbers(explained) ? explained : undefined };
  });
  const found = layers.filter((layer) => layer !== undefined).sort((a, b) => a.order - b.order || (a.layer.kind < b.layer.kind ? -1 : 1));
  if (!found.length && !hidden.length) return undefined;
  return {
    layers: found.map(({ layer }) => layer),
    hidden,
    conditions: await condition.texts(),
    evaluated: await evaluated.read(),
    texts: table(told["tokens"]),
  };
}

/** The layer whose maps a dataset has; undefined of entropies, and of what is no map. */
function layerOf(name: string, { shape }: Dataset, listed: unknown): { layer: Layer; order: number } | undefined {
  const dot = name.lastIndexOf(".");
  const [path, kind] = [name.slice(0, dot), name.slice(dot + 1)];
  if (dot < 1 || (kind !== "cross" && kind !== "self")) return undefined;
  if (shape.length !== AXES[kind] || product(shape.slice(3)) === 0) return undefined;
  const facts = (Array.isArray(listed) ? listed : []).map(table);
  const order = facts.findIndex((each) => each["name"] === path);
  const known = facts[order] ?? {};
  const grid = known["grid"];
  const [heads = 1, tokens, rows = 1, columns = 1] = kind === "cross" ? shape.slice(3) : [shape[3], undefined, shape[4], shape[5]];
  const places = isNumbers(grid) && grid.length === 2 ? product(grid) : undefined;
  const joint = known["kind"] === "joint";
  const layer: Layer = {
    path, kind, heads, tokens, joint,
    block: typeof known["place"] === "string" ? known["place"] : "",
    networkHeads: typeof known["heads"] === "number" ? known["heads"] : undefined,
    grid: [rows, columns],
    keys: joint ? undefined : kind === "cross" ? tokens : places,
  };
  return { layer, order: order < 0 ? facts.length : order };
}

function isNumbers(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((each) => typeof each === "number");
}

class CapturedAttention implements AttentionMaps {
  readonly layers: readonly Layer[];
  readonly hidden: readonly Hidden[];
  readonly conditions: readonly string[];
  readonly columns: readonly number[];
  readonly #cache = new Cache(HELD);
  /** Samples of the file with attention by id, as they were when it was last looked at. */
  #known: { readonly samples: readonly Sample[]; readonly byId: ReadonlyMap<number, Sample> } | undefined;

  constructor(
    private readonly run: RecordedRun,
    private readonly captured: RecordedRun,
    readonly facts: Facts,
  ) {
    this.layers = facts.layers;
    this.hidden = facts.hidden;
    this.conditions = facts.conditions;
    const steps = new Set(captured.kept);
    this.columns = run.kept.flatMap((step, column) => (steps.has(step) ? [column] : []));
  }

  get positions(): readonly number[] {
    return this.run.samples.flatMap(({ position, done }) => (done && this.#row(position) !== undefined ? [position] : []));
  }

  tokens(position: number, condition: string): readonly Token[] {
    const own = this.run.samples[position]?.className ?? "";
    const text = { own, null: "" }[condition] ?? condition;
    const { text: texts, id, special, word, encoder } = table(this.facts.texts[text]);
    if (!Array.isArray(texts)) return [];
    const at = (list: unknown, place: number): unknown => (Array.isArray(list) ? list[place] : undefined);
    return texts.map((each, place) => {
      const [number, part] = [at(id, place), at(word, place)];
      return {
        text: String(each),
        id: typeof number === "number" ? number : -1,
        special: Boolean(at(special, place)),
        word: typeof part === "number" ? part : -1,
        encoder: String(at(encoder, place) ?? ""),
      };
    });
  }

  evaluated(column: number, condition: string): boolean {
    const [own, place] = [this.#column(column), this.conditions.indexOf(condition)];
    return own >= 0 && place >= 0 && Number(this.facts.evaluated[own * this.conditions.length + place]) !== 0;
  }

  async map(layer: Layer, position: number, column: number, condition: string): Promise<Float32Array | undefined> {
    const row = this.#row(position);
    if (row === undefined || !this.evaluated(column, condition)) return undefined;
    const dataset = this.captured.file.dataset(`${GROUP}/attention/${layer.path}.${layer.kind}`);
    const shape = dataset.shape.slice(3);
    if (4 * product(shape) > MOST_MAP) {
      throw new FileProblem(`${this.captured.source.name}: ${dataset.path} is larger than the page draws: capture lower maps`);
    }
    const start = [row, this.#column(column), this.conditions.indexOf(condition)];
    const key = `${dataset.path} ${start.join(" ")}`;
    const held = this.#cache.get(key);
    if (held !== undefined) return held;
    const read = await dataset.read([...start, ...shape.map(() => 0)], [1, 1, 1, ...shape], this.captured.grows);
    const found = read instanceof Float32Array ? read : Float32Array.from(read, Number);
    this.#cache.set(key, found);
    return found;
  }

  async entropy(layer: Layer, position: number, condition: string): Promise<Float32Array> {
    const found = await this.#ofColumns(`${layer.path}.${layer.kind}_entropy`, position, condition);
    return found ?? new Float32Array(this.columns.length * layer.heads).fill(NaN);
  }

  async activation(layer: Layer, position: number, condition: string): Promise<Float32Array | undefined> {
    return layer.kind === "cross" ? this.#ofColumns(`${layer.path}.cross_activation`, position, condition) : undefined;
  }

  /** Numbers of a layer at each of `columns`, (columns, …); undefined where there are none. */
  async #ofColumns(name: string, position: number, condition: string): Promise<Float32Array | undefined> {
    const path = `${GROUP}/attention/${name}`;
    const [row, place] = [this.#row(position), this.conditions.indexOf(condition)];
    if (!this.captured.file.has(path) || row === undefined || place < 0) return undefined;
    const dataset = this.captured.file.dataset(path);
    const [, steps = 0, conditions = 0, ...shape] = dataset.shape;
    if (4 * product(dataset.shape.slice(1)) > MOST_MAP) throw damaged(this.captured.file, `${path} claims too many numbers`);
    const all = await dataset.read([row, 0, 0, ...shape.map(() => 0)], [1, steps, conditions, ...shape], this.captured.grows);
    const size = product(shape);
    const out = new Float32Array(this.columns.length * size).fill(NaN);
    this.columns.forEach((column, number) => {
      if (!this.evaluated(column, condition)) return;
      const from = (this.#column(column) * conditions + place) * size;
      for (let entry = 0; entry < size; entry += 1) out[number * size + entry] = Number(all[from + entry]);
    });
    return out;
  }

  /** The column of the file with attention for one of the run; -1 where it has none. */
  #column(column: number): number {
    const step = this.run.kept[column];
    return step === undefined ? -1 : this.captured.kept.indexOf(step);
  }

  #row(position: number): number | undefined {
    const { samples } = this.captured;
    if (this.#known?.samples !== samples) this.#known = { samples, byId: new Map(samples.map((sample) => [sample.id, sample])) };
    const same = this.#known.byId.get(this.run.samples[position]?.id ?? NaN);
    return same?.done ? same.row : undefined;
  }
}
