// Texts of any length: they stand in heaps of the whole file, and values refer to them.
import { Cursor, decode } from "./cursor";
import { damaged } from "./flaw";
import type { Pages } from "./pages";

const MOST_TEXT = 1 << 24;
const MOST_KEPT = 1 << 25;

type Collection = ReadonlyMap<number, Uint8Array>;

export class Heaps {
  private readonly kept = new Map<number, { collection: Collection; size: number }>();
  private size = 0;

  constructor(private readonly pages: Pages) {}

  /** The text that 16 bytes refer to: its length, where its heap is, and its number there. */
  async text(cursor: Cursor): Promise<string> {
    const length = cursor.u32();
    const address = cursor.address() ?? 0;
    const number = cursor.u32();
    if (length === 0 || address === 0) return "";
    this.pages.spend(length);
    if (length > MOST_TEXT) throw damaged(`${cursor.what} claims a text of ${length} bytes`);
    const bytes = (await this.collection(address)).get(number);
    if (bytes === undefined || bytes.length < length) throw damaged(`a text of ${cursor.what} is not where it should be`);
    const end = bytes.subarray(0, length).indexOf(0);
    return decode(bytes.subarray(0, end < 0 ? length : end), `a text of ${cursor.what}`);
  }

  private async collection(address: number): Promise<Collection> {
    const kept = this.kept.get(address);
    if (kept !== undefined) return kept.collection;
    const head = new Cursor(await this.pages.bytes(address, 16, "a heap of texts"), "a heap of texts");
    head.signature("GCOL");
    head.version(1);
    head.skip(3);
    const size = head.u64();
    const cursor = new Cursor(await this.pages.bytes(address, size, "a heap of texts"), "a heap of texts");
    const collection = objects(cursor);
    this.kept.set(address, { collection, size });
    this.size += size;
    for (const [other, { size }] of this.kept) {
      if (this.size <= MOST_KEPT || other === address) break;
      this.kept.delete(other);
      this.size -= size;
    }
    return collection;
  }
}

function objects(cursor: Cursor): Collection {
  const out = new Map<number, Uint8Array>();
  cursor.skip(Math.min(16, cursor.left));
  while (cursor.left >= 16) {
    const number = cursor.u16();
    cursor.skip(6);
    const size = cursor.u64();
    if (number === 0) break; // the rest is free
    out.set(number, cursor.take(size));
    cursor.skip(Math.min(cursor.left, (8 - (size % 8)) % 8));
  }
  return out;
}
