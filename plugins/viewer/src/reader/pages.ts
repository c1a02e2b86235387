// What describes a file stands in small pieces in few places: they are read in pages, which are kept.
import type { Source } from "./api";
import { damaged, truncated } from "./flaw";

const PAGE = 1 << 16;
/** A read that goes on where the last one ended takes twice as many pages, up to these. */
const MOST_PAGES = 16;
const MOST_KEPT = 512;
/** Bytes of one piece, such as a heap of texts. */
const MOST_PIECE = 1 << 25;
/** Bytes parsed while a file is opened, or for one read; pieces that lie over one another would have no end. */
const MOST_PARSED = 1 << 28;
/** What a piece costs at least. */
const PIECE = 1 << 8;

export class Pages {
  private readonly kept = new Map<number, Promise<Uint8Array>>();
  private next = -1;
  private ahead = 1;
  private parsed = 0;

  constructor(readonly source: Source) {}

  /** Bytes of the file; `what` says in a message what they are. */
  async bytes(offset: number, length: number, what: string): Promise<Uint8Array> {
    if (length > MOST_PIECE) throw damaged(`${what} claims ${length} bytes`);
    if (offset + length > this.source.size) throw truncated(`${what} is not all there`);
    this.spend(Math.max(length, PIECE));
    const first = Math.floor(offset / PAGE);
    const last = Math.floor((offset + Math.max(1, length) - 1) / PAGE);
    for (let page = first; page <= last; page++) if (!this.kept.has(page)) this.load(page, last);
    if (first === last) {
      const at = offset - first * PAGE;
      return (await this.page(first)).subarray(at, at + length);
    }
    const out = new Uint8Array(length);
    for (let page = first; page <= last; page++) {
      const bytes = await this.page(page);
      const from = Math.max(offset, page * PAGE);
      const to = Math.min(offset + length, page * PAGE + bytes.length);
      out.set(bytes.subarray(from - page * PAGE, to - page * PAGE), from - offset);
    }
    return out;
  }

  /** Account for work on bytes that are parsed again and again. */
  spend(bytes: number): void {
    this.parsed += bytes;
    if (this.parsed > MOST_PARSED) throw damaged("what describes its data has no end");
  }

  /** Further work begins, which has its own bound. */
  begin(): void {
    this.parsed = 0;
  }

  private page(index: number): Promise<Uint8Array> {
    const page = this.kept.get(index) ?? this.load(index, index);
    // The last used is evicted last.
    this.kept.delete(index);
    this.kept.set(index, page);
    return page;
  }

  /** Read pages from `first` to `last` and, where reading goes on, some beyond. */
  private load(first: number, last: number): Promise<Uint8Array> {
    this.ahead = first === this.next ? Math.min(MOST_PAGES, this.ahead * 2) : 1;
    let end = Math.max(last + 1, first + this.ahead);
    for (let page = first + 1; page < end; page++) if (this.kept.has(page)) end = page;
    end = Math.min(end, Math.ceil(this.source.size / PAGE));
    this.next = end;
    const offset = first * PAGE;
    const all = this.source.read(offset, Math.min(end * PAGE, this.source.size) - offset);
    for (let page = first; page < end; page++) {
      const at = (page - first) * PAGE;
      const own = all.then((bytes) => bytes.subarray(at, at + PAGE));
      own.catch(() => this.kept.delete(page));
      this.kept.set(page, own);
    }
    for (const page of this.kept.keys()) {
      if (this.kept.size <= MOST_KEPT) break;
      if (page < first || page >= end) this.kept.delete(page);
    }
    return this.kept.get(first)!;
  }
}
