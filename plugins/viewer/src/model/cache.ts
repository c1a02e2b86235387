// What was read last stays in memory, up to a number of bytes: scrubbing back must not read again.

export class Cache {
  #held = new Map<string, Float32Array>();
  #bytes = 0;

  /** most: bytes that are held in all. */
  constructor(readonly most: number) {}

  get(key: string): Float32Array | undefined {
    const found = this.#held.get(key);
    if (found !== undefined) {
      // A map keeps the order in which keys came: what was used last stands last.
      this.#held.delete(key);
      this.#held.set(key, found);
    }
    return found;
  }

  set(key: string, values: Float32Array): void {
    if (values.byteLength > this.most / 2) return;
    this.#bytes += values.byteLength - (this.#held.get(key)?.byteLength ?? 0);
    this.#held.delete(key);
    this.#held.set(key, values);
    for (const [oldest, old] of this.#held) {
      if (this.#bytes <= this.most) break;
      this.#held.delete(oldest);
      this.#bytes -= old.byteLength;
    }
  }

  get bytes(): number {
    return this.#bytes;
  }
}
