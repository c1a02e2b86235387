// Paths of samples in the plane in which they differ most, computed beside the page where the browser lets it.
import Beside from "./pca.worker?worker&inline";
import type { Request } from "./pca.worker";
import { principal, type Plane } from "./principal";

/** Bytes of the states that a plane is fitted to; of more, every n-th number is taken. */
const MOST_BYTES = 128 << 20;

/** states: as they are. unit: at each step divided by the deviation of all numbers of a run's samples at that step, so that
 *  early noise is as large as late images and the plane shows shape and not scale. */
export type Scaling = "states" | "unit";

export interface PathPlane {
  /** Of each path (columns × 2): x and y of each column, one after the other. */
  readonly points: readonly Float64Array[];
  /** The part of all variance along each axis. */
  readonly explained: readonly [number, number];
  /** Every how many numbers of a state were taken; 1 where all were. */
  readonly every: number;
}

/** Where the states of paths, (columns, size) each, stand in the plane of their first two principal components.
 *
 *  runs: of each path the number of its run, which only `unit` reads; left out, all are of one. The paths of a run have the
 *  same number of columns. */
export async function planeOf(paths: readonly Float32Array[], size: number, scaling: Scaling = "unit", runs?: readonly number[]): Promise<PathPlane> {
  const columns = paths.map((path) => path.length / size);
  const rows = columns.reduce((all, count) => all + count, 0);
  const every = Math.max(1, Math.ceil((4 * rows * size) / MOST_BYTES));
  const kept = Math.ceil(size / every);
  const factors = scaling === "unit" ? deviations(paths, size, runs ?? paths.map(() => 0)) : undefined;
  const states = new Float32Array(rows * kept);
  let at = 0;
  paths.forEach((path, number) => {
    for (let column = 0; column < columns[number]!; column += 1) {
      const deviation = factors?.[number]![column] ?? 1;
      for (let place = 0; place < size; place += every) states[at++] = path[column * size + place]! / deviation;
    }
  });
  const { points, explained } = await computed(states, rows, kept);
  let row = 0;
  const parts = columns.map((count) => points.slice(2 * row, 2 * (row += count)));
  return { points: parts, explained, every };
}

/** Of each path and column, the standard deviation of all numbers of its run there; 1 where that is zero. */
function deviations(paths: readonly Float32Array[], size: number, runs: readonly number[]): readonly Float32Array[] {
  const known = new Map<number, Float32Array>();
  for (const run of new Set(runs)) {
    const own = paths.filter((_, number) => runs[number] === run);
    known.set(run, Float32Array.from({ length: own[0]!.length / size }, (_, column) => deviation(own, size, column)));
  }
  return runs.map((run) => known.get(run)!);
}

function deviation(paths: readonly Float32Array[], size: number, column: number): number {
  const count = paths.length * size;
  let sum = 0;
  for (const path of paths) for (let place = 0; place < size; place += 1) sum += path[column * size + place]!;
  let squares = 0;
  for (const path of paths) for (let place = 0; place < size; place += 1) squares += (path[column * size + place]! - sum / count) ** 2;
  return Math.sqrt(squares / count) || 1;
}

let worker: Worker | undefined | null;
let requests = 0;
const waiting = new Map<number, { request: Request; resolve: (plane: Plane) => void; reject: (error: unknown) => void }>();

/** In the worker; on the page's own thread where there is none, as in a frame whose policy forbids it. */
function computed(states: Float32Array, rows: number, size: number): Promise<Plane> {
  const beside = started();
  if (beside === null) return Promise.resolve().then(() => principal(states, rows, size));
  return new Promise((resolve, reject) => {
    const request = { id: (requests += 1), states, rows, size };
    waiting.set(request.id, { request, resolve, reject });
    // Copied and not handed over: if the worker is refused later, the states are still there.
    beside.postMessage(request);
  });
}

function started(): Worker | null {
  if (worker !== undefined) return worker;
  try {
    worker = new Beside();
    worker.onmessage = ({ data }: MessageEvent<Plane & { id: number }>) => {
      waiting.get(data.id)?.resolve(data);
      waiting.delete(data.id);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      worker = null;
      for (const { request, resolve, reject } of waiting.values()) {
        try {
          resolve(principal(request.states, request.rows, request.size));
        } catch (error) {
          reject(error);
        }
      }
      waiting.clear();
    };
  } catch {
    worker = null;
  }
  return worker;
}
