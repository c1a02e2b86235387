// B-trees of version 2: records in nodes, read in order.
import { Cursor } from "./cursor";
import { damaged } from "./flaw";
import type { Pages } from "./pages";

const MOST_DEPTH = 16;
const MOST_NODE = 1 << 20;
/** Of a node: signature, version, kind, checksum. */
const OVERHEAD = 10;

export interface Tree2 {
  readonly kind: number;
  readonly recordSize: number;
  readonly records: readonly Uint8Array[];
}

interface Form {
  kind: number; nodeSize: number; recordSize: number;
  /** Bytes of the number of records of a node, and by depth those of all below it. */
  countBytes: number; totalBytes: number[];
}

const bytesFor = (limit: number): number => Math.floor(Math.floor(Math.log2(Math.max(1, limit))) / 8) + 1;

/** All records of a tree, of which there are at most `most`. */
export async function readTree2(pages: Pages, address: number, most: number, what: string): Promise<Tree2> {
  const cursor = new Cursor(await pages.bytes(address, 38, what), what);
  cursor.signature("BTHD");
  cursor.version(0);
  const kind = cursor.u8();
  const [nodeSize, recordSize, depth] = [cursor.u32(), cursor.u16(), cursor.u16()];
  cursor.skip(2);
  const root = cursor.address();
  const count = cursor.u16();
  const total = cursor.u64();
  if (total > most) throw damaged(`${what} claims ${total} entries`);
  if (depth > MOST_DEPTH || nodeSize > MOST_NODE || recordSize === 0 || nodeSize < OVERHEAD + recordSize) throw damaged(`${what} is no tree`);
  const form: Form = { kind, nodeSize, recordSize, ...widths(nodeSize, recordSize, depth) };
  const records: Uint8Array[] = [];
  if (root !== undefined) await walk(pages, form, { address: root, count, depth }, records, most, what);
  if (records.length !== total) throw damaged(`${what} holds ${records.length} entries and claims ${total}`);
  return { kind, recordSize, records };
}

function widths(nodeSize: number, recordSize: number, depth: number): { countBytes: number; totalBytes: number[] } {
  const inLeaf = Math.floor((nodeSize - OVERHEAD) / recordSize);
  const countBytes = bytesFor(inLeaf);
  const totalBytes = [0];
  let below = inLeaf;
  for (let level = 1; level <= depth; level++) {
    const pointer = 8 + countBytes + totalBytes[level - 1]!;
    const inside = Math.floor((nodeSize - OVERHEAD - pointer) / (recordSize + pointer));
    below = (inside + 1) * below + inside;
    totalBytes.push(bytesFor(below));
  }
  return { countBytes, totalBytes };
}

interface Node { address: number; count: number; depth: number }

async function walk(pages: Pages, form: Form, node: Node, out: Uint8Array[], most: number, what: string): Promise<void> {
  const cursor = new Cursor(await pages.bytes(node.address, form.nodeSize, what), what);
  cursor.signature(node.depth > 0 ? "BTIN" : "BTLF");
  cursor.version(0);
  if (cursor.u8() !== form.kind) throw damaged(`${what} has nodes of several kinds`);
  const records = Array.from({ length: node.count }, () => cursor.take(form.recordSize));
  if (out.length + records.length > most) throw damaged(`${what} has too many entries`);
  if (node.depth === 0) {
    out.push(...records);
    return;
  }
  for (let i = 0; i <= node.count; i++) {
    const address = cursor.address();
    const count = cursor.uint(form.countBytes);
    cursor.skip(node.depth > 1 ? form.totalBytes[node.depth - 1]! : 0);
    if (address === undefined) throw damaged(`${what} is no tree`);
    await walk(pages, form, { address, count, depth: node.depth - 1 }, out, most, what);
    if (i < node.count) out.push(records[i]!);
  }
}
