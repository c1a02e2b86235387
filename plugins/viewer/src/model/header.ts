// What a trajectory file says of its run beside the states: read and checked when it is opened. docs/trajectory-format.md.
import { FileProblem, type Hdf5 } from "../reader/api";
import type { Schedule } from "./api";
import { choice, damaged, decimals, lengthOf, numbers, required, shown, tableOf, text, wholes, type Table } from "./checks";

/** The newest major version that this page reads. */
const MAJOR = 1;

export interface Header {
  readonly version: readonly [number, number];
  readonly creator: string;
  readonly config: Table;
  readonly configHash: string;
  readonly environment: Table;
  readonly forwardProcess: "diffusion" | "flow";
  readonly predictionType: "epsilon" | "v_prediction" | "sample" | "flow";
  readonly schedule: Schedule;
  readonly alphaBarNext: Float64Array;
  readonly classes: readonly string[];
  readonly ids: Float64Array;
  readonly seeds: readonly string[];
  readonly labels: Float64Array;
  /** Positions of the samples whose states are kept, and the kept steps; both rise. */
  readonly rows: readonly number[];
  readonly kept: readonly number[];
}

/** Bytes from the beginning that are brought at once for the lists; where these stand further back, each comes by itself. */
const MOST_HELD = 1 << 22;
const LISTS = [
  ...["id", "seed", "label", "steps_done"].map((name) => `samples/${name}`),
  ...["step", "timestep", "alpha_bar", "alpha_bar_next", "sigma", "evaluations"].map((name) => `schedule/${name}`),
  ...["trajectory/sample", "trajectory/step"],
];

/** Bring all lists with one request: a run writes them one after the other behind what describes the file. */
async function bringLists(file: Hdf5): Promise<void> {
  const weights = file.names("forces").map((name) => `forces/${name}/weight`);
  const ends = [...LISTS, ...weights].filter((path) => file.has(path)).map((path) => {
    const { offset, shape } = file.dataset(path);
    return offset === undefined ? 0 : offset + 8 * (shape[0] ?? 1);
  });
  const end = Math.max(0, ...ends.filter((each) => each <= Math.min(MOST_HELD, file.source.size)));
  await file.source.hold?.(end);
}

export async function readHeader(file: Hdf5): Promise<Header> {
  const version = checkFormat(file);
  await bringLists(file);
  const [config, environment, classes] = await Promise.all([text(file, "config"), text(file, "environment"), classNames(file)]);
  const configHash = String(file.dataset("config").attributes["sha256"] ?? "");
  await checkHash(file, config, configHash);
  const steps = lengthOf(file, "schedule/timestep", "steps");
  const count = lengthOf(file, "samples/id", "samples");
  if (!steps || !count) throw damaged(file, "it has no steps or no samples");
  const schedule = await readSchedule(file, steps);
  const [ids, seeds, labels, rows, kept] = await Promise.all([
    wholes(file, "samples/id", count),
    decimals(file, "samples/seed", count),
    wholes(file, "samples/label", count),
    choice(file, "trajectory/sample", count),
    choice(file, "trajectory/step", steps),
  ]);
  if (labels.some((label) => label < 0 || label >= classes.length)) {
    throw damaged(file, "samples/label points outside samples/classes");
  }
  if (new Set(ids).size !== count) throw damaged(file, "samples/id holds an id twice");
  if (!kept.length) throw damaged(file, "trajectory/step keeps no step");
  return {
    version,
    creator: `${String(file.attributes("")["creator"] ?? "")} ${String(file.attributes("")["creator_version"] ?? "")}`.trim(),
    config: tableOf(file, "config", config),
    configHash,
    environment: tableOf(file, "environment", environment),
    forwardProcess: oneOf(file, "schedule", "forward_process", ["diffusion", "flow"]),
    predictionType: oneOf(file, "trajectory", "prediction_type", ["epsilon", "v_prediction", "sample", "flow"]),
    schedule,
    alphaBarNext: await alphaBarNext(file, schedule),
    classes, ids, seeds, labels, rows, kept,
  };
}

function checkFormat(file: Hdf5): readonly [number, number] {
  const marks = file.attributes("");
  if (marks["format"] !== "emnist-diff-trajectory") {
    const found = marks["format"] === undefined ? "has no format" : `has the format ${shown(marks["format"])}`;
    throw new FileProblem(`${file.source.name} is HDF5, but no emnist-diff trajectory: it ${found}`);
  }
  const stated = marks["format_version"];
  const [major, minor] = (Array.isArray(stated) ? stated : [stated]).map(Number);
  if (major === undefined || minor === undefined || !Number.isInteger(major) || !Number.isInteger(minor) || major < 1) {
    throw damaged(file, "its format_version is no version");
  }
  if (major > MAJOR) {
    throw new FileProblem(
      `${file.source.name} has trajectory format ${major}.${minor}, and this page reads up to ${MAJOR}.x: upgrade emnist-diff`,
    );
  }
  return [major, minor];
}

/** The configuration decides what belongs together, so that its hash must be its own. Browsers compute one only for
 *  pages that they trust, which addresses beginning with http:// are not. */
async function checkHash(file: Hdf5, config: string, stated: string): Promise<void> {
  const subtle = (globalThis.crypto as Crypto | undefined)?.subtle;
  if (subtle === undefined) return;
  const digest = new Uint8Array(await subtle.digest("SHA-256", new TextEncoder().encode(config)));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== stated) throw damaged(file, "config does not match its own sha256");
}

async function classNames(file: Hdf5): Promise<readonly string[]> {
  const dataset = required(file, "samples/classes");
  if (dataset.dtype !== "text" || dataset.shape.length !== 1) throw damaged(file, "samples/classes is no list of texts");
  if ((dataset.shape[0] ?? 0) > 1 << 16) throw damaged(file, `samples/classes has ${dataset.shape[0]} entries`);
  return dataset.texts();
}

async function readSchedule(file: Hdf5, steps: number): Promise<Schedule> {
  const [step, timestep, alphaBar, sigma, evaluations] = await Promise.all([
    wholes(file, "schedule/step", steps),
    numbers(file, "schedule/timestep", steps),
    numbers(file, "schedule/alpha_bar", steps),
    numbers(file, "schedule/sigma", steps),
    numbers(file, "schedule/evaluations", steps),
  ]);
  if (step.some((value, place) => value !== place)) throw damaged(file, `schedule/step must count 0 … ${steps - 1}`);
  if (!timestep.every(Number.isFinite)) throw damaged(file, "schedule/timestep must be finite");
  if (!alphaBar.every((value) => value >= 0 && value <= 1)) throw damaged(file, "schedule/alpha_bar must lie in [0, 1]");
  const odd = sigma.some((value, place) => {
    const right = Math.sqrt((1 - (alphaBar[place] ?? 0)) / (alphaBar[place] ?? 0));
    return !(value === right || Math.abs(value - right) <= 1e-8 + 1e-5 * right);
  });
  if (odd) throw damaged(file, "schedule/sigma is not sqrt((1 - alpha_bar) / alpha_bar)");
  if (!evaluations.every((value) => value >= 1)) throw damaged(file, "schedule/evaluations must be at least 1");
  return { steps, timestep, alphaBar, sigma, evaluations };
}

/** Signal power where each step ends: as the file has it, or where the next step starts, and 1 after the last. */
async function alphaBarNext(file: Hdf5, schedule: Schedule): Promise<Float64Array> {
  if (file.has("schedule/alpha_bar_next")) return numbers(file, "schedule/alpha_bar_next", schedule.steps);
  return Float64Array.from(schedule.alphaBar, (_, place) => schedule.alphaBar[place + 1] ?? 1);
}

function oneOf<Word extends string>(file: Hdf5, group: string, name: string, words: readonly Word[]): Word {
  const found = file.attributes(group)[name];
  const word = words.find((each) => each === found);
  if (word === undefined) throw damaged(file, `${group} has the ${name} ${shown(found)}, not ${words.join(" or ")}`);
  return word;
}
