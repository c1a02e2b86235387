// Filters of packed chunks, undone.
import { damaged, Unsupported } from "./flaw";
import type { Filter } from "./messages";
import { unzstd } from "./zstd";

const NAMES: Readonly<Record<number, string>> = {
  4: "szip", 5: "nbit", 6: "scale-offset", 307: "bzip2", 32000: "lzf", 32001: "blosc", 32004: "lz4", 32008: "bitshuffle",
  32013: "zfp", 32017: "sz", 32026: "blosc2",
};
const REMEDY = "open it with \"emnist-diff view\", or pack it again with \"emnist-diff pack --codec gzip\"";

/** Undo a filter; `most` bytes come at most. */
interface Undo { (bytes: Uint8Array, filter: Filter, most: number): Uint8Array | Promise<Uint8Array> }

const CHECKSUM = 4;

const UNDO: Readonly<Record<number, Undo>> = {
  1: (bytes, _, most) => inflate(bytes, most),
  2: (bytes, filter) => unshuffle(bytes, filter.values[0] ?? 1),
  3: (bytes) => bytes.subarray(0, Math.max(0, bytes.length - CHECKSUM)), // which is not compared
  32015: (bytes, _, most) => {
    const out = new Uint8Array(most);
    return out.subarray(0, unzstd(bytes, out));
  },
};

/** Raises `Unsupported` for filters that are not undone here. */
export function checkFilters(filters: readonly Filter[]): void {
  const other = filters.find(({ id }) => UNDO[id] === undefined);
  if (other === undefined) return;
  const name = NAMES[other.id];
  throw new Unsupported(`is packed with ${name ?? `the HDF5 filter ${other.id}`}, which is not unpacked here — ${REMEDY}`);
}

/** The `room` bytes of a chunk. `mask` has a bit for each filter that was left out. */
export async function unpack(bytes: Uint8Array, filters: readonly Filter[], mask: number, room: number, what: string): Promise<Uint8Array> {
  let out = bytes;
  for (let i = filters.length - 1; i >= 0; i--) {
    const filter = filters[i]!;
    if (mask & (1 << i)) continue;
    try {
      out = await UNDO[filter.id]!(out, filter, room + CHECKSUM);
    } catch {
      throw damaged(`a chunk of ${what} cannot be unpacked`);
    }
  }
  if (out.length < room) throw damaged(`a chunk of ${what} has ${out.length} bytes, not ${room}`);
  return out.length === room ? out : out.subarray(0, room);
}

/** Bytes that zlib packed; raises an error where they are more than `most`. */
async function inflate(bytes: Uint8Array, most: number): Promise<Uint8Array> {
  const packed = new Blob([bytes as Uint8Array<ArrayBuffer>]);
  const reader = packed.stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  const out = new Uint8Array(most);
  let filled = 0;
  for (let part = await reader.read(); part.value !== undefined; part = await reader.read()) {
    if (filled + part.value.length > most) {
      await reader.cancel();
      throw new RangeError("more than a chunk");
    }
    out.set(part.value, filled);
    filled += part.value.length;
  }
  return out.subarray(0, filled);
}

/** Bytes of values that were sorted by their place in a value. */
function unshuffle(bytes: Uint8Array, width: number): Uint8Array {
  const count = Math.floor(bytes.length / Math.max(1, width));
  if (width <= 1 || count <= 1) return bytes;
  const out = new Uint8Array(bytes.length);
  if (width === 4) join4(bytes, count, new Uint32Array(out.buffer, 0, count));
  else for (let place = 0; place < width; place++) {
    const from = place * count;
    for (let i = 0, to = place; i < count; i++, to += width) out[to] = bytes[from + i]!;
  }
  out.set(bytes.subarray(count * width), count * width);
  return out;
}

/** Four bytes of single-precision numbers are put together at once. */
function join4(bytes: Uint8Array, count: number, out: Uint32Array): void {
  const [b, c, d] = [bytes.subarray(count), bytes.subarray(2 * count), bytes.subarray(3 * count)];
  for (let i = 0; i < count; i++) out[i] = bytes[i]! | (b[i]! << 8) | (c[i]! << 16) | (d[i]! << 24);
}
