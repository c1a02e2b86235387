// Which bytes a part of an array takes, in as few requests as are worth it.
import type { Source } from "./api";

const MOST_REQUEST = 1 << 23;
const AT_ONCE = 6;

/** A part of an array: from `start`, `count` on each axis. */
export interface Slab { readonly start: readonly number[]; readonly count: readonly number[] }

/** The trailing axes that are read as one run: the first of them, and how many values they have. */
function runOf(shape: readonly number[], count: readonly number[]): { axis: number; length: number } {
  let axis = shape.length;
  let length = 1;
  while (axis > 0) {
    axis -= 1;
    length *= count[axis]!;
    if (count[axis] !== shape[axis]) break;
  }
  return { axis, length };
}

const stridesOf = (shape: readonly number[]): number[] => {
  const out = new Array<number>(shape.length).fill(1);
  for (let axis = shape.length - 2; axis >= 0; axis--) out[axis] = out[axis + 1]! * shape[axis + 1]!;
  return out;
};

/** Runs of consecutive values: how many, how long, and where each begins, rising. */
export class Runs {
  readonly count: number;
  readonly length: number;
  private readonly base: number;
  private readonly axes: readonly { readonly count: number; readonly stride: number }[];

  constructor(shape: readonly number[], slab: Slab) {
    const { axis, length } = runOf(shape, slab.count);
    const strides = stridesOf(shape);
    this.length = length;
    this.base = slab.start.reduce((sum, from, i) => sum + from * strides[i]!, 0);
    this.axes = slab.count.slice(0, axis).map((count, i) => ({ count, stride: strides[i]! }));
    this.count = this.axes.reduce((product, { count }) => product * count, 1);
  }

  /** Where a run begins, in values. */
  begin(index: number): number {
    let at = this.base;
    let rest = index;
    for (let i = this.axes.length - 1; i >= 0; i--) {
      const { count, stride } = this.axes[i]!;
      at += (rest % count) * stride;
      rest = Math.floor(rest / count);
    }
    return at;
  }
}

/** A request, and the runs whose bytes it brings. */
interface Request { offset: number; length: number; first: number; last: number }

/** Requests for runs; those that are near each other share one, with what lies between them. */
function* requests(runs: Runs, width: number, gap: number): Generator<Request> {
  const length = runs.length * width;
  let open: Request | undefined;
  for (let index = 0; index < runs.count; index++) {
    const offset = runs.begin(index) * width;
    const span: number = open === undefined ? 0 : offset + length - open.offset;
    if (open !== undefined && span <= MOST_REQUEST && offset - open.offset - open.length <= gap) {
      open.length = span;
      open.last = index;
    } else {
      if (open !== undefined) yield open;
      open = { offset, length, first: index, last: index };
    }
  }
  if (open !== undefined) yield open;
}

/** Work on all items, some at once; the first failure ends it. */
export async function each<T>(items: Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  const iterator = items[Symbol.iterator]();
  const worker = async (): Promise<void> => {
    for (let next = iterator.next(); next.done !== true; next = iterator.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

export type Read = (offset: number, length: number) => Promise<Uint8Array>;

/** The bytes of a slab of an array of values of `width` bytes that begins at `place`. */
export async function readSlab(source: Source, read: Read, place: number, width: number, shape: readonly number[], slab: Slab): Promise<Uint8Array> {
  const runs = new Runs(shape, slab);
  const length = runs.length * width;
  if (runs.count === 1 && length <= MOST_REQUEST) return read(place + runs.begin(0) * width, length);
  const out = new Uint8Array(runs.count * length);
  if (length > MOST_REQUEST) {
    for (let index = 0; index < runs.count; index++) await readLong(read, place + runs.begin(index) * width, out.subarray(index * length, (index + 1) * length));
    return out;
  }
  await each(requests(runs, width, source.gap ?? 1 << 16), async ({ offset, length: span, first, last }) => {
    const bytes = await read(place + offset, span);
    for (let index = first; index <= last; index++) {
      const at = runs.begin(index) * width - offset;
      out.set(bytes.subarray(at, at + length), index * length);
    }
  });
  return out;
}

async function readLong(read: Read, offset: number, into: Uint8Array): Promise<void> {
  const parts = Array.from({ length: Math.ceil(into.length / MOST_REQUEST) }, (_, i) => i * MOST_REQUEST);
  await each(parts, async (at) => into.set(await read(offset + at, Math.min(MOST_REQUEST, into.length - at)), at));
}

/** A part of an array in memory, which begins at `start`. */
export interface Box { readonly bytes: Uint8Array; readonly shape: readonly number[]; readonly start: readonly number[] }

/** Copy `count` values on each axis, of `width` bytes each, from one array to another. */
export function copyBox(from: Box, to: Box, count: readonly number[], width: number): void {
  // A run is consecutive in both where it is in the one that is cut more.
  const axis = Math.max(runOf(from.shape, count).axis, runOf(to.shape, count).axis);
  const length = count.slice(axis).reduce((product, n) => product * n, 1) * width;
  const total = count.slice(0, axis).reduce((product, n) => product * n, 1);
  const [fromStrides, toStrides] = [stridesOf(from.shape), stridesOf(to.shape)];
  const index = new Array<number>(axis).fill(0);
  const place = ({ start }: Box, strides: readonly number[]): number => start.reduce((sum, at, i) => sum + (at + (index[i] ?? 0)) * strides[i]!, 0) * width;
  for (let n = 0; n < total; n++) {
    const at = place(from, fromStrides);
    to.bytes.set(from.bytes.subarray(at, at + length), place(to, toStrides));
    for (let i = axis - 1; i >= 0; i--) {
      index[i] = index[i]! + 1;
      if (index[i]! < count[i]!) break;
      index[i] = 0;
    }
  }
}
