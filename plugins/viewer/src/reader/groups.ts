// What is in a group: names, and where the headers of what they name are.
import { Cursor, decode, untilZero } from "./cursor";
import { damaged } from "./flaw";
import { FractalHeap } from "./fractal";
import { MESSAGE, type Message } from "./header";
import type { Pages } from "./pages";
import { readTree2 } from "./tree2";

/** Groups and datasets in a file, and links in a group. */
export const MOST_OBJECTS = 10_000;
const MOST_DEPTH = 16;
const LINK_NAMES = 5;

export interface Link { readonly name: string; readonly address: number }

/** Links of a group, without those that lead to a path or another file: these are not followed. */
export async function readLinks(pages: Pages, messages: readonly Message[], what: string): Promise<Link[]> {
  const out: Link[] = [];
  for (const { kind, body } of messages) {
    const cursor = new Cursor(body, what);
    if (kind === MESSAGE.symbols) await fromSymbols(pages, cursor, out);
    else if (kind === MESSAGE.linkInfo) await fromHeap(pages, cursor, out);
    else if (kind === MESSAGE.link) add(out, readLink(cursor), what);
  }
  return out;
}

/** Whether messages are those of a group. */
export const isGroup = (messages: readonly Message[]): boolean =>
  messages.some(({ kind }) => kind === MESSAGE.symbols || kind === MESSAGE.linkInfo || kind === MESSAGE.link);

function add(out: Link[], link: Link | undefined, what: string): void {
  if (link === undefined) return;
  if (!/^[^\p{C}/]+$/u.test(link.name) || link.name === ".") throw damaged(`${what} holds a name that is no printable text`);
  if (out.length >= MOST_OBJECTS) throw damaged(`${what} holds more than ${MOST_OBJECTS} names`);
  out.push(link);
}

/** A link message; undefined for a soft or external link. */
function readLink(cursor: Cursor): Link | undefined {
  cursor.version(1);
  const flags = cursor.u8();
  const kind = flags & 8 ? cursor.u8() : 0;
  cursor.skip((flags & 4 ? 8 : 0) + (flags & 0x10 ? 1 : 0));
  const name = decode(cursor.take(cursor.uint(1 << (flags & 3))), `a name in ${cursor.what}`);
  if (kind !== 0) return undefined;
  const address = cursor.address();
  if (address === undefined) throw damaged(`${cursor.what} names ${name}, which is nowhere`);
  return { name, address };
}

async function fromHeap(pages: Pages, cursor: Cursor, out: Link[]): Promise<void> {
  cursor.version(0);
  cursor.skip(cursor.u8() & 1 ? 8 : 0);
  const heapAddress = cursor.address();
  const treeAddress = cursor.address();
  if (heapAddress === undefined || treeAddress === undefined) return; // the links are in the header
  const heap = await FractalHeap.open(pages, heapAddress, cursor.what);
  const { kind, records } = await readTree2(pages, treeAddress, MOST_OBJECTS, cursor.what);
  if (kind !== LINK_NAMES) throw damaged(`${cursor.what} has an index of the kind ${kind}`);
  for (const record of records) add(out, readLink(new Cursor(await heap.object(record.subarray(4)), cursor.what)), cursor.what);
}

async function fromSymbols(pages: Pages, cursor: Cursor, out: Link[]): Promise<void> {
  const [tree, heap] = [cursor.address(), cursor.address()];
  if (tree === undefined || heap === undefined) throw damaged(`${cursor.what} has no index`);
  const head = new Cursor(await pages.bytes(heap, 32, cursor.what), cursor.what);
  head.signature("HEAP");
  head.version(0);
  head.skip(3);
  const size = head.u64();
  head.skip(8);
  const names = await pages.bytes(head.u64(), size, cursor.what);
  await walk(pages, { tree, depth: MOST_DEPTH }, names, out, cursor.what);
}

/** Nodes of a group's tree: each is of a lower level than the one above it, so that there is an end. */
async function walk(pages: Pages, at: { tree: number; depth: number }, names: Uint8Array, out: Link[], what: string): Promise<void> {
  const head = new Cursor(await pages.bytes(at.tree, 24, what), what);
  head.signature("TREE");
  const [kind, level, count] = [head.u8(), head.u8(), head.u16()];
  if (kind !== 0 || level >= at.depth) throw damaged(`${what} has no end`);
  if (count > MOST_OBJECTS) throw damaged(`${what} holds more than ${MOST_OBJECTS} names`);
  const cursor = new Cursor(await pages.bytes(at.tree + 24, count * 16 + 8, what), what);
  for (let i = 0; i < count; i++) {
    cursor.skip(8);
    const child = cursor.u64();
    if (level > 0) await walk(pages, { tree: child, depth: level }, names, out, what);
    else await symbols(pages, child, names, out, what);
  }
}

async function symbols(pages: Pages, address: number, names: Uint8Array, out: Link[], what: string): Promise<void> {
  const head = new Cursor(await pages.bytes(address, 8, what), what);
  head.signature("SNOD");
  head.version(1);
  head.skip(1);
  const count = head.u16();
  const cursor = new Cursor(await pages.bytes(address + 8, count * 40, what), what);
  for (let i = 0; i < count; i++) {
    const place = cursor.u64();
    const header = cursor.address();
    const soft = cursor.u32() === 2;
    cursor.skip(20);
    if (soft) continue;
    if (place >= names.length || header === undefined) throw damaged(`${what} holds a name that is nowhere`);
    add(out, { name: decode(untilZero(names.subarray(place)), `a name in ${what}`), address: header }, what);
  }
}
