// Bytes in ranges: of a file from the disk, of what stands inside the page, of an address.
import { FileProblem, type Source } from "./api";
import { RangedSource } from "./ranged";

export { urlSource } from "./http";

class BlobSource extends RangedSource {
  /** In Chromium a request takes as long as some 700 KB of a larger one. */
  readonly gap = 1 << 18;
  readonly size: number;

  constructor(private readonly blob: Blob, readonly name: string) {
    super();
    this.size = blob.size;
  }

  protected async fetch(offset: number, length: number): Promise<Uint8Array> {
    try {
      return new Uint8Array(await this.blob.slice(offset, offset + length).arrayBuffer());
    } catch {
      // Browsers refuse to read a file that is another one than when it was chosen.
      throw new FileProblem(`${this.name}: it cannot be read: it has changed on the disk, or was removed — drop it again`);
    }
  }
}

class BytesSource extends RangedSource {
  readonly gap = 256;
  readonly size: number;

  constructor(readonly name: string, private readonly bytes: Uint8Array) {
    super();
    this.size = bytes.length;
  }

  protected async fetch(offset: number, length: number): Promise<Uint8Array> {
    return this.bytes.slice(offset, offset + length);
  }
}

/** A file that was dropped or chosen, read where it is. */
export function fileSource(file: Blob & { readonly name?: string }, name: string = file.name ?? "file"): Source {
  return new BlobSource(file, name);
}

/** Bytes that are there already, as in a page with the data inside. */
export function bytesSource(name: string, bytes: Uint8Array): Source {
  return new BytesSource(name, bytes);
}
