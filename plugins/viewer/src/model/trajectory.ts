// A run as its file has it: what states there are, and reading them. Nothing is read that nobody looks at.
import { FileProblem, type Dataset, type Hdf5 } from "../reader/api";
import type { AttentionMaps, Field, Picture, Run, Sample, Schedule, Term } from "./api";
import { Cache } from "./cache";
import { damaged, wholes } from "./checks";
import type { Header } from "./header";
import { readHeader } from "./header";
import { datasetOf, fieldsOf, termsOf } from "./terms";

/** Bytes of states that stay in memory, and of what is read at once. */
const HELD = 64 << 20;
const MOST_READ = 256 << 20;
/** What one step of one sample may hold, over all fields. */
const MOST_STEP = 1 << 28;
/** Pictures that stay in memory. */
const PICTURES = 128;

/** A run of a file that is open.  attention: what `attentionOf` found. */
export async function runOf(file: Hdf5): Promise<RecordedRun> {
  const header = await readHeader(file);
  const fields = header.rows.length ? fieldsOf(file) : [];
  const shape = checkStates(file, header, fields);
  const imageShape = checkImages(file, header.ids.length);
  const terms = await termsOf(file, header.config, header.schedule.steps);
  const run = new RecordedRun(file, header, fields, terms, shape, imageShape);
  await run.refresh();
  return run;
}

/** The shape of a state; all datasets must agree with it, and with each other. */
function checkStates(file: Hdf5, header: Header, fields: readonly Field[]): readonly number[] {
  let first: Dataset | undefined;
  let bytes = 0;
  for (const field of fields) {
    const dataset = file.dataset(datasetOf(field));
    const [rows, columns, ...shape] = dataset.shape;
    first ??= dataset;
    if (dataset.dtype !== "float16" && dataset.dtype !== "float32") {
      throw damaged(file, `${dataset.path} has dtype ${dataset.dtype}, not float32 or float16`);
    }
    const expected = header.kept.length + (field === "x" ? 1 : 0);
    if (rows !== header.rows.length || columns !== expected) {
      throw damaged(file, `${dataset.path} has shape (${dataset.shape.join(", ")}), not (${header.rows.length}, ${expected}, …)`);
    }
    if (shape.join() !== first.shape.slice(2).join() || dataset.dtype !== first.dtype) {
      throw damaged(file, `${dataset.path} holds other states than ${first.path}`);
    }
    bytes += product(shape) * (dataset.dtype === "float16" ? 2 : 4);
  }
  if (bytes > MOST_STEP) throw damaged(file, `a step of a sample claims ${bytes} bytes`);
  return first?.shape.slice(2) ?? [];
}

function checkImages(file: Hdf5, count: number): readonly [number, number, number] | undefined {
  if (!file.has("images")) throw damaged(file, "images is missing");
  const { shape, dtype } = file.dataset("images");
  const [samples, rows, columns, channels = 1] = shape;
  const like = shape.length === 3 || (shape.length === 4 && channels === 3);
  if (dtype !== "uint8" || samples !== count || !like || rows === undefined || columns === undefined) {
    throw damaged(file, `images is ${dtype} (${shape.join(", ")}), not uint8 (${count}, H, W[, 3])`);
  }
  if (rows * columns * channels > MOST_STEP) throw damaged(file, `an image claims ${rows * columns * channels} bytes`);
  return rows * columns > 0 ? [rows, columns, channels] : undefined;
}

export function product(shape: readonly number[]): number {
  return shape.reduce((all, side) => all * side, 1);
}

export class RecordedRun implements Run {
  readonly source;
  readonly name: string;
  readonly version;
  readonly creator: string;
  readonly config;
  readonly configHash: string;
  readonly environment;
  readonly forwardProcess;
  readonly predictionType;
  readonly schedule: Schedule;
  readonly alphaBarNext: Float64Array;
  readonly classes: readonly string[];
  readonly kept: readonly number[];
  readonly dtype: "float16" | "float32" | undefined;
  readonly bytes: number;
  samples: readonly Sample[] = [];
  live = false;
  attention: AttentionMaps | undefined;
  /** The file of its attention, where that is another one. */
  beside: RecordedRun | undefined;
  /** Whether bytes may have changed since they were first read: of a run that was not whole when it was opened. */
  grows = false;
  readonly #width: number;
  readonly #cache = new Cache(HELD);
  readonly #pending = new Map<string, Promise<Float32Array>>();
  readonly #images = new Map<number, Promise<Picture>>();
  #kind: Promise<"pictures" | "latents"> | undefined;

  constructor(
    readonly file: Hdf5,
    private readonly header: Header,
    readonly fields: readonly Field[],
    readonly terms: readonly Term[],
    readonly shape: readonly number[],
    readonly imageShape: readonly [number, number, number] | undefined,
  ) {
    this.source = file.source;
    this.name = file.source.name.replace(/\.h5$/, "");
    this.version = header.version;
    this.creator = header.creator;
    this.config = header.config;
    this.configHash = header.configHash;
    this.environment = header.environment;
    this.forwardProcess = header.forwardProcess;
    this.predictionType = header.predictionType;
    this.schedule = header.schedule;
    this.alphaBarNext = header.alphaBarNext;
    this.classes = header.classes;
    this.kept = header.kept;
    this.bytes = file.source.size;
    this.#width = product(shape);
    const dtype = fields[0] === undefined ? undefined : file.dataset(datasetOf(fields[0])).dtype;
    this.dtype = dtype === "float16" || dtype === "float32" ? dtype : undefined;
  }

  async refresh(): Promise<boolean> {
    const [own, other] = await Promise.all([this.#refresh(), this.beside?.refresh()]);
    this.live ||= this.beside?.live ?? false;
    return own || (other ?? false);
  }

  async #refresh(): Promise<boolean> {
    const { ids, seeds, labels, rows } = this.header;
    const done = await wholes(this.file, "samples/steps_done", ids.length, this.samples.length > 0);
    const odd = done.find((count) => count !== 0 && count !== this.schedule.steps);
    if (odd !== undefined) throw damaged(this.file, `samples/steps_done holds ${odd}; a marker is 0 or ${this.schedule.steps}`);
    this.live = done.some((count) => count === 0);
    this.grows ||= this.live;
    if (this.samples.length && this.samples.every((sample, place) => sample.done === (done[place] !== 0))) return false;
    const rowOf = new Map(rows.map((position, row) => [position, row]));
    this.samples = Array.from(ids, (id, position) => {
      const label = labels[position] ?? 0;
      return {
        position, id, label,
        seed: seeds[position] ?? "",
        className: this.classes[label] ?? "",
        done: done[position] !== 0,
        row: rowOf.get(position),
      };
    });
    return true;
  }

  async state(field: Field, position: number, column: number): Promise<Float32Array> {
    return this.states(field, [position], column);
  }

  async path(field: Field, position: number): Promise<Float32Array> {
    const row = this.#row(field, position);
    const [found] = await this.#paths(field, [row]);
    return found ?? new Float32Array();
  }

  async states(field: Field, positions: readonly number[], column: number): Promise<Float32Array> {
    const rows = positions.map((position) => this.#row(field, position));
    const columns = this.columns(field);
    if (!(column >= 0 && column < columns)) throw new RangeError(`${field} has no column ${column}`);
    const width = this.#width;
    const whole = 4 * width * columns * rows.length <= this.#cache.most / 2;
    const parts = whole
      ? (await this.#paths(field, rows)).map((path) => path.subarray(column * width, (column + 1) * width))
      : await Promise.all(rows.map((row) => this.#stateAt(field, row, column)));
    if (parts.length === 1 && parts[0] !== undefined) return parts[0];
    const out = new Float32Array(rows.length * width);
    parts.forEach((part, place) => out.set(part, place * width));
    return out;
  }

  /** How many states of a sample a field has. */
  columns(field: Field): number {
    return this.kept.length + (field === "x" ? 1 : 0);
  }

  image(position: number): Promise<Picture | undefined> {
    const shape = this.imageShape;
    if (!this.samples[position]?.done || shape === undefined) return Promise.resolve(undefined);
    const held = this.#images.get(position);
    if (held !== undefined) return held;
    const [first] = this.#images.keys();
    if (first !== undefined && this.#images.size >= PICTURES) this.#images.delete(first);
    const found = this.#readImage(position, shape);
    this.#images.set(position, found);
    found.catch(() => this.#images.delete(position));
    return found;
  }

  pictures(): Promise<"pictures" | "latents"> {
    this.#kind ??= this.#pictures().catch((error: unknown) => {
      this.#kind = undefined;
      throw error;
    });
    return this.#kind;
  }

  async #readImage(position: number, [height, width, channels]: readonly [number, number, number]): Promise<Picture> {
    const { shape, read } = bound(this.file.dataset("images"));
    const start = [position, ...shape.slice(1).map(() => 0)];
    const pixels = await read(start, [1, ...shape.slice(1)], this.grows);
    const rgba = new Uint8ClampedArray(4 * height * width);
    for (let place = 0; place < height * width; place += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        rgba[4 * place + channel] = Number(pixels[place * channels + (channels === 3 ? channel : 0)]);
      }
      rgba[4 * place + 3] = 255;
    }
    return { width, height, rgba };
  }

  async #pictures(): Promise<"pictures" | "latents"> {
    if (!this.fields.includes("x") || this.imageShape === undefined) return "latents";
    const [height, width, channels] = this.imageShape;
    if (this.shape.join() !== [channels, height, width].join()) return "latents";
    const some = this.samples.filter((sample) => sample.done && sample.row !== undefined).slice(0, 3);
    for (const { position } of some) {
      const [final, image] = await Promise.all([this.state("x", position, this.kept.length), this.image(position)]);
      if (image === undefined) continue;
      for (let place = 0; place < final.length; place += 1) {
        const pixel = place % (height * width);
        const level = Math.round(Math.min(1, Math.max(0, ((final[place] || 0) + 1) / 2)) * 255);
        if (Math.abs(level - image.rgba[4 * pixel + Math.floor(place / (height * width))]!) > 1) return "latents";
      }
    }
    return "pictures";
  }

  /** Where a sample's states are. Raises `FileProblem` where they are not, or not yet. */
  #row(field: Field, position: number): number {
    const sample = this.samples[position];
    const name = this.source.name;
    if (sample === undefined) throw new RangeError(`${name} has no sample at position ${position}`);
    if (!this.fields.includes(field)) throw new FileProblem(`${name} keeps no ${field}`);
    if (sample.row === undefined) throw new FileProblem(`${name} keeps no states of sample ${sample.id}`);
    if (!sample.done) throw new FileProblem(`${name}: sample ${sample.id} is not committed yet`);
    return sample.row;
  }

  /** All columns of these rows; those that stand side by side in the file in one read. */
  async #paths(field: Field, rows: readonly number[]): Promise<readonly Float32Array[]> {
    const size = this.columns(field) * this.#width;
    if (4 * size > MOST_READ) {
      throw new FileProblem(
        `${this.source.name}: ${field} takes ${Math.round((4 * size) / 1e6)} MB a sample, more than the page reads at once: record fewer steps`,
      );
    }
    const waiting = new Map<number, Promise<Float32Array>>();
    const missing = [...new Set(rows)].filter((row) => this.#cache.get(`${field} ${row}`) === undefined).sort((a, b) => a - b);
    for (const row of rows) waiting.set(row, this.#pending.get(`${field} ${row}`) ?? Promise.resolve(new Float32Array()));
    const unread = missing.filter((row) => !this.#pending.has(`${field} ${row}`));
    for (const [from, count] of adjacent(unread, Math.max(1, Math.floor(MOST_READ / 16 / (4 * size || 1))))) {
      const read = this.#readRows(field, from, count);
      for (let row = from; row < from + count; row += 1) {
        const key = `${field} ${row}`;
        const one = read.then((values) => {
          const own = count === 1 ? values : values.slice((row - from) * size, (row - from + 1) * size);
          this.#cache.set(key, own);
          return own;
        });
        const settled = one.finally(() => this.#pending.delete(key));
        settled.catch(() => undefined);
        this.#pending.set(key, settled);
        waiting.set(row, settled);
      }
    }
    return Promise.all(rows.map((row) => this.#cache.get(`${field} ${row}`) ?? waiting.get(row)!));
  }

  async #readRows(field: Field, row: number, count: number): Promise<Float32Array> {
    const { shape, read } = bound(this.file.dataset(datasetOf(field)));
    return asFloats(await read([row, ...shape.slice(1).map(() => 0)], [count, ...shape.slice(1)], this.grows));
  }

  async #stateAt(field: Field, row: number, column: number): Promise<Float32Array> {
    const key = `${field} ${row} ${column}`;
    const held = this.#cache.get(key);
    if (held !== undefined) return held;
    const { shape, read } = bound(this.file.dataset(datasetOf(field)));
    const start = [row, column, ...shape.slice(2).map(() => 0)];
    const found = asFloats(await read(start, [1, 1, ...shape.slice(2)], this.grows));
    this.#cache.set(key, found);
    return found;
  }
}

function bound(dataset: Dataset): { shape: readonly number[]; read: Dataset["read"] } {
  return { shape: dataset.shape, read: (start, count, fresh) => dataset.read(start, count, fresh) };
}

function asFloats(values: ArrayLike<number | bigint>): Float32Array {
  return values instanceof Float32Array ? values : Float32Array.from(values, Number);
}

/** Runs of numbers that follow each other, at most `most` long: [first, count]. The numbers rise. */
export function adjacent(numbers: readonly number[], most: number): [number, number][] {
  const out: [number, number][] = [];
  for (const number of numbers) {
    const last = out.at(-1);
    if (last !== undefined && last[0] + last[1] === number && last[1] < most) last[1] += 1;
    else out.push([number, 1]);
  }
  return out;
}
