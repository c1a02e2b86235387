// Values of a dataset that is stored in chunks.
import type { Source } from "./api";
import { type ChunkIndex, type Place } from "./chunktree";
import { type Grid, openIndex } from "./chunkindex";
import { damaged, truncated, Unsupported } from "./flaw";
import type { Filter } from "./messages";
import type { Pages } from "./pages";
import { copyBox, each, type Read, type Slab } from "./slabs";
import { unpack } from "./unpack";

/** Bytes of a chunk, and of chunks that are kept unpacked. */
export const MOST_CHUNK = 1 << 26;
const MOST_KEPT = 48 << 20;
const MOST_SMALL = 1 << 12;
const MOST_REQUEST = 1 << 23;
const MOST_TOUCHED = 1 << 20;
const BATCH = 64;
/** Bytes of a chunk, of which several may be in memory while they are unpacked. */
const SMALL = 1 << 20;

/** Unpacked chunks of all datasets of a file; the last used are kept. */
export class ChunkCache {
  private readonly kept = new Map<string, Uint8Array>();
  private size = 0;

  get(key: string): Uint8Array | undefined {
    const chunk = this.kept.get(key);
    if (chunk === undefined) return undefined;
    this.kept.delete(key);
    this.kept.set(key, chunk);
    return chunk;
  }

  set(key: string, chunk: Uint8Array): void {
    this.size += chunk.length - (this.kept.get(key)?.length ?? 0);
    this.kept.delete(key);
    this.kept.set(key, chunk);
    for (const [other, { length }] of this.kept) {
      if (this.size <= MOST_KEPT) break;
      this.kept.delete(other);
      this.size -= length;
    }
  }
}

interface Wanted { readonly chunk: readonly number[]; readonly place: Place }

export class Chunks {
  private index: Promise<ChunkIndex | undefined> | undefined;

  constructor(private readonly pages: Pages, private readonly cache: ChunkCache, private readonly grid: Grid, private readonly filters: readonly Filter[], private readonly width: number) {
    const { layout, space, room, path } = grid;
    if (layout.chunk.length !== space.shape.length || layout.chunk.includes(0)) throw damaged(`the chunks of ${path} are ${layout.chunk.join(" × ")} values`);
    if (room > MOST_CHUNK) throw damaged(`the chunks of ${path} claim ${room} bytes each`);
    const count = space.shape.reduce((product, length, axis) => product * Math.ceil(length / layout.chunk[axis]!), 1);
    if (count > MOST_SMALL && room < MOST_SMALL) throw damaged(`${path} is stored in ${count} chunks of ${room} bytes`);
  }

  /** Put the slab's values into `out`, which holds what stands where no chunk is. */
  async read(source: Source, slab: Slab, out: Uint8Array, fresh: boolean): Promise<void> {
    const index = await (this.index ??= openIndex(this.pages, this.grid));
    if (index === undefined || out.length === 0) return;
    const touched = slab.count.reduce((product, count, axis) => product * (Math.ceil(count / this.grid.layout.chunk[axis]!) + 1), 1);
    if (touched > MOST_TOUCHED) throw new Unsupported(`${touched} chunks of ${this.grid.path} at once are more than the ${MOST_TOUCHED} that are read`);
    const read: Read = fresh ? (at, length) => source.fresh(at, length) : (at, length) => source.read(at, length);
    for (const batch of batches(this.touched(slab))) {
      const wanted: Wanted[] = [];
      for (const chunk of batch) {
        const kept = fresh ? undefined : this.cache.get(this.key(chunk));
        if (kept !== undefined) this.copy(chunk, kept, slab, out);
        else {
          const place = await index.find(chunk);
          if (place !== undefined) wanted.push({ chunk, place: this.checked(source, place) });
        }
      }
      wanted.sort((a, b) => a.place.address - b.place.address);
      await this.several(groups(wanted, source.gap ?? 1 << 16), (group) => this.load(read, group, slab, out));
    }
  }

  private async load(read: Read, group: readonly Wanted[], slab: Slab, out: Uint8Array): Promise<void> {
    const from = group[0]!.place.address;
    const last = group[group.length - 1]!.place;
    const bytes = await read(from, last.address + last.size - from);
    await this.several(group, async ({ chunk, place }) => {
      const packed = bytes.subarray(place.address - from, place.address - from + place.size);
      const plain = await unpack(packed, this.filters, this.maskOf(chunk, place), this.grid.room, this.grid.path);
      this.cache.set(this.key(chunk), plain.buffer.byteLength > plain.length ? plain.slice() : plain);
      this.copy(chunk, plain, slab, out);
    });
  }

  /** Small chunks are unpacked side by side; of large ones there is one at a time, so that memory is bounded. */
  private async several<T>(items: Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
    if (this.grid.room <= SMALL) return each(items, work);
    for (const item of items) await work(item);
  }

  private checked(source: Source, place: Place): Place {
    if (place.size > this.grid.room * 2 + 4096) throw damaged(`a chunk of ${this.grid.path} claims ${place.size} bytes`);
    if (place.address + place.size > source.size) throw truncated(`a chunk of ${this.grid.path} is not all there`);
    return place;
  }

  private maskOf(chunk: readonly number[], place: Place): number {
    const { layout, space } = this.grid;
    const edge = layout.edgesPlain && chunk.some((at, axis) => (at + 1) * layout.chunk[axis]! > space.shape[axis]!);
    return edge ? -1 : place.mask;
  }

  private key(chunk: readonly number[]): string {
    return `${this.grid.layout.address}:${chunk.join()}`;
  }

  /** Chunks that hold values of a slab. */
  private *touched(slab: Slab): Generator<number[]> {
    const sizes = this.grid.layout.chunk;
    const first = slab.start.map((at, axis) => Math.floor(at / sizes[axis]!));
    const end = slab.start.map((at, axis) => Math.ceil((at + slab.count[axis]!) / sizes[axis]!));
    for (const at = [...first]; ; ) {
      yield [...at];
      let axis = at.length - 1;
      for (; axis >= 0; axis--) {
        at[axis] = at[axis]! + 1;
        if (at[axis]! < end[axis]!) break;
        at[axis] = first[axis]!;
      }
      if (axis < 0) return;
    }
  }

  /** Copy what a chunk and a slab share. */
  private copy(chunk: readonly number[], bytes: Uint8Array, slab: Slab, out: Uint8Array): void {
    const sizes = this.grid.layout.chunk;
    const begin = chunk.map((at, axis) => at * sizes[axis]!);
    const from = begin.map((at, axis) => Math.max(at, slab.start[axis]!));
    const count = begin.map((at, axis) => Math.min(at + sizes[axis]!, slab.start[axis]! + slab.count[axis]!) - from[axis]!);
    const inChunk = { bytes, shape: sizes, start: from.map((at, axis) => at - begin[axis]!) };
    copyBox(inChunk, { bytes: out, shape: slab.count, start: from.map((at, axis) => at - slab.start[axis]!) }, count, this.width);
  }
}

function* batches<T>(items: Iterable<T>): Generator<T[]> {
  let batch: T[] = [];
  for (const item of items) {
    batch.push(item);
    if (batch.length === BATCH) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}

/** Chunks that one request brings, in order of their addresses. */
function* groups(wanted: readonly Wanted[], gap: number): Generator<Wanted[]> {
  let group: Wanted[] = [];
  let end = 0;
  for (const item of wanted) {
    const { address, size } = item.place;
    const begin = group[0]?.place.address ?? address;
    if (group.length > 0 && (address > end + gap || address + size - begin > MOST_REQUEST)) {
      yield group;
      group = [];
    }
    group.push(item);
    end = address + size;
  }
  if (group.length > 0) yield group;
}
