// An HDF5 file: its groups, attributes and datasets, all found when it is opened; values are read later.
import { type Dataset, FileProblem, type Hdf5, type Source } from "./api";
import { type Attributes, readAttributes } from "./attributes";
import { ChunkCache } from "./chunks";
import { FileDataset, describe, isDataset, type Shared } from "./dataset";
import { damaged, naming, Unsupported } from "./flaw";
import { isGroup, MOST_OBJECTS, readLinks } from "./groups";
import { readHeader } from "./header";
import { Heaps } from "./heap";
import { Pages } from "./pages";
import { rootAddress } from "./superblock";

interface Group { readonly attributes: Attributes; readonly names: readonly string[] }

/** A dataset, or why it cannot be read. */
type Leaf = Dataset | { readonly refusal: string };

class File implements Hdf5 {
  readonly groups = new Map<string, Group>();
  readonly leaves = new Map<string, Leaf>();

  constructor(readonly source: Source) {}

  attributes(group: string): Attributes {
    return this.groups.get(group)?.attributes ?? {};
  }

  names(group: string): readonly string[] {
    return this.groups.get(group)?.names ?? [];
  }

  has(path: string): boolean {
    return this.groups.has(path) || this.leaves.has(path);
  }

  dataset(path: string): Dataset {
    const leaf = this.leaves.get(path);
    if (leaf === undefined) throw new FileProblem(`${this.source.name}: it has no dataset ${path}`);
    if ("refusal" in leaf) throw new FileProblem(`${this.source.name}: ${path} ${leaf.refusal}`);
    return leaf;
  }
}

/** Open a file. Raises `FileProblem` where it is no HDF5 file, truncated or damaged; what is sound but beyond this reader is refused when it is asked for. */
export function openHdf5(source: Source): Promise<Hdf5> {
  return naming(source.name, async () => {
    const pages = new Pages(source);
    const shared = { pages, heaps: new Heaps(pages), cache: new ChunkCache() };
    const file = new File(source);
    await new Walk(shared, file).all(await rootAddress(pages));
    return file;
  });
}

class Walk {
  private readonly seen = new Set<number>();
  private objects = 0;

  constructor(private readonly shared: Shared, private readonly file: File) {}

  async all(root: number): Promise<void> {
    const open = [{ path: "", address: root }];
    for (let next = open.pop(); next !== undefined; next = open.pop()) open.push(...(await this.one(next.path, next.address)));
  }

  /** Take in a group or a dataset; the children of a group. */
  private async one(path: string, address: number): Promise<{ path: string; address: number }[]> {
    this.objects += 1;
    if (this.objects > MOST_OBJECTS) throw damaged(`it has more than ${MOST_OBJECTS} groups and datasets`);
    const { pages, heaps } = this.shared;
    const what = path === "" ? "the root group" : path;
    const messages = await readHeader(pages, address, what);
    if (isDataset(messages)) {
      this.file.leaves.set(path, await this.leaf(() => readAttributes(pages, heaps, messages, what).then((attributes) => describe(messages, path, attributes))));
      return [];
    }
    if (!isGroup(messages)) {
      if (path === "") throw damaged("its root is no group");
      this.file.leaves.set(path, { refusal: "is neither a group nor a dataset" });
      return [];
    }
    // A group that is reached on a second way may be one that holds itself.
    if (this.seen.has(address)) throw damaged(`${what} is a group that has another name, too`);
    this.seen.add(address);
    const attributes = await readAttributes(pages, heaps, messages, what);
    const links = await readLinks(pages, messages, what);
    this.file.groups.set(path, { attributes, names: links.map(({ name }) => name).sort() });
    return links.map(({ name, address }) => ({ path: path === "" ? name : `${path}/${name}`, address }));
  }

  private async leaf(about: () => Promise<ReturnType<typeof describe>>): Promise<Leaf> {
    try {
      return new FileDataset(this.shared, await about());
    } catch (error) {
      if (error instanceof Unsupported) return { refusal: error.message };
      throw error;
    }
  }
}
