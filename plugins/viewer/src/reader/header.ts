// The header of an object: messages, in one block or several.
import { Cursor } from "./cursor";
import { damaged } from "./flaw";
import type { Pages } from "./pages";

export const MESSAGE = {
  space: 0x01, linkInfo: 0x02, type: 0x03, oldFill: 0x04, fill: 0x05, link: 0x06, external: 0x07, layout: 0x08,
  filters: 0x0b, attribute: 0x0c, continuation: 0x10, symbols: 0x11, attributeInfo: 0x15,
} as const;

const MOST_BLOCKS = 256;
const MOST_BYTES = 1 << 22;

export interface Message {
  readonly kind: number;
  /** Its body stands elsewhere: among shared messages, or in an object of its own. */
  readonly shared: boolean;
  readonly body: Uint8Array;
}

interface Block { at: number; length: number }

/** How the messages of a header are written. */
interface Form { old: boolean; ordered: boolean }

/** All messages of the header at an address, in order. */
export async function readHeader(pages: Pages, address: number, what: string): Promise<Message[]> {
  const { form, first } = await prefix(pages, address, what);
  const messages: Message[] = [];
  const blocks: Block[] = [first];
  const seen = new Set<number>();
  let bytes = 0;
  for (let block = blocks.shift(); block !== undefined; block = blocks.shift()) {
    bytes += block.length;
    if (seen.has(block.at) || seen.size >= MOST_BLOCKS || bytes > MOST_BYTES) throw damaged(`${what} has no end`);
    seen.add(block.at);
    const cursor = new Cursor(await pages.bytes(block.at, block.length, what), what);
    if (!form.old && block !== first) {
      cursor.signature("OCHK");
      readBlock(cursor, form, messages, blocks, 4);
    } else {
      readBlock(cursor, form, messages, blocks, 0);
    }
  }
  return messages;
}

async function prefix(pages: Pages, address: number, what: string): Promise<{ form: Form; first: Block }> {
  const length = Math.min(34, pages.source.size - address);
  const cursor = new Cursor(await pages.bytes(address, Math.max(16, length), what), what);
  if (cursor.bytes[0] === 1) {
    cursor.skip(8);
    return { form: { old: true, ordered: false }, first: { at: address + 16, length: cursor.u32() } };
  }
  cursor.signature("OHDR");
  cursor.version(2);
  const flags = cursor.u8();
  cursor.skip((flags & 0x20 ? 16 : 0) + (flags & 0x10 ? 4 : 0));
  const size = cursor.uint(1 << (flags & 3));
  return { form: { old: false, ordered: (flags & 4) !== 0 }, first: { at: address + cursor.at, length: size } };
}

/** Add the messages of a block, and the blocks that follow it. `tail` bytes at its end are a checksum. */
function readBlock(cursor: Cursor, form: Form, messages: Message[], blocks: Block[], tail: number): void {
  const smallest = form.old ? 8 : form.ordered ? 6 : 4;
  while (cursor.left - tail >= smallest) {
    const kind = form.old ? cursor.u16() : cursor.u8();
    const size = cursor.u16();
    const flags = cursor.u8();
    cursor.skip(form.old ? 3 : form.ordered ? 2 : 0);
    if (size > cursor.left - tail) throw damaged(`${cursor.what} ends too early`);
    const body = cursor.take(size);
    if (kind === MESSAGE.continuation) {
      const next = new Cursor(body, cursor.what);
      blocks.push({ at: next.u64(), length: next.u64() });
    } else {
      messages.push({ kind, shared: (flags & 2) !== 0, body });
    }
  }
}
