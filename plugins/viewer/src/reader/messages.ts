// Messages of a dataset's header: its shape, where its bytes are, how they are packed, what stands where none are.
import { Cursor } from "./cursor";
import { damaged, Unsupported } from "./flaw";

const MOST_AXES = 32;

export interface Space {
  readonly shape: readonly number[];
  /** How far it may grow; undefined where there is no bound. */
  readonly most: readonly (number | undefined)[];
  /** There are no values, not even one. */
  readonly none: boolean;
}

export function readSpace(cursor: Cursor): Space {
  const version = cursor.version(1, 2);
  const rank = cursor.u8();
  const flags = cursor.u8();
  if (rank > MOST_AXES) throw damaged(`${cursor.what} claims ${rank} axes`);
  const none = version === 2 ? cursor.u8() === 2 : (cursor.skip(5), false);
  const shape = Array.from({ length: rank }, () => cursor.u64());
  const most = flags & 1 ? Array.from({ length: rank }, () => cursor.address()) : shape;
  countOf(shape, cursor.what);
  return { shape: none ? [0] : shape, most: none ? [0] : most, none };
}

/** How many values a shape has; raises a flaw where they are beyond counting. */
export function countOf(shape: readonly number[], what: string): number {
  const count = shape.includes(0) ? 0 : shape.reduce((product, length) => product * length, 1);
  if (!Number.isSafeInteger(count)) throw damaged(`${what} claims the shape ${shape.join(" × ")}`);
  return count;
}

export interface Chunked {
  readonly kind: "chunked";
  /** Of a chunk, in values. */
  readonly chunk: readonly number[];
  readonly index: "tree" | "single" | "implicit" | "fixed array" | "extensible array" | "tree 2";
  readonly address: number | undefined;
  /** Of a single one that is packed: bytes, and the filters that were left out. */
  readonly single: { readonly size: number; readonly mask: number } | undefined;
  /** Chunks that reach over the edge are not packed. */
  readonly edgesPlain: boolean;
}

export type Layout =
  | { readonly kind: "compact"; readonly bytes: Uint8Array }
  | { readonly kind: "contiguous"; readonly address: number | undefined; readonly size: number }
  | Chunked;

const VIRTUAL = "keeps its data in other files — open it with \"emnist-diff view\", which serves it joined";
const INDEXES = ["", "single", "implicit", "fixed array", "extensible array", "tree 2"] as const;

export function readLayout(cursor: Cursor): Layout {
  const version = cursor.u8();
  if (version < 3) throw new Unsupported(`has a layout of the version ${version}, which is not read`);
  if (version > 5) throw damaged(`the layout of ${cursor.what} has the version ${version}`);
  const kind = cursor.u8();
  if (kind === 0) return { kind: "compact", bytes: cursor.take(cursor.u16()) };
  if (kind === 1) return { kind: "contiguous", address: cursor.address(), size: cursor.u64() };
  if (kind === 3) throw new Unsupported(VIRTUAL);
  if (kind !== 2) throw damaged(`${cursor.what} has a layout of the kind ${kind}`);
  return version === 3 ? treeOfChunks(cursor) : indexOfChunks(cursor);
}

function treeOfChunks(cursor: Cursor): Chunked {
  const axes = axesOf(cursor);
  const address = cursor.address();
  const chunk = Array.from({ length: axes - 1 }, () => cursor.u32());
  return { kind: "chunked", chunk, index: "tree", address, single: undefined, edgesPlain: false };
}

function indexOfChunks(cursor: Cursor): Chunked {
  const flags = cursor.u8();
  const axes = axesOf(cursor);
  const width = cursor.u8();
  if (width < 1 || width > 8) throw damaged(`${cursor.what} has lengths of ${width} bytes`);
  const chunk = Array.from({ length: axes }, () => cursor.uint(width)).slice(0, -1);
  const index = INDEXES[cursor.u8()] || undefined;
  if (index === undefined) throw damaged(`the chunks of ${cursor.what} have an unknown index`);
  const single = index === "single" && flags & 2 ? { size: cursor.u64(), mask: cursor.u32() } : undefined;
  cursor.skip({ single: 0, implicit: 0, "fixed array": 1, "extensible array": 5, "tree 2": 6 }[index]);
  return { kind: "chunked", chunk, index, address: cursor.address(), single, edgesPlain: (flags & 1) !== 0 };
}

/** The axes of a chunk and one more, which is the width of values. */
function axesOf(cursor: Cursor): number {
  const axes = cursor.u8();
  if (axes < 2 || axes > MOST_AXES + 1) throw damaged(`the chunks of ${cursor.what} claim ${axes} axes`);
  return axes;
}

export interface Filter { readonly id: number; readonly values: readonly number[] }

export function readFilters(cursor: Cursor): Filter[] {
  const version = cursor.version(1, 2);
  const count = cursor.u8();
  if (count > 32) throw damaged(`${cursor.what} claims ${count} filters`);
  if (version === 1) cursor.skip(6);
  return Array.from({ length: count }, () => {
    const id = cursor.u16();
    const name = version === 1 || id >= 256 ? cursor.u16() : 0;
    cursor.skip(2);
    const values = cursor.u16();
    cursor.skip(version === 1 ? Math.ceil(name / 8) * 8 : name);
    const all = Array.from({ length: values }, () => cursor.u32());
    if (version === 1 && values % 2 === 1) cursor.skip(4);
    return { id, values: all };
  });
}

/** The bytes of the value that stands where none was written; undefined for zeros. */
export function readFill(cursor: Cursor, old: boolean): Uint8Array | undefined {
  if (!old) {
    const version = cursor.version(1, 2, 3);
    const flags = version === 3 ? cursor.u8() : 0;
    if (version === 3 && (flags & 0x20) === 0) return undefined;
    if (version < 3) {
      cursor.skip(2);
      if (cursor.u8() === 0 && version === 2) return undefined;
    }
  }
  const size = cursor.u32();
  return size === 0 || size > cursor.left ? undefined : cursor.take(size);
}
