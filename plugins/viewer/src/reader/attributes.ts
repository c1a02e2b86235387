// Attributes of groups and datasets: small values with names.
import type { Attribute } from "./api";
import { Cursor, decode, untilZero } from "./cursor";
import { readType, type Type } from "./datatype";
import { damaged, Unsupported } from "./flaw";
import { FractalHeap } from "./fractal";
import { MESSAGE, type Message } from "./header";
import type { Heaps } from "./heap";
import { countOf, readSpace } from "./messages";
import { fixedText, toNumbers } from "./numbers";
import type { Pages } from "./pages";
import { readTree2 } from "./tree2";

const MOST = 10_000;
const ATTRIBUTE_NAMES = 8;
const MOST_VALUES = 1 << 16;

export type Attributes = Readonly<Record<string, Attribute>>;

/** All attributes whose values are numbers or texts. */
export async function readAttributes(pages: Pages, heaps: Heaps, messages: readonly Message[], what: string): Promise<Attributes> {
  const out = Object.create(null) as Record<string, Attribute>;
  const one = async (message: Pick<Message, "shared" | "body">): Promise<void> => {
    if (message.shared) return;
    try {
      const { name, value } = await readAttribute(heaps, new Cursor(message.body, `an attribute of ${what}`));
      out[name] = value;
    } catch (error) {
      if (!(error instanceof Unsupported)) throw error; // what is none of them means nothing to a reader
    }
  };
  for (const message of messages) {
    if (message.kind === MESSAGE.attribute) await one(message);
    else if (message.kind === MESSAGE.attributeInfo) for (const body of await dense(pages, message, what)) await one({ shared: false, body });
  }
  return out;
}

/** Attributes that are too many for the header stand in a heap. */
async function dense(pages: Pages, message: Message, what: string): Promise<Uint8Array[]> {
  const cursor = new Cursor(message.body, `the attributes of ${what}`);
  cursor.version(0);
  cursor.skip(cursor.u8() & 1 ? 2 : 0);
  const [heapAddress, treeAddress] = [cursor.address(), cursor.address()];
  if (heapAddress === undefined || treeAddress === undefined) return [];
  const heap = await FractalHeap.open(pages, heapAddress, cursor.what);
  const { kind, records, recordSize } = await readTree2(pages, treeAddress, MOST, cursor.what);
  if (kind !== ATTRIBUTE_NAMES || recordSize < heap.idLength + 1) throw damaged(`${cursor.what} have an index of the kind ${kind}`);
  const out: Uint8Array[] = [];
  for (const record of records) {
    const shared = (record[heap.idLength]! & 2) !== 0;
    if (!shared) out.push(await heap.object(record.subarray(0, heap.idLength)));
  }
  return out;
}

async function readAttribute(heaps: Heaps, cursor: Cursor): Promise<{ name: string; value: Attribute }> {
  const version = cursor.version(1, 2, 3);
  const flags = cursor.u8();
  const [nameSize, typeSize, spaceSize] = [cursor.u16(), cursor.u16(), cursor.u16()];
  if (version === 3) cursor.skip(1);
  const piece = (size: number): Uint8Array => {
    const bytes = cursor.take(size);
    if (version === 1) cursor.skip(Math.min(cursor.left, (8 - (size % 8)) % 8));
    return bytes;
  };
  const name = decode(untilZero(piece(nameSize)), `the name of ${cursor.what}`);
  const typeBytes = piece(typeSize);
  const spaceBytes = piece(spaceSize);
  if (version > 1 && flags & 3) throw new Unsupported("shares its type");
  const type = readType(new Cursor(typeBytes, cursor.what));
  const { shape, none } = readSpace(new Cursor(spaceBytes, cursor.what));
  const count = countOf(shape, cursor.what);
  if (count > MOST_VALUES || none) throw new Unsupported("has no values, or too many");
  const values = await valuesOf(heaps, type, new Cursor(cursor.take(count * type.width), cursor.what), count);
  const value = shape.length === 0 ? values[0] : values;
  if (value === undefined) throw damaged(`${cursor.what} has no value`);
  return { name, value };
}

async function valuesOf(heaps: Heaps, type: Type, cursor: Cursor, count: number): Promise<(string | number | bigint)[]> {
  if (type.referring) {
    const texts: string[] = [];
    for (let i = 0; i < count; i++) texts.push(await heaps.text(cursor));
    return texts;
  }
  if (type.dtype === "text") return Array.from({ length: count }, () => fixedText(cursor.take(type.width), type, cursor.what));
  const numbers: Iterable<number | bigint> = toNumbers(cursor.bytes.slice(), type);
  return Array.from(numbers, (value) => {
    const small = typeof value === "bigint" && BigInt(Number(value)) === value && Number.isSafeInteger(Number(value));
    return small ? Number(value) : value;
  });
}
