// Fractal heaps: where large groups keep their links, and objects their many attributes.
import { Cursor } from "./cursor";
import { damaged, Unsupported } from "./flaw";
import type { Pages } from "./pages";

const MOST_DEPTH = 16;

interface Form {
  idLength: number; table: number; start: number; mostDirect: number; offsetBytes: number; lengthBytes: number;
  root: number | undefined; rows: number;
}

export class FractalHeap {
  private constructor(private readonly pages: Pages, private readonly form: Form, private readonly what: string) {}

  static async open(pages: Pages, address: number, what: string): Promise<FractalHeap> {
    const cursor = new Cursor(await pages.bytes(address, 142, what), what);
    cursor.signature("FRHP");
    cursor.version(0);
    const idLength = cursor.u16();
    if (cursor.u16() !== 0) throw new Unsupported("has packed descriptions, which are not read");
    cursor.skip(1);
    const mostManaged = cursor.u32();
    cursor.skip(96);
    const table = cursor.u16();
    const [start, mostDirect] = [cursor.u64(), cursor.u64()];
    const bits = cursor.u16();
    cursor.skip(2);
    const root = cursor.address();
    const rows = cursor.u16();
    const powers = Number.isInteger(Math.log2(start)) && Number.isInteger(Math.log2(mostDirect));
    if (table === 0 || !powers || mostDirect < start || bits === 0 || bits > 64) throw damaged(`${what} is no heap`);
    const lengthBytes = Math.min(bytesOf(mostDirect), bytesOf(mostManaged));
    return new FractalHeap(pages, { idLength, table, start, mostDirect, offsetBytes: Math.ceil(bits / 8), lengthBytes, root, rows }, what);
  }

  /** Bytes of an identifier. */
  get idLength(): number {
    return this.form.idLength;
  }

  /** The object that an identifier names. */
  async object(id: Uint8Array): Promise<Uint8Array> {
    const cursor = new Cursor(id, this.what);
    const head = cursor.u8();
    const kind = (head >> 4) & 3;
    if (head >> 6 !== 0) throw damaged(`${this.what} has an unknown version`);
    if (kind === 2) return cursor.take((head & 15) + 1);
    if (kind !== 0) throw new Unsupported("has descriptions of more than 64 KiB, which are not read");
    const offset = cursor.uint(this.form.offsetBytes);
    const length = cursor.uint(this.form.lengthBytes);
    const block = await this.block(offset);
    if (offset - block.offset + length > block.size) throw damaged(`${this.what} ends too early`);
    return this.pages.bytes(block.address + offset - block.offset, length, this.what);
  }

  /** The direct block that holds a place of the heap. */
  private async block(offset: number): Promise<{ address: number; offset: number; size: number }> {
    const { root, rows, start } = this.form;
    if (root === undefined) throw damaged(`${this.what} is empty`);
    if (rows === 0) return { address: root, offset: 0, size: start };
    let at = { address: root, offset: 0, rows };
    for (let depth = 0; depth < MOST_DEPTH; depth++) {
      const found = await this.child(at, offset);
      if (found.rows === 0) return found;
      at = found;
    }
    throw damaged(`${this.what} has no end`);
  }

  /** The part of an indirect block that holds a place: a direct block, with no rows, or an indirect one. */
  private async child(at: { address: number; offset: number; rows: number }, offset: number): Promise<{ address: number; offset: number; size: number; rows: number }> {
    const { table, start, mostDirect, offsetBytes } = this.form;
    let from = at.offset;
    for (let row = 0; row < at.rows; row++) {
      const size = start * 2 ** Math.max(0, row - 1);
      if (offset < from + size * table) {
        const column = Math.floor((offset - from) / size);
        const place = at.address + 13 + offsetBytes + 8 * (row * table + column);
        const address = new Cursor(await this.pages.bytes(place, 8, this.what), this.what).address();
        if (address === undefined) break;
        const rows = size <= mostDirect ? 0 : Math.log2(size) - Math.log2(start * table) + 1;
        return { address, offset: from + column * size, size, rows };
      }
      from += size * table;
    }
    throw damaged(`${this.what} ends too early`);
  }
}

/** Bytes of a length up to a limit. */
function bytesOf(limit: number): number {
  return Math.floor((Math.floor(Math.log2(Math.max(1, limit))) + 7) / 8) || 1;
}
