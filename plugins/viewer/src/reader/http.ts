// A file at an address, read in ranges.
import { FileProblem, type Source } from "./api";
import { HEAD, RangedSource } from "./ranged";

const REMEDY = "download it and drop it here, or open it with \"emnist-diff view\"";

const LOST = "it cannot be read: the connection was lost";

class HttpSource extends RangedSource {
  readonly gap = 1 << 17;
  size = HEAD;
  private tag: string | null = null;

  constructor(private readonly url: string, readonly name: string) {
    super();
  }

  /** The first request brings the head, and says how long the file is. */
  async open(): Promise<void> {
    const { response, bytes } = await this.request(0, HEAD);
    this.tag = response.headers.get("etag");
    const total = rangeOf(response)?.total ?? (await this.length());
    if (!(total >= bytes.length)) throw this.problem("the server does not say how long it is");
    if (bytes.length < Math.min(HEAD, total)) throw this.problem(LOST);
    this.size = total;
    this.count(bytes.length);
    this.keep(bytes);
  }

  protected async fetch(offset: number, length: number): Promise<Uint8Array> {
    const { response, bytes } = await this.request(offset, length);
    const range = rangeOf(response);
    if (range !== undefined && range.total !== this.size) throw this.problem("it has changed on the server while it was open — reload the page");
    if (range !== undefined && range.first !== offset) throw this.problem("the server sends other bytes than requested");
    const tag = response.headers.get("etag");
    if (this.tag !== null && tag !== null && tag !== this.tag) throw this.problem("it has changed on the server while it was open — reload the page");
    return bytes;
  }

  private async request(offset: number, length: number): Promise<{ response: Response; bytes: Uint8Array }> {
    const headers = { Range: `bytes=${offset}-${offset + length - 1}` };
    const response = await this.answer({ headers });
    if (response.status !== 206) {
      await response.body?.cancel();
      throw this.refused(response);
    }
    const bytes = await bounded(response, length).catch(() => {
      throw this.problem(LOST);
    });
    if (bytes === undefined) throw this.problem("the server sends other bytes than requested");
    return { response, bytes };
  }

  private refused(response: Response): FileProblem {
    if (response.status === 200) return this.problem(`the server sends only the whole of it and no ranges — ${REMEDY}`);
    if (response.status !== 416) return this.problem(`the server answers ${response.status} ${response.statusText}`.trim());
    const empty = (response.headers.get("content-range") ?? "").endsWith("/0");
    return this.problem(empty ? "it is no HDF5 file, or is truncated: it is empty" : "it has become shorter on the server — reload the page");
  }

  private async answer(init: RequestInit): Promise<Response> {
    try {
      return await fetch(this.url, { cache: "no-store", ...init });
    } catch {
      throw this.problem(`it cannot be read: nothing answers at its address, or the page may not read from there — ${REMEDY}`);
    }
  }

  /** Where another origin hides the range's own words, it still shows the length. */
  private async length(): Promise<number> {
    const response = await this.answer({ method: "HEAD" });
    return response.ok ? Number(response.headers.get("content-length") ?? Number.NaN) : Number.NaN;
  }

  private problem(what: string): FileProblem {
    return new FileProblem(`${this.name}: ${what}`);
  }
}

/** "bytes 0-9/100" of an answer; undefined where there is none. */
function rangeOf(response: Response): { first: number; total: number } | undefined {
  const parts = /^bytes (\d+)-\d+\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  return parts === null ? undefined : { first: Number(parts[1]), total: Number(parts[2]) };
}

/** The body; undefined where it is longer than was requested. */
async function bounded(response: Response, length: number): Promise<Uint8Array | undefined> {
  const out = new Uint8Array(length);
  const reader = response.body?.getReader();
  let filled = 0;
  for (let part = await reader?.read(); part?.value !== undefined; part = await reader?.read()) {
    if (filled + part.value.length > length) {
      await reader?.cancel();
      return undefined;
    }
    out.set(part.value, filled);
    filled += part.value.length;
  }
  return filled === length ? out : out.slice(0, filled);
}

/** The last part of an address's path, as people read it. */
function nameOf(url: string): string {
  const path = url.replace(/[?#].*$/s, "");
  const last = path.slice(path.lastIndexOf("/") + 1);
  try {
    return decodeURIComponent(last) || "file";
  } catch {
    return last;
  }
}

/** A file at an address whose server answers ranges. Raises `FileProblem` where it does not, or where nothing is. */
export async function urlSource(url: string, name: string = nameOf(url)): Promise<Source> {
  const source = new HttpSource(url, name);
  await source.open();
  return source;
}
