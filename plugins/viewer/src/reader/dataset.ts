// A dataset: numbers or texts of a shape, wherever their bytes are.
import { type Dataset, type Dtype, FileProblem, type Numbers, type Source } from "./api";
import type { Attributes } from "./attributes";
import { ChunkCache, Chunks } from "./chunks";
import { Cursor } from "./cursor";
import { readType, type Type } from "./datatype";
import { damaged, naming, truncated, Unsupported } from "./flaw";
import { MESSAGE, type Message } from "./header";
import type { Heaps } from "./heap";
import { countOf, type Filter, type Layout, readFill, readFilters, readLayout, readSpace, type Space } from "./messages";
import { fixedText, numberWidth, toNumbers } from "./numbers";
import type { Pages } from "./pages";
import { readSlab, type Slab } from "./slabs";
import { checkFilters } from "./unpack";

/** Bytes of numbers that are read at once, and texts of a dataset. */
export const MOST_READ = 1 << 26;
const MOST_TEXTS = 1 << 20;

/** What all datasets of a file share. */
export interface Shared { readonly pages: Pages; readonly heaps: Heaps; readonly cache: ChunkCache }

/** What the messages of a dataset's header say. */
export interface Description {
  readonly path: string;
  readonly type: Type;
  readonly space: Space;
  readonly layout: Layout;
  readonly filters: readonly Filter[];
  readonly fill: Uint8Array | undefined;
  readonly attributes: Attributes;
}

/** Whether messages are those of a dataset. */
export const isDataset = (messages: readonly Message[]): boolean => messages.some(({ kind }) => kind === MESSAGE.layout);

/** Raises a flaw where the header is damaged, and `Unsupported` where the dataset cannot be read. */
export function describe(messages: readonly Message[], path: string, attributes: Attributes): Description {
  const find = (kind: number): Cursor | undefined => {
    const message = messages.find((one) => one.kind === kind);
    if (message?.shared === true) throw new Unsupported("shares its description with others, which is not read");
    return message === undefined ? undefined : new Cursor(message.body, path);
  };
  const need = (kind: number): Cursor => {
    const cursor = find(kind);
    if (cursor === undefined) throw damaged(`${path} has no type, shape or layout`);
    return cursor;
  };
  if (messages.some(({ kind }) => kind === MESSAGE.external)) throw new Unsupported("keeps its data in another file, which is not followed");
  const packing = find(MESSAGE.filters);
  const filters = packing === undefined ? [] : readFilters(packing);
  checkFilters(filters);
  const [fill, old] = [find(MESSAGE.fill), find(MESSAGE.oldFill)];
  const value = fill !== undefined ? readFill(fill, false) : old !== undefined ? readFill(old, true) : undefined;
  const layout = readLayout(need(MESSAGE.layout));
  return { path, type: readType(need(MESSAGE.type)), space: readSpace(need(MESSAGE.space)), layout, filters, fill: value, attributes };
}

export class FileDataset implements Dataset {
  readonly path: string;
  readonly shape: readonly number[];
  readonly dtype: Dtype;
  readonly attributes: Attributes;
  readonly layout: Layout["kind"];
  readonly offset: number | undefined;
  private readonly source: Source;
  private readonly chunks: Chunks | undefined;

  constructor(private readonly shared: Shared, private readonly about: Description) {
    const { path, type, space, layout, filters } = about;
    this.path = path;
    this.shape = space.shape;
    this.dtype = type.dtype;
    this.attributes = about.attributes;
    this.layout = layout.kind;
    this.offset = layout.kind === "contiguous" ? layout.address : undefined;
    this.source = shared.pages.source;
    const bytes = countOf(space.shape, path) * type.width;
    if (layout.kind === "contiguous" && layout.address !== undefined && layout.address + bytes > this.source.size) {
      throw truncated(`the data of ${path} is not all there`);
    }
    if (layout.kind === "contiguous" && layout.size < bytes) throw damaged(`${path} claims ${bytes} bytes and has ${layout.size}`);
    if (layout.kind === "compact" && layout.bytes.length < bytes) throw damaged(`${path} claims ${bytes} bytes and has ${layout.bytes.length}`);
    if (layout.kind === "chunked") {
      const room = countOf(layout.chunk, path) * type.width;
      this.chunks = new Chunks(shared.pages, shared.cache, { layout, space, room, packed: filters.length > 0, path }, filters, type.width);
    }
  }

  read(start?: readonly number[], count?: readonly number[], fresh = false): Promise<Numbers> {
    return naming(this.source.name, async () => {
      const { type, path } = this.about;
      if (type.dtype === "text") throw new Unsupported(`${path} holds texts, not numbers`);
      const slab = this.slab(start, count);
      const values = countOf(slab.count, path);
      const room = values * numberWidth(type);
      if (room > MOST_READ) throw new Unsupported(`${room} bytes of ${path} at once are more than the ${MOST_READ} that are read`);
      return toNumbers(await this.bytes(slab, fresh), type);
    });
  }

  texts(): Promise<string[]> {
    return naming(this.source.name, async () => {
      const { type, path } = this.about;
      if (type.dtype !== "text") throw new Unsupported(`${path} holds numbers, not texts`);
      const slab = this.slab();
      const count = countOf(slab.count, path);
      if (count > MOST_TEXTS || count * type.width > MOST_READ) throw damaged(`${path} claims ${count} texts`);
      const cursor = new Cursor(await this.bytes(slab, false), path);
      const out: string[] = [];
      for (let i = 0; i < count; i++) out.push(type.referring ? await this.shared.heaps.text(cursor) : fixedText(cursor.take(type.width), type, path));
      return out;
    });
  }

  /** The part that is wanted, which is all of it unless something else is said. */
  private slab(start: readonly number[] = this.shape.map(() => 0), wanted?: readonly number[]): Slab {
    const { shape } = this;
    const count = wanted ?? shape.map((length, axis) => length - (start[axis] ?? 0));
    const whole = [...start, ...count].every((value) => Number.isSafeInteger(value) && value >= 0);
    const fits = start.length === shape.length && count.length === shape.length && shape.every((length, axis) => start[axis]! + count[axis]! <= length);
    if (whole && fits) return { start, count };
    const [has, part, from] = [shape, count, start].map((numbers) => `(${numbers.join(", ")})`);
    throw new FileProblem(`${this.source.name}: ${this.path} has the shape ${has}, which does not hold ${part} from ${from}`);
  }

  /** Bytes of a slab, in memory of their own. */
  private async bytes(slab: Slab, fresh: boolean): Promise<Uint8Array> {
    const { type, layout, path } = this.about;
    const { source, shape } = this;
    this.shared.pages.begin();
    const length = countOf(slab.count, path) * type.width;
    if (length === 0) return new Uint8Array(0);
    if (layout.kind === "contiguous" && layout.address !== undefined) {
      return readSlab(source, (at, size) => (fresh ? source.fresh(at, size) : source.read(at, size)), layout.address, type.width, shape, slab);
    }
    if (layout.kind === "compact") return readSlab(source, async (at, size) => layout.bytes.slice(at, at + size), 0, type.width, shape, slab);
    const out = this.filled(length);
    await this.chunks?.read(source, slab, out, fresh);
    return out;
  }

  private filled(length: number): Uint8Array {
    const out = new Uint8Array(length);
    const { fill, type } = this.about;
    if (fill === undefined || fill.length !== type.width || type.referring || fill.every((byte) => byte === 0)) return out;
    out.set(fill);
    for (let done = fill.length; done < length; done *= 2) out.copyWithin(done, 0, Math.min(done, length - done));
    return out;
  }
}
