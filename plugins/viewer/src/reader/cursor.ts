// Little-endian numbers, one after the other, out of a piece of a file.
import { damaged } from "./flaw";

const TEXT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Text of bytes; raises a flaw where they are no UTF-8. */
export function decode(bytes: Uint8Array, what: string): string {
  try {
    return TEXT.decode(bytes);
  } catch {
    throw damaged(`${what} is no text`);
  }
}

export class Cursor {
  at = 0;
  private readonly view: DataView;

  /** `what` says in messages what the bytes are. */
  constructor(readonly bytes: Uint8Array, readonly what: string) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  private advance(count: number): number {
    if (count > this.left) throw damaged(`${this.what} ends too early`);
    const at = this.at;
    this.at += count;
    return at;
  }

  u8(): number {
    return this.view.getUint8(this.advance(1));
  }

  u16(): number {
    return this.view.getUint16(this.advance(2), true);
  }

  u32(): number {
    return this.view.getUint32(this.advance(4), true);
  }

  /** An unsigned number of 1 to 8 bytes that is exact. */
  uint(width: number): number {
    const at = this.advance(width);
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = value * 256 + this.bytes[at + i]!;
    if (value > Number.MAX_SAFE_INTEGER) throw damaged(`${this.what} claims ${value} bytes or values`);
    return value;
  }

  u64(): number {
    return this.uint(8);
  }

  /** A place in the file; undefined where nothing is there. */
  address(): number | undefined {
    const at = this.at;
    if (this.left >= 8 && this.bytes.subarray(at, at + 8).every((byte) => byte === 255)) {
      this.at += 8;
      return undefined;
    }
    return this.uint(8);
  }

  take(count: number): Uint8Array {
    const at = this.advance(count);
    return this.bytes.subarray(at, at + count);
  }

  skip(count: number): void {
    this.advance(count);
  }

  /** Raise a flaw where the next bytes are not this signature. */
  signature(text: string): void {
    const bytes = this.take(text.length);
    for (let i = 0; i < text.length; i++) if (bytes[i] !== text.charCodeAt(i)) throw damaged(`${this.what} is not where it should be`);
  }

  /** Raise a flaw where the next byte is none of these versions. */
  version(...known: number[]): number {
    const version = this.u8();
    if (!known.includes(version)) throw damaged(`${this.what} has the version ${version}`);
    return version;
  }
}

/** Bytes up to the first zero. */
export function untilZero(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}
