// Bytes as numbers and texts.
import type { Numbers } from "./api";
import { decode, untilZero } from "./cursor";
import type { Type } from "./datatype";

/** The bits of each half-precision number in single precision: all of them are exact. */
let halves: Uint32Array | undefined;

function tableOfHalves(): Uint32Array {
  const table = new Uint32Array(1 << 16);
  for (let bits = 0; bits < 1 << 16; bits++) {
    const sign = (bits & 0x8000) << 16;
    let exponent = (bits >> 10) & 31;
    let mantissa = bits & 1023;
    if (exponent === 31) table[bits] = sign | 0x7f800000 | (mantissa << 13);
    else if (exponent === 0 && mantissa === 0) table[bits] = sign;
    else {
      if (exponent === 0) {
        // A subnormal number has no leading one in half precision, and has one in single.
        exponent = 1;
        for (; (mantissa & 1024) === 0; mantissa <<= 1) exponent -= 1;
        mantissa &= 1023;
      }
      table[bits] = sign | ((exponent + 112) << 23) | (mantissa << 13);
    }
  }
  return table;
}

function fromHalves(bytes: Uint8Array): Float32Array {
  const from = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 1);
  const out = new Uint32Array(from.length);
  const table = (halves ??= tableOfHalves());
  for (let i = 0; i < from.length; i++) out[i] = table[from[i]!]!;
  return new Float32Array(out.buffer);
}

function swap(bytes: Uint8Array, width: number): void {
  for (let at = 0; at + width <= bytes.length; at += width) bytes.subarray(at, at + width).reverse();
}

/** Numbers of bytes that are the caller's own: where they can be, they become the numbers' memory. */
export function toNumbers(own: Uint8Array, type: Type): Numbers {
  const bytes = own.byteOffset % 8 === 0 ? own : own.slice();
  if (type.swapped) swap(bytes, type.width);
  const { buffer, byteOffset: at, byteLength } = bytes;
  const count = Math.floor(byteLength / type.width);
  switch (type.dtype) {
    case "float16": return fromHalves(bytes);
    case "float32": return new Float32Array(buffer, at, count);
    case "float64": return new Float64Array(buffer, at, count);
    case "int8": return new Int8Array(buffer, at, count);
    case "int16": return new Int16Array(buffer, at, count);
    case "int32": return new Int32Array(buffer, at, count);
    case "int64": return new BigInt64Array(buffer, at, count);
    case "uint16": return new Uint16Array(buffer, at, count);
    case "uint32": return new Uint32Array(buffer, at, count);
    case "uint64": return new BigUint64Array(buffer, at, count);
    default: return bytes;
  }
}

/** Bytes that one value has as a number here. */
export const numberWidth = (type: Type): number => (type.dtype === "float16" ? 4 : type.width);

/** A text of a fixed length, without what fills it up. */
export function fixedText(bytes: Uint8Array, type: Type, what: string): string {
  const text = decode(untilZero(bytes), `a text of ${what}`);
  return type.spaces ? text.replace(/ +$/, "") : text;
}
