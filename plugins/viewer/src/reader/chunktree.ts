// Where the chunks of a packed dataset are: a B-tree of version 1, of which only the nodes on the way are read.
import { Cursor } from "./cursor";
import { damaged } from "./flaw";
import type { Pages } from "./pages";

/** Where a chunk is, how many bytes are stored of it, and which filters were left out. */
export interface Place { readonly address: number; readonly size: number; readonly mask: number }

/** Finds a chunk by its place in the grid of chunks; undefined where none was written. */
export interface ChunkIndex { find(chunk: readonly number[]): Promise<Place | undefined> }

const MOST_DEPTH = 16;
/** Entries of nodes that are kept. */
const MOST_ENTRIES = 1 << 17;
const MOST_NODE = 1 << 22;

interface Entry extends Place { readonly begin: readonly number[] }
interface Node { readonly level: number; readonly entries: readonly Entry[] }

export class ChunkTree implements ChunkIndex {
  private readonly nodes = new Map<number, Node>();
  private entries = 0;

  /** `sizes` are those of a chunk, in values. */
  constructor(private readonly pages: Pages, private readonly root: number, private readonly sizes: readonly number[], private readonly what: string) {}

  async find(chunk: readonly number[]): Promise<Place | undefined> {
    const begin = chunk.map((at, axis) => at * this.sizes[axis]!);
    let address = this.root;
    for (let level = MOST_DEPTH; ; ) {
      const node = await this.node(address);
      if (node.level >= level) throw damaged(`the index of ${this.what} has no end`);
      const entry = lastUpTo(node.entries, begin);
      if (entry === undefined) return undefined;
      if (node.level === 0) return compare(entry.begin, begin) === 0 ? entry : undefined;
      level = node.level;
      address = entry.address;
    }
  }

  private async node(address: number): Promise<Node> {
    const kept = this.nodes.get(address);
    if (kept !== undefined) return kept;
    const what = `the index of ${this.what}`;
    const head = new Cursor(await this.pages.bytes(address, 24, what), what);
    head.signature("TREE");
    if (head.u8() !== 1) throw damaged(`${what} is one of something else`);
    const [level, count] = [head.u8(), head.u16()];
    const rank = this.sizes.length;
    const length = count * (24 + 8 * rank);
    if (length > MOST_NODE) throw damaged(`${what} claims ${count} entries in a node`);
    const cursor = new Cursor(await this.pages.bytes(address + 24, length, what), what);
    const entries = Array.from({ length: count }, () => {
      const [size, mask] = [cursor.u32(), cursor.u32()];
      const begin = this.sizes.map(() => cursor.u64());
      cursor.skip(8);
      return { size, mask, begin, address: cursor.u64() };
    });
    const node = { level, entries };
    this.nodes.set(address, node);
    this.entries += count + 1;
    for (const [other, { entries }] of this.nodes) {
      if (this.entries <= MOST_ENTRIES || other === address) break;
      this.nodes.delete(other);
      this.entries -= entries.length + 1;
    }
    return node;
  }
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return 0;
}

/** The last entry, of those that are sorted, that does not begin after a place. */
function lastUpTo(entries: readonly Entry[], begin: readonly number[]): Entry | undefined {
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare(entries[middle]!.begin, begin) <= 0) low = middle + 1;
    else high = middle;
  }
  return entries[low - 1];
}
