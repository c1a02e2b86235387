// What all sources of bytes share.
import { FileProblem, type Source } from "./api";

/** Bytes of the head, which one request brings: runs keep all that describes a file in them. */
export const HEAD = 1 << 16;

/** A source that keeps the head, counts its requests, and says what is wrong in one line. */
export abstract class RangedSource implements Source {
  requests = 0;
  received = 0;
  abstract readonly name: string;
  abstract readonly size: number;
  /** Bytes that are sooner read than a further request is made. */
  abstract readonly gap: number;
  private head: Promise<Uint8Array> | undefined;
  private held = HEAD;

  /** The bytes, from where they are; raises `FileProblem`. Ranges are inside the file. */
  protected abstract fetch(offset: number, length: number): Promise<Uint8Array>;

  async read(offset: number, length: number): Promise<Uint8Array> {
    this.check(offset, length);
    const end = Math.min(this.held, this.size);
    if (offset + length > end) return this.counted(offset, length);
    this.head ??= this.counted(0, end);
    const head = this.head;
    try {
      return (await head).slice(offset, offset + length);
    } catch (error) {
      if (this.head === head) this.head = undefined;
      throw error;
    }
  }

  async fresh(offset: number, length: number): Promise<Uint8Array> {
    this.check(offset, length);
    // What was kept may be from before a commit that these bytes tell of.
    [this.head, this.held] = [undefined, HEAD];
    return this.counted(offset, length);
  }

  async hold(end: number): Promise<void> {
    this.check(0, end);
    if (end <= this.held) return;
    const head = await this.read(0, Math.min(this.held, this.size));
    const rest = await this.counted(head.length, end - head.length);
    const whole = new Uint8Array(end);
    whole.set(head);
    whole.set(rest, head.length);
    [this.head, this.held] = [Promise.resolve(whole), end];
  }

  /** Keep what came as the head, because opening needed it. */
  protected keep(head: Uint8Array): void {
    this.head = Promise.resolve(head);
  }

  /** Count what came of a request. */
  protected count(bytes: number): void {
    this.requests += 1;
    this.received += bytes;
  }

  private async counted(offset: number, length: number): Promise<Uint8Array> {
    if (length === 0) return new Uint8Array(0);
    const bytes = await this.fetch(offset, length);
    this.count(bytes.length);
    if (bytes.length !== length) throw new FileProblem(`${this.name}: it is truncated: bytes ${offset} to ${offset + length} are not all there`);
    return bytes;
  }

  private check(offset: number, length: number): void {
    if (!(Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0 && offset + length <= this.size)) {
      throw new FileProblem(`${this.name}: it is truncated: bytes ${offset} to ${offset + length} are wanted of ${this.size}`);
    }
  }
}
