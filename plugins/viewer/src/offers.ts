// What the page can open by itself: files that stand in it, that its server names, that its address names, or its own example.
import { openRun } from "./model/open";
import { bytesSource, urlSource } from "./reader/source";
import { portSource } from "./reader/port";
import type { Source } from "./reader/api";
import type { Entry } from "./state";
import example from "./example/example.h5.gz?inline";

export const EXAMPLE = "example.h5";

/** A file of the list that a server, or a notebook, puts into the page. */
interface Served { readonly name: string; readonly bytes?: number; readonly url?: string; readonly port?: number; readonly sidecar?: Served }

function isServed(value: unknown): value is Served {
  if (typeof value !== "object" || value === null) return false;
  const { name, url, port, bytes, sidecar } = value as Record<string, unknown>;
  const placed = typeof url === "string" || (typeof port === "number" && typeof bytes === "number");
  return typeof name === "string" && placed && (sidecar === undefined || sidecar === null || isServed(sidecar));
}

/** Bytes that stand in the page as base64. */
export function decoded(base64: string): Uint8Array {
  const text = atob(base64.replace(/\s+/g, ""));
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

async function exampleBytes(): Promise<Uint8Array> {
  const packed = new Blob([decoded(example.slice(example.indexOf(",") + 1)) as Uint8Array<ArrayBuffer>]);
  const stream = packed.stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function servedSource(file: Served): Promise<Source> {
  if (file.url !== undefined) return urlSource(new URL(file.url, document.baseURI).href, file.name);
  return portSource(file.name, file.bytes ?? 0, file.port ?? 0);
}

function served(page: Document): Entry[] {
  const text = page.getElementById("served")?.textContent;
  if (!text) return [];
  const list: unknown = JSON.parse(text);
  return (Array.isArray(list) ? list : []).filter(isServed).map((file) => ({
    label: file.name, origin: "served",
    open: async () => openRun(await servedSource(file), file.sidecar ? await servedSource(file.sidecar) : undefined),
  }));
}

/** The run of a name, with the attention that stands beside it under NAME.attention.h5. */
function paired<T>(found: readonly { readonly name: string; readonly file: T }[]) {
  const sidecar = (name: string) => found.find((one) => one.name === name.replace(/(\.h5)?$/, ".attention.h5"));
  const beside = new Set(found.map((one) => sidecar(one.name)).filter((one) => one !== undefined));
  return found.filter((one) => !beside.has(one)).map((one) => ({ ...one, beside: sidecar(one.name) }));
}

function embedded(page: Document): Entry[] {
  const found = [...page.querySelectorAll<HTMLScriptElement>('script[id^="embedded-"]')].map((file) => ({ name: file.dataset["name"] ?? file.id, file }));
  const source = (one: { name: string; file: HTMLScriptElement }) => bytesSource(one.name, decoded(one.file.textContent ?? ""));
  return paired(found).map((one) => ({
    label: one.name, origin: "embedded", open: () => openRun(source(one), one.beside ? source(one.beside) : undefined),
  }));
}

/** `?file=run.h5&file=other.h5`, relative to the page. */
function addressed(address: Location, base: string): Entry[] {
  const named = new URLSearchParams(address.search).getAll("file").slice(0, 16);
  const found = named.map((text) => ({ text, url: URL.canParse(text, base) ? new URL(text, base) : undefined }));
  const files = found.flatMap(({ text, url }) =>
    url?.protocol === "http:" || url?.protocol === "https:" ? [{ name: decodeURIComponentSafely(url.pathname.split("/").at(-1) || text), file: url.href }] : []);
  return paired(files).map((one) => ({
    label: one.name, origin: "address",
    open: async () => openRun(await urlSource(one.file, one.name), one.beside && (await urlSource(one.beside.file, one.beside.name))),
  }));
}

function decodeURIComponentSafely(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Labels that are unique: the second "trajectory.h5" is "trajectory.h5 (2)". */
export function labelled(entries: readonly Entry[], taken: readonly Entry[] = []): Entry[] {
  const used = new Set(taken.map((entry) => entry.label));
  return entries.map((entry) => {
    let label = entry.label;
    for (let n = 2; used.has(label); n += 1) label = `${entry.label} (${n})`;
    used.add(label);
    return { ...entry, label };
  });
}

/** Everything that the page offers when it is opened; its example where there is nothing else. */
export function offers(page: Document, address: Location): Entry[] {
  const found = [...served(page), ...embedded(page), ...addressed(address, page.baseURI)];
  if (found.length) return labelled(found);
  return [{ label: EXAMPLE, origin: "example", open: async () => openRun(bytesSource(EXAMPLE, await exampleBytes())) }];
}
