// The reader as a process: requests come as lines of JSON, and each is answered by one. Tests in Python speak with it.
import { createHash } from "node:crypto";
import { openAsBlob, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { type Dataset, FileProblem, type Hdf5, type Numbers, type Source } from "../../src/reader/api";
import { openHdf5 } from "../../src/reader/hdf5";
import { bytesSource, fileSource, urlSource } from "../../src/reader/source";

interface Request {
  readonly do: "open" | "read" | "texts" | "mutate";
  readonly file: string;
  readonly dataset?: string;
  readonly start?: number[];
  readonly count?: number[];
  readonly fresh?: boolean;
  /** Places and bytes to put there. */
  readonly changes?: readonly (readonly [number, number])[];
  /** Bytes that are left of the file. */
  readonly length?: number;
}

const files = new Map<string, Hdf5>();
const contents = new Map<string, Uint8Array>();
const hash = (numbers: Numbers): string => createHash("sha256").update(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)).digest("hex");
const plain = (_: string, value: unknown): unknown => (typeof value === "bigint" ? Number(value) : value);

async function sourceOf(file: string): Promise<Source> {
  if (file.startsWith("http:")) return urlSource(file);
  return fileSource(await openAsBlob(file), file.slice(file.lastIndexOf("/") + 1));
}

type Found = { readonly group: string } | { readonly dataset: Dataset } | { readonly problem: string };

/** Everything that is in a group and below it. */
function tree(file: Hdf5, group = "", out = new Map<string, Found>()): Map<string, Found> {
  out.set(group, { group });
  for (const name of file.names(group)) {
    const path = group === "" ? name : `${group}/${name}`;
    try {
      out.set(path, { dataset: file.dataset(path) });
    } catch (error) {
      if (!(error instanceof FileProblem)) throw error;
      if (error.message.endsWith(`it has no dataset ${path}`)) tree(file, path, out);
      else out.set(path, { problem: error.message });
    }
  }
  return out;
}

/** What is said of a group or a dataset. */
function facts(file: Hdf5, found: Found): unknown {
  if ("group" in found) return { attributes: file.attributes(found.group) };
  if ("problem" in found) return found;
  const { shape, dtype, layout, attributes } = found.dataset;
  return { shape, dtype, layout, attributes };
}

async function open(file: string): Promise<unknown> {
  const begin = performance.now();
  const source = await sourceOf(file);
  const opened = await openHdf5(source);
  files.set(file, opened);
  const seconds = (performance.now() - begin) / 1000;
  return { seconds, requests: source.requests, received: source.received, tree: Object.fromEntries([...tree(opened)].map(([path, found]) => [path, facts(opened, found)])) };
}

/** Open a damaged copy and read all that is in it. */
async function mutate({ file, changes = [], length }: Request): Promise<unknown> {
  let content = contents.get(file);
  if (content === undefined) contents.set(file, (content = new Uint8Array(readFileSync(file))));
  const bytes = content.slice(0, length);
  for (const [place, byte] of changes) if (place < bytes.length) bytes[place] = byte;
  const opened = await openHdf5(bytesSource("damaged.h5", bytes));
  let problem: string | undefined;
  for (const found of tree(opened).values()) {
    if ("problem" in found) problem = found.problem;
    if (!("dataset" in found)) continue;
    try {
      await (found.dataset.dtype === "text" ? found.dataset.texts() : found.dataset.read());
    } catch (error) {
      if (!(error instanceof FileProblem)) throw error;
      problem = error.message;
    }
  }
  return { problem };
}

async function answer(request: Request): Promise<unknown> {
  if (request.do === "open") return open(request.file);
  if (request.do === "mutate") return mutate(request);
  const opened = files.get(request.file) ?? (await openHdf5(await sourceOf(request.file)));
  const dataset = opened.dataset(request.dataset ?? "");
  if (request.do === "texts") return { texts: await dataset.texts() };
  const begin = performance.now();
  const before = opened.source.requests;
  const numbers = await dataset.read(request.start, request.count, request.fresh);
  const seconds = (performance.now() - begin) / 1000;
  return { sha256: hash(numbers), length: numbers.length, seconds, requests: opened.source.requests - before, memory: process.memoryUsage().rss };
}

for await (const line of createInterface({ input: process.stdin })) {
  let out: unknown;
  try {
    out = await answer(JSON.parse(line) as Request);
  } catch (error) {
    out = error instanceof FileProblem ? { problem: error.message } : { crash: error instanceof Error ? error.stack : String(error) };
  }
  process.stdout.write(`${JSON.stringify(out, plain)}\n`);
}
