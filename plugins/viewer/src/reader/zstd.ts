// Zstandard (RFC 8878), unpacked into memory of a known size. Whatever the bytes are, the work is bounded by that size.
import { BackwardBits, decodeStream, type Huffman, oneState, readHuffman, readStates, type States, statesOf } from "./entropy";

const MAGIC = 0xfd2fb528;
const SKIPPED = 0x184d2a5;
const MOST_BLOCK = 1 << 17;
const SHORT = 24;

const LENGTH_BITS = [...new Array<number>(16).fill(0), 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
const MATCH_BITS = [...new Array<number>(32).fill(0), 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
/** What each code begins at: where the one before it ends. */
const begins = (bits: readonly number[], first: number): number[] => bits.map((_, code) => bits.slice(0, code).reduce((sum, own) => sum + 2 ** own, first));
const LENGTH_BEGIN = begins(LENGTH_BITS, 0);
const MATCH_BEGIN = begins(MATCH_BITS, 3);

const times = (count: number, value: number): number[] => new Array<number>(count).fill(value);
/** Of lengths of literals, of offsets, of lengths of matches: the usual states, and what a table of others may have. */
const USUAL = [
  { states: statesOf([4, 3, ...times(11, 2), 1, 1, 1, ...times(9, 2), 3, 2, ...times(5, 1), ...times(4, -1)], 6), log: 9, symbols: 36 },
  { states: statesOf([...times(6, 1), 2, 2, 2, ...times(15, 1), ...times(5, -1)], 5), log: 8, symbols: 32 },
  { states: statesOf([1, 4, 3, ...times(6, 2), ...times(37, 1), ...times(7, -1)], 6), log: 9, symbols: 53 },
] as const;

/** What blocks of a frame have in common. */
interface Frame {
  readonly out: Uint8Array;
  /** Where the frame begins in `out`, and what is next. */
  readonly begin: number;
  at: number;
  huffman: Huffman | undefined;
  tables: (States | undefined)[];
  readonly repeated: [number, number, number];
}

/** Unpack into `out`; how many bytes came. Raises an error for bytes that are no Zstandard, or more than fit. */
export function unzstd(bytes: Uint8Array, out: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let filled = 0;
  for (let at = 0; at < bytes.length; ) {
    const magic = view.getUint32(at, true);
    if (magic >>> 4 === SKIPPED) {
      at += 8 + view.getUint32(at + 4, true);
    } else {
      if (magic !== MAGIC) throw new RangeError("no Zstandard");
      const frame: Frame = { out, begin: filled, at: filled, huffman: undefined, tables: [], repeated: [1, 4, 8] };
      at = readFrame(bytes, at + 4, frame);
      filled = frame.at;
    }
  }
  return filled;
}

/** Unpack a frame whose header is at a place; where it ends. */
function readFrame(bytes: Uint8Array, from: number, frame: Frame): number {
  const flags = bytes[from]!;
  const alone = (flags & 0x20) !== 0;
  const sizeBytes = flags >> 6 === 0 ? (alone ? 1 : 0) : 1 << (flags >> 6);
  if (flags & 0x0b) throw new RangeError("a dictionary");
  let at = from + (alone ? 1 : 2);
  let size = flags >> 6 === 1 ? 256 : 0;
  for (let i = 0; i < sizeBytes; i++) size += (bytes[at + i] ?? 0) * 2 ** (8 * i);
  at += sizeBytes;
  for (let last = false; !last; ) {
    if (at + 3 > bytes.length) throw new RangeError("no last block");
    const head = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16);
    last = (head & 1) !== 0;
    at = readBlock(bytes, at + 3, (head >> 1) & 3, head >> 3, frame);
  }
  if (sizeBytes > 0 && frame.at - frame.begin !== size) throw new RangeError("another size");
  return at + (flags & 4 ? 4 : 0); // the checksum is not compared
}

function readBlock(bytes: Uint8Array, from: number, kind: number, size: number, frame: Frame): number {
  const end = from + (kind === 1 ? 1 : size);
  if (size > MOST_BLOCK || end > bytes.length) throw new RangeError("a block without an end");
  if (kind === 0) put(frame, bytes.subarray(from, end));
  else if (kind === 1) put(frame, new Uint8Array(size).fill(bytes[from]!));
  else if (kind === 2) readPacked(bytes.subarray(from, end), frame);
  else throw new RangeError("an unknown kind of block");
  return end;
}

function put(frame: Frame, bytes: Uint8Array): void {
  if (bytes.length > frame.out.length - frame.at) throw new RangeError("more than fits");
  frame.out.set(bytes, frame.at);
  frame.at += bytes.length;
}

/** A few bytes are copied faster one by one. */
function putShort(frame: Frame, bytes: Uint8Array, from: number, count: number): void {
  const { out, at } = frame;
  if (count > out.length - at) throw new RangeError("more than fits");
  for (let i = 0; i < count; i++) out[at + i] = bytes[from + i]!;
  frame.at = at + count;
}

function readPacked(block: Uint8Array, frame: Frame): void {
  const { literals, end } = readLiterals(block, frame);
  const head = block[end];
  if (head === undefined) throw new RangeError("no sequences");
  let at = end + 1;
  let count = head;
  if (head === 255) {
    count = (block[at] ?? 0) + ((block[at + 1] ?? 0) << 8) + 0x7f00;
    at += 2;
  } else if (head > 127) {
    count = ((head - 128) << 8) + (block[at] ?? 0);
    at += 1;
  }
  if (count === 0) return put(frame, literals);
  const tables = readTables(block, at, frame);
  runSequences(new BackwardBits(block.subarray(tables.end)), count, literals, frame);
}

function readLiterals(block: Uint8Array, frame: Frame): { literals: Uint8Array; end: number } {
  const head = block[0] ?? 0;
  const [kind, form] = [head & 3, (head >> 2) & 3];
  const packed = kind > 1;
  const headBytes = packed ? (form < 2 ? 3 : form + 2) : [1, 2, 1, 3][form]!;
  let rest = 0;
  for (let i = headBytes - 1; i >= 0; i--) rest = rest * 256 + (block[i] ?? 0);
  if (!packed) {
    const size = Math.floor(rest / (form & 1 ? 16 : 8));
    const end = headBytes + (kind === 0 ? size : 1);
    if (size > MOST_BLOCK || end > block.length) throw new RangeError("literals without an end");
    return { literals: kind === 0 ? block.subarray(headBytes, end) : new Uint8Array(size).fill(block[headBytes]!), end };
  }
  const room = 2 ** [10, 10, 14, 18][form]!;
  rest = Math.floor(rest / 16);
  const [size, stored] = [rest % room, Math.floor(rest / room)];
  const end = headBytes + stored;
  if (size > MOST_BLOCK || end > block.length) throw new RangeError("literals without an end");
  let at = headBytes;
  if (kind === 2) {
    const read = readHuffman(block.subarray(0, end), at);
    frame.huffman = read.code;
    at = read.end;
  }
  if (frame.huffman === undefined) throw new RangeError("no code to repeat");
  const literals = new Uint8Array(size);
  decodeStreams(block.subarray(at, end), frame.huffman, form === 0, literals);
  return { literals, end };
}

/** Literals in one stream or in four. */
function decodeStreams(bytes: Uint8Array, code: Huffman, one: boolean, out: Uint8Array): void {
  if (one) return decodeStream(bytes, code, out);
  const quarter = (out.length + 3) >> 2;
  if (bytes.length < 6 || quarter * 3 > out.length) throw new RangeError("streams without an end");
  let at = 6;
  for (let i = 0; i < 4; i++) {
    const end = i < 3 ? at + bytes[2 * i]! + (bytes[2 * i + 1]! << 8) : bytes.length;
    decodeStream(bytes.subarray(at, end), code, out.subarray(i * quarter, i < 3 ? (i + 1) * quarter : out.length));
    at = end;
  }
}

/** The states of a block's sequences, into the frame; where their description ends. */
function readTables(block: Uint8Array, from: number, frame: Frame): { end: number } {
  const modes = block[from] ?? 3;
  if (modes & 3) throw new RangeError("an unknown mode");
  let end = from + 1;
  frame.tables = USUAL.map(({ states, log, symbols }, i) => {
    const mode = (modes >> (6 - 2 * i)) & 3;
    if (mode === 0) return states;
    if (mode === 3) return frame.tables[i];
    if (mode === 1) {
      const symbol = block[end++] ?? 255;
      if (symbol >= symbols) throw new RangeError("an unknown symbol");
      return oneState(symbol);
    }
    const read = readStates(block, end, log, symbols);
    end = read.end;
    return read.states;
  });
  return { end };
}

function runSequences(stream: BackwardBits, count: number, literals: Uint8Array, frame: Frame): void {
  const [lengths, offsets, matches] = frame.tables;
  if (lengths === undefined || offsets === undefined || matches === undefined) throw new RangeError("no table to repeat");
  let [length, offset, match] = [stream.take(lengths.log), stream.take(offsets.log), stream.take(matches.log)];
  let used = 0;
  for (let i = 0; i < count; i++) {
    const code = offsets.symbol[offset]!;
    const far = 2 ** code + stream.take(code);
    const matchCode = matches.symbol[match]!;
    const matchLength = MATCH_BEGIN[matchCode]! + stream.take(MATCH_BITS[matchCode]!);
    const lengthCode = lengths.symbol[length]!;
    const plain = LENGTH_BEGIN[lengthCode]! + stream.take(LENGTH_BITS[lengthCode]!);
    if (i + 1 < count) {
      length = lengths.base[length]! + stream.take(lengths.bits[length]!);
      match = matches.base[match]! + stream.take(matches.bits[match]!);
      offset = offsets.base[offset]! + stream.take(offsets.bits[offset]!);
    }
    if (plain > literals.length - used) throw new RangeError("too few literals");
    if (plain > SHORT) put(frame, literals.subarray(used, used + plain));
    else putShort(frame, literals, used, plain);
    used += plain;
    repeat(frame, distance(far, plain === 0, frame.repeated), matchLength);
  }
  if (stream.left !== 0) throw new RangeError("bits that are left");
  put(frame, literals.subarray(used));
}

/** How far back a match is: small numbers mean one of the last three distances. */
function distance(far: number, noLiterals: boolean, last: [number, number, number]): number {
  const which = far > 3 ? 3 : far - 1 + (noLiterals ? 1 : 0);
  const back = far > 3 ? far - 3 : which === 3 ? last[0] - 1 : last[which]!;
  if (which > 1) last[2] = last[1];
  if (which > 0) [last[0], last[1]] = [back, last[0]];
  return back;
}

function repeat(frame: Frame, back: number, length: number): void {
  const { out, at } = frame;
  if (back < 1 || back > at - frame.begin || length > out.length - at) throw new RangeError("a match outside");
  if (back >= length && length > SHORT) out.copyWithin(at, at - back, at - back + length);
  else for (let i = at; i < at + length; i++) out[i] = out[i - back]!;
  frame.at += length;
}
