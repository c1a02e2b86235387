// The two codes of Zstandard (RFC 8878): tables of a finite state machine, and of Huffman's; and the bits they are read from.

/** Bits that are read from the end of some bytes to their beginning, as Zstandard writes them. */
export class BackwardBits {
  /** Bits that are left; below zero where more were taken. */
  left: number;

  /** The highest bit of the last byte marks the end. */
  constructor(readonly bytes: Uint8Array) {
    const last = bytes[bytes.length - 1];
    if (!last) throw new RangeError("bits without an end");
    this.left = bytes.length * 8 - Math.clz32(last) + 23;
  }

  /** The next bits, at most 24; zeros where none are left. They are not taken. */
  peek(count: number): number {
    const at = this.left - count;
    if (at < 0) return at <= -count ? 0 : this.at(0, this.left) << -at;
    return this.at(at, count);
  }

  take(count: number): number {
    if (count > 16) {
      const high = this.take(count - 16);
      return high * 65536 + this.take(16);
    }
    const value = this.peek(count);
    this.left -= count;
    if (this.left < 0) throw new RangeError("too few bits");
    return value;
  }

  private at(bit: number, count: number): number {
    const { bytes } = this;
    const byte = bit >> 3;
    const word = bytes[byte]! | (bytes[byte + 1]! << 8) | (bytes[byte + 2]! << 16) | (bytes[byte + 3]! << 24);
    return (word >>> (bit & 7)) & ((1 << count) - 1);
  }
}

/** Of each state: its symbol, how many bits lead on, and to which state at least. */
export interface States { readonly log: number; readonly symbol: Uint8Array; readonly bits: Uint8Array; readonly base: Uint16Array }

/** The states for numbers of symbols; -1 is a symbol that is rarer than one in all. */
export function statesOf(counts: readonly number[], log: number): States {
  const size = 1 << log;
  const [symbol, bits, base] = [new Uint8Array(size), new Uint8Array(size), new Uint16Array(size)];
  let high = size - 1;
  counts.forEach((count, value) => {
    if (count === -1) symbol[high--] = value;
  });
  let at = 0;
  const step = (size >> 1) + (size >> 3) + 3;
  counts.forEach((count, value) => {
    for (let i = 0; i < count; i++) {
      symbol[at] = value;
      do at = (at + step) & (size - 1);
      while (at > high);
    }
  });
  const next = counts.map(Math.abs);
  for (let state = 0; state < size; state++) {
    const value = symbol[state]!;
    const number = next[value]!;
    next[value] = number + 1;
    bits[state] = log - (31 - Math.clz32(number));
    base[state] = (number << bits[state]!) - size;
  }
  return { log, symbol, bits, base };
}

/** States of one symbol. */
export function oneState(symbol: number): States {
  return { log: 0, symbol: Uint8Array.of(symbol), bits: new Uint8Array(1), base: new Uint16Array(1) };
}

/** The description of states at a place: they, and where it ends. */
export function readStates(bytes: Uint8Array, from: number, mostLog: number, mostSymbols: number): { states: States; end: number } {
  let bit = from * 8;
  const peek = (count: number): number => {
    const at = bit >> 3;
    return (((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16)) >> (bit & 7)) & ((1 << count) - 1);
  };
  const log = peek(4) + 5;
  bit += 4;
  if (log > mostLog) throw new RangeError("a table that is too large");
  const counts: number[] = [];
  for (let rest = 1 << log; rest > 0; ) {
    if (counts.length >= mostSymbols || bit > bytes.length * 8) throw new RangeError("a table without an end");
    const width = 32 - Math.clz32(rest + 1);
    const small = (1 << (width - 1)) - 1;
    const spare = (1 << width) - 2 - rest;
    let value = peek(width);
    if ((value & small) < spare) {
      value &= small;
      bit += width - 1;
    } else {
      if (value > small) value -= spare;
      bit += width;
    }
    counts.push(value - 1);
    rest -= Math.abs(value - 1);
    if (value !== 1) continue;
    for (let zeros = 3; zeros === 3 && counts.length <= mostSymbols; bit += 2) {
      zeros = peek(2);
      for (let i = 0; i < zeros; i++) counts.push(0);
    }
  }
  const end = (bit + 7) >> 3;
  const sum = counts.reduce((total, count) => total + Math.abs(count), 0);
  if (end > bytes.length || counts.length > mostSymbols || sum !== 1 << log) throw new RangeError("a table that does not add up");
  return { states: statesOf(counts, log), end };
}

/** Of each next `width` bits: the symbol that they begin with, and how many of them it takes. */
export interface Huffman { readonly width: number; readonly symbol: Uint8Array; readonly bits: Uint8Array }

const MOST_WIDTH = 11;

/** The description of a Huffman code at a place: the code, and where it ends. */
export function readHuffman(bytes: Uint8Array, from: number): { code: Huffman; end: number } {
  const head = bytes[from] ?? 0;
  if (head < 128) {
    const end = from + 1 + head;
    if (end > bytes.length) throw new RangeError("a code without an end");
    return { code: huffmanOf(packedWeights(bytes.subarray(0, end), from + 1)), end };
  }
  const count = head - 127;
  const end = from + 1 + ((count + 1) >> 1);
  if (end > bytes.length) throw new RangeError("a code without an end");
  const weights = Array.from({ length: count }, (_, i) => (bytes[from + 1 + (i >> 1)]! >> (i & 1 ? 0 : 4)) & 15);
  return { code: huffmanOf(weights), end };
}

/** Decode symbols of a Huffman code until `out` is full, which must be where the bits end. */
export function decodeStream(bytes: Uint8Array, { width, symbol, bits }: Huffman, out: Uint8Array): void {
  const stream = new BackwardBits(bytes);
  const mask = (1 << width) - 1;
  let left = stream.left;
  let i = 0;
  // Two symbols have at most 22 bits, and a word holds 24 wherever it begins.
  for (const last = out.length - 1; i < last && left >= 24; i += 2) {
    const at = left - 24;
    const byte = at >> 3;
    const word = (bytes[byte]! | (bytes[byte + 1]! << 8) | (bytes[byte + 2]! << 16) | (bytes[byte + 3]! << 24)) >>> (at & 7);
    const one = (word >>> (24 - width)) & mask;
    const two = (word >>> (24 - width - bits[one]!)) & mask;
    out[i] = symbol[one]!;
    out[i + 1] = symbol[two]!;
    left -= bits[one]! + bits[two]!;
  }
  stream.left = left;
  for (; i < out.length; i++) {
    const next = stream.peek(width);
    out[i] = symbol[next]!;
    stream.left -= bits[next]!;
  }
  if (stream.left !== 0) throw new RangeError("bits that are left");
}

function packedWeights(bytes: Uint8Array, from: number): number[] {
  const { states, end } = readStates(bytes, from, 6, 256);
  const stream = new BackwardBits(bytes.subarray(end));
  const weights: number[] = [];
  const state = [stream.take(states.log), stream.take(states.log)];
  for (let turn = 0; ; turn ^= 1) {
    const at = state[turn]!;
    weights.push(states.symbol[at]!);
    if (weights.length > 255) throw new RangeError("a code of too many symbols");
    if (stream.left < states.bits[at]!) {
      weights.push(states.symbol[state[turn ^ 1]!]!);
      return weights;
    }
    state[turn] = states.base[at]! + stream.take(states.bits[at]!);
  }
}

function huffmanOf(weights: number[]): Huffman {
  const total = weights.reduce((sum, weight) => sum + (weight > 0 ? 2 ** (weight - 1) : 0), 0);
  if (weights.length > 255 || total === 0 || total >= 1 << MOST_WIDTH) throw new RangeError("a code that does not add up");
  const width = 32 - Math.clz32(total);
  const rest = (1 << width) - total;
  // The last symbol takes what is left, which is a power of two.
  if ((rest & (rest - 1)) !== 0) throw new RangeError("a code that does not add up");
  const all = [...weights, 32 - Math.clz32(rest)];
  const [symbol, bits] = [new Uint8Array(1 << width), new Uint8Array(1 << width)];
  let at = 0;
  for (let weight = 1; weight <= width; weight++) {
    all.forEach((own, value) => {
      if (own !== weight) return;
      symbol.fill(value, at, at + (1 << (weight - 1)));
      bits.fill(width + 1 - weight, at, at + (1 << (weight - 1)));
      at += 1 << (weight - 1);
    });
  }
  return { width, symbol, bits };
}
