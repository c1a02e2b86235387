// HDF5 in memory, and a small run in it: what the model is tested with where no bytes are needed.
import { createHash } from "node:crypto";
import { FileProblem, type Attribute, type Dataset, type Dtype, type Hdf5, type Numbers } from "../src/reader/api";

type Values = { shape: number[]; dtype: Dtype; data: Numbers | string[]; attributes?: Record<string, Attribute> };

export class FakeHdf5 implements Hdf5 {
  readonly source;
  reads = 0;

  constructor(
    readonly name: string,
    readonly datasets: Record<string, Values>,
    readonly groups: Record<string, Record<string, Attribute>>,
  ) {
    const refuse = (): Promise<Uint8Array> => Promise.reject(new Error("no bytes"));
    this.source = { name, size: 1 << 20, requests: 0, received: 0, read: refuse, fresh: refuse };
  }

  attributes(group: string): Readonly<Record<string, Attribute>> {
    return this.groups[group] ?? {};
  }

  names(group: string): readonly string[] {
    const inside = Object.keys({ ...this.datasets, ...this.groups }).filter((path) => path.startsWith(`${group}/`));
    return [...new Set(inside.map((path) => path.slice(group.length + 1).split("/")[0] ?? ""))].sort();
  }

  has(path: string): boolean {
    return path in this.datasets;
  }

  dataset(path: string): Dataset {
    const found = this.datasets[path];
    if (found === undefined) throw new FileProblem(`${this.name} is damaged: ${path} is missing`);
    const { shape, dtype, data } = found;
    return {
      path, shape, dtype,
      attributes: found.attributes ?? {},
      layout: "contiguous",
      offset: 0,
      texts: () => Promise.resolve(data as string[]),
      read: (start = shape.map(() => 0), count = [...shape]) => {
        this.reads += 1;
        return Promise.resolve(block(data as Numbers, shape, start, count));
      },
    };
  }
}

function block(data: Numbers, shape: readonly number[], start: readonly number[], count: readonly number[]): Numbers {
  const places: number[] = [];
  const walk = (axis: number, from: number): void => {
    if (axis === shape.length) places.push(from);
    else for (let i = 0; i < count[axis]!; i += 1) walk(axis + 1, from * shape[axis]! + start[axis]! + i);
  };
  walk(0, 0);
  const kind = data.constructor as unknown as { from(values: Iterable<unknown>): Numbers };
  return kind.from(places.map((place) => data[place]));
}

const floats = (shape: number[], data: Float32Array): Values => ({ shape, dtype: "float32", data });
const wide = (data: number[]): Values => ({ shape: [data.length], dtype: "float64", data: Float64Array.from(data) });
const longs = (data: number[]): Values => ({ shape: [data.length], dtype: "int64", data: BigInt64Array.from(data, BigInt) });

/** Numbers that differ, the same each time. */
export function noise(count: number, seed = 1): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return state / 1073741824 - 1;
  });
}

/** Three samples, of which two are committed, over four steps of 2×3 pixels; a force and a drift. */
export function smallRun(name = "trajectory.h5"): FakeHdf5 {
  const config = JSON.stringify({
    base: "cfg", seed: "12345678901234567890", steps: 4, rate: 0.12345678901234567,
    forces: [{ name: "attract_class", settings: { target: "B" }, weight: 2 }],
    drifts: [{ name: "momentum", settings: { beta: 0.5 }, weight: 1 }],
  }).replace('"12345678901234567890"', "12345678901234567890");
  const alphaBar = [0, 0.25, 0.5, 0.9];
  const base = noise(3 * 4 * 6, 3);
  const force = noise(3 * 4 * 6, 4);
  const x = noise(3 * 5 * 6, 5);
  const images = new Uint8Array(18);
  for (let sample = 0; sample < 3; sample += 1) {
    for (let pixel = 0; pixel < 6; pixel += 1) images[sample * 6 + pixel] = Math.round(((x[(sample * 5 + 4) * 6 + pixel]! + 1) / 2) * 255);
  }
  const text = (data: string): Values => ({ shape: [], dtype: "text", data: [data] });
  return new FakeHdf5(
    name,
    {
      config: { ...text(config), attributes: { sha256: createHash("sha256").update(config).digest("hex") } },
      environment: text("{}"),
      "schedule/step": longs([0, 1, 2, 3]),
      "schedule/timestep": wide([999, 700, 400, 100]),
      "schedule/alpha_bar": wide(alphaBar),
      "schedule/alpha_bar_next": wide([0.25, 0.5, 0.9, 1]),
      "schedule/sigma": wide(alphaBar.map((a) => Math.sqrt((1 - a) / a))),
      "schedule/evaluations": longs([1, 1, 1, 1]),
      "samples/id": longs([0, 1, 2]),
      "samples/seed": { shape: [3], dtype: "uint64", data: BigUint64Array.from([1n, 1n, 18446744073709551615n]) },
      "samples/label": longs([0, 1, 0]),
      "samples/classes": { shape: [2], dtype: "text", data: ["A", "B"] },
      "samples/steps_done": longs([4, 4, 0]),
      "trajectory/sample": longs([0, 1, 2]),
      "trajectory/step": longs([0, 1, 2, 3]),
      "trajectory/x": floats([3, 5, 1, 2, 3], x),
      "trajectory/x0": floats([3, 4, 1, 2, 3], noise(3 * 4 * 6, 6)),
      "trajectory/base": floats([3, 4, 1, 2, 3], base),
      "trajectory/prediction": floats([3, 4, 1, 2, 3], base.map((value, place) => Math.fround(value + force[place]!))),
      "forces/00_attract_class/contribution": floats([3, 4, 1, 2, 3], force),
      "forces/00_attract_class/weight": wide([2, 2, 1, 0]),
      "drifts/00_momentum/delta": floats([3, 4, 1, 2, 3], noise(3 * 4 * 6, 7)),
      images: { shape: [3, 2, 3], dtype: "uint8", data: images },
    },
    {
      "": { format: "emnist-diff-trajectory", format_version: [1, 0], creator: "emnist-diff", creator_version: "0.1.0" },
      schedule: { forward_process: "diffusion" },
      trajectory: { prediction_type: "epsilon" },
    },
  );
}
