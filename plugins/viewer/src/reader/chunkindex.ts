// Where the chunks of a dataset are in files of HDF5's later versions: one chunk, all in a row, a table, or a tree.
import { ChunkTree, type ChunkIndex, type Place } from "./chunktree";
import { Cursor } from "./cursor";
import { damaged, Unsupported } from "./flaw";
import type { Chunked, Space } from "./messages";
import type { Pages } from "./pages";
import { readTree2 } from "./tree2";

const MOST_CHUNKS = 1 << 17;

/** What an index is of. */
export interface Grid {
  readonly layout: Chunked;
  readonly space: Space;
  /** Bytes of a chunk that is not packed. */
  readonly room: number;
  readonly packed: boolean;
  readonly path: string;
}

/** The index of a dataset's chunks; undefined where there are none yet. */
export async function openIndex(pages: Pages, grid: Grid): Promise<ChunkIndex | undefined> {
  const { layout, room, path } = grid;
  const address = layout.address;
  if (address === undefined) return undefined;
  switch (layout.index) {
    case "tree": return new ChunkTree(pages, address, layout.chunk, path);
    case "single": return { find: async () => ({ address, size: layout.single?.size ?? room, mask: layout.single?.mask ?? 0 }) };
    case "implicit": {
      const number = numbering(grid);
      return { find: async (chunk) => ({ address: address + number(chunk) * room, size: room, mask: 0 }) };
    }
    case "fixed array": return fixedArray(pages, grid, address);
    case "tree 2": return tree2(pages, grid, address);
    default: throw new Unsupported("grows along an axis, and the index of its chunks is not read — write it with a fixed shape");
  }
}

/** A chunk's number, in order of the last axis first, in a grid as large as the dataset may become. */
function numbering({ layout, space, path }: Grid): (chunk: readonly number[]) => number {
  const lengths = layout.chunk.map((size, axis) => Math.ceil((space.most[axis] ?? Number.NaN) / size));
  if (lengths.some(Number.isNaN)) throw damaged(`${path} has chunks without end`);
  return (chunk) => chunk.reduce((number, at, axis) => number * lengths[axis]! + at, 0);
}

async function fixedArray(pages: Pages, grid: Grid, address: number): Promise<ChunkIndex> {
  const what = `the index of ${grid.path}`;
  const cursor = new Cursor(await pages.bytes(address, 24, what), what);
  cursor.signature("FAHD");
  cursor.version(0);
  cursor.skip(1);
  const [width, pageBits, entries] = [cursor.u8(), cursor.u8(), cursor.u64()];
  const block = cursor.address();
  if (entries > MOST_CHUNKS || pageBits > 30 || width < 8 || (grid.packed && width < 13)) throw damaged(`${what} claims ${entries} chunks`);
  const perPage = 2 ** pageBits;
  const pageCount = entries > perPage ? Math.ceil(entries / perPage) : 0;
  const bitmap = Math.ceil(pageCount / 8);
  const number = numbering(grid);
  if (block === undefined) return { find: async () => undefined };
  const head = new Cursor(await pages.bytes(block, 14 + bitmap, what), what);
  head.signature("FADB");
  head.skip(10);
  const written = head.take(bitmap);
  const find = async (chunk: readonly number[]): Promise<Place | undefined> => {
    const at = number(chunk);
    if (at >= entries) throw damaged(`${what} has too few chunks`);
    const page = Math.floor(at / perPage);
    if (pageCount > 0 && (written[page >> 3]! & (0x80 >> (page & 7))) === 0) return undefined;
    // Pages, and the bitmap before them, end with a checksum of 4 bytes.
    const place = block + 14 + bitmap + at * width + (pageCount > 0 ? 4 * (page + 1) : 0);
    return entry(new Cursor(await pages.bytes(place, width, what), what), grid, width);
  };
  return { find };
}

/** An address and, of a packed chunk, its bytes and filters that were left out. */
function entry(cursor: Cursor, grid: Grid, width: number): Place | undefined {
  const address = cursor.address();
  if (address === undefined) return undefined;
  if (!grid.packed) return { address, size: grid.room, mask: 0 };
  return { address, size: cursor.uint(width - 12), mask: cursor.u32() };
}

async function tree2(pages: Pages, grid: Grid, address: number): Promise<ChunkIndex> {
  const what = `the index of ${grid.path}`;
  const { recordSize, records } = await readTree2(pages, address, MOST_CHUNKS, what);
  const rank = grid.layout.chunk.length;
  const width = recordSize - 8 * rank;
  if (records.length > 0 && (grid.packed ? width < 13 : width !== 8)) throw damaged(`${what} has entries of ${recordSize} bytes`);
  const places = new Map<string, Place>();
  for (const record of records) {
    const cursor = new Cursor(record, what);
    const place = entry(cursor, grid, width);
    const chunk = Array.from({ length: rank }, () => cursor.u64());
    if (place !== undefined) places.set(chunk.join(), place);
  }
  return { find: async (chunk) => places.get(chunk.join()) };
}
