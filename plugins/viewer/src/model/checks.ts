// Lists and texts of a trajectory file, read without trust in it: anybody may have written it.
import { FileProblem, type Dataset, type Hdf5, type Numbers } from "../reader/api";

/** Entries of a list, beyond which it is no list of samples or steps. */
const MOST_ENTRIES = 1 << 22;
/** Samples that a page has objects for. */
const MOST_SAMPLES = 1 << 18;
/** Bytes that lists may claim whatever is stored, and times the file's bytes that they may claim besides. */
const FREE_LIST = 1 << 16;
const LIST_RATIO = 4;
/** Tables and lists of JSON within each other. */
const DEEPEST = 64;

/** What is wrong with a file, in one line. */
export function damaged(file: Hdf5, what: string): FileProblem {
  return new FileProblem(`${file.source.name}: it is damaged: ${what}`);
}

/** A text that may hold anything, as a message shows it. */
export function shown(value: unknown): string {
  const text = JSON.stringify(typeof value === "bigint" ? value.toString() : value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

/** A dataset that must be there. */
export function required(file: Hdf5, path: string): Dataset {
  if (!file.has(path)) throw damaged(file, `${path} is missing`);
  return file.dataset(path);
}

const KINDS = { whole: "iu", number: "iuf" } as const;

/** A dataset of one axis and a sensible length. */
function listOf(file: Hdf5, path: string, kind: keyof typeof KINDS): Dataset {
  const dataset = required(file, path);
  const count = dataset.shape[0] ?? 0;
  const fits = KINDS[kind].includes(dataset.dtype[0] ?? "") && dataset.dtype !== "text";
  if (dataset.shape.length !== 1 || count > MOST_ENTRIES || !fits) {
    throw damaged(file, `${path} is no list of ${kind === "whole" ? "whole numbers" : "numbers"}`);
  }
  return dataset;
}

/** How many samples or steps a file has; refuses a claim of more than so few bytes can hold. */
export function lengthOf(file: Hdf5, path: string, what: "samples" | "steps"): number {
  const count = listOf(file, path, what === "samples" ? "whole" : "number").shape[0] ?? 0;
  const width = what === "samples" ? 32 : 40;
  if (count * width > FREE_LIST + LIST_RATIO * file.source.size) {
    throw damaged(file, `it claims ${count} ${what}, more than so few bytes can hold`);
  }
  if (count > MOST_SAMPLES) {
    throw new FileProblem(
      `${file.source.name} has ${count} ${what}, and the page shows at most ${MOST_SAMPLES}: take some with emnist-diff select`,
    );
  }
  return count;
}

/** The numbers of a list as they are in the file. */
async function raw(file: Hdf5, path: string, kind: keyof typeof KINDS, count?: number, fresh = false): Promise<Numbers> {
  const dataset = listOf(file, path, kind);
  const length = dataset.shape[0] ?? 0;
  if (count !== undefined && length !== count) throw damaged(file, `${path} has ${length} of ${count} entries`);
  return dataset.read([0], [length], fresh);
}

/** Numbers as float64. */
export async function numbers(file: Hdf5, path: string, count?: number): Promise<Float64Array> {
  return Float64Array.from(await raw(file, path, "number", count), Number);
}

/** Whole numbers that are exact as float64. */
export async function wholes(file: Hdf5, path: string, count?: number, fresh = false): Promise<Float64Array> {
  const values = Float64Array.from(await raw(file, path, "whole", count, fresh), Number);
  if (!values.every(Number.isSafeInteger)) throw damaged(file, `${path} holds a number of more than 53 bits`);
  return values;
}

/** Whole numbers of any size, in decimal. */
export async function decimals(file: Hdf5, path: string, count: number): Promise<string[]> {
  return Array.from(await raw(file, path, "whole", count), String);
}

/** Rising indices into `count` things. */
export async function choice(file: Hdf5, path: string, count: number): Promise<number[]> {
  const chosen = (listOf(file, path, "whole").shape[0] ?? 0) <= count ? Array.from(await wholes(file, path)) : [-1];
  if (chosen.some((value, place) => value < 0 || value >= count || (place > 0 && value <= (chosen[place - 1] ?? 0)))) {
    throw damaged(file, `${path} must rise within 0 … ${count - 1}`);
  }
  return chosen;
}

export type Table = Readonly<Record<string, unknown>>;

/** A value of JSON as a table; an empty one where it is none. */
export function table(value: unknown): Table {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Table) : {};
}

/** A dataset of one text. */
export async function text(file: Hdf5, path: string): Promise<string> {
  const dataset = required(file, path);
  if (dataset.dtype !== "text" || dataset.shape.length !== 0) throw damaged(file, `${path} is no text`);
  return (await dataset.texts())[0] ?? "";
}

/** Texts and numbers of JSON. */
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/** The table in a text of JSON. Whole numbers that float64 cannot hold, such as seeds, become texts. */
export function tableOf(file: Hdf5, path: string, json: string): Table {
  let data: unknown;
  try {
    data = JSON.parse(json.replace(TOKEN, (token) => (/^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"${token}"` : token)));
  } catch {
    throw damaged(file, `${path} is no JSON`);
  }
  if (typeof data !== "object" || data === null || Array.isArray(data)) throw damaged(file, `${path} is no JSON table`);
  let level: unknown[] = [data];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > DEEPEST) throw damaged(file, `${path} is nested deeper than ${DEEPEST} levels`);
    level = level.flatMap((value) => (typeof value === "object" && value !== null ? Object.values(value) : []));
  }
  return data as Table;
}
