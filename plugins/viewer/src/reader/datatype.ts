// What the values of a dataset or an attribute are.
import type { Dtype } from "./api";
import { Cursor } from "./cursor";
import { damaged, Unsupported } from "./flaw";

/** Values of a type: how many bytes each has in the file, and how they are read. */
export interface Type {
  readonly dtype: Dtype;
  /** Bytes of a value; of texts of any length those of the reference to one. */
  readonly width: number;
  readonly swapped: boolean;
  /** Texts stand in a heap, and values refer to them. */
  readonly referring: boolean;
  /** Texts of a fixed length are filled up with spaces rather than zeros. */
  readonly spaces: boolean;
}

const CLASSES = ["integer", "floating-point", "time", "text", "bit field", "opaque", "compound", "reference", "enumeration", "list", "array", "complex"];
const MOST_WIDTH = 1 << 24;
/** Of a float's bytes: where the exponent stands, its bits, where the mantissa stands, its bits, the bias. */
const IEEE: Readonly<Record<number, readonly number[]>> = { 2: [10, 5, 0, 10, 15], 4: [23, 8, 0, 23, 127], 8: [52, 11, 0, 52, 1023] };

/** Raises `Unsupported` for a type that is none of numbers and texts. */
export function readType(cursor: Cursor, depth = 0): Type {
  const head = cursor.u8();
  const bits = cursor.uint(3);
  const width = cursor.u32();
  if (width === 0 || width > MOST_WIDTH) throw damaged(`the values of ${cursor.what} claim ${width} bytes each`);
  switch (head & 15) {
    case 0: return integer(cursor, bits, width);
    case 1: return float(cursor, bits, width);
    case 3: return { dtype: "text", width, swapped: false, referring: false, spaces: (bits & 15) === 2 };
    case 8: if (depth === 0) return readType(cursor, 1); break;
    case 9: if ((bits & 15) === 1 && width === 16) return { dtype: "text", width, swapped: false, referring: true, spaces: false };
  }
  throw new Unsupported(`has values of the ${CLASSES[head & 15] ?? "unknown"} type, which is not read`);
}

function integer(cursor: Cursor, bits: number, width: number): Type {
  const [offset, precision] = [cursor.u16(), cursor.u16()];
  if (![1, 2, 4, 8].includes(width) || offset !== 0 || precision !== width * 8) throw new Unsupported(`has integers of ${precision} bits in ${width} bytes, which are not read`);
  const dtype = `${bits & 8 ? "int" : "uint"}${precision}` as Dtype;
  return { dtype, width, swapped: (bits & 1) !== 0 && width > 1, referring: false, spaces: false };
}

function float(cursor: Cursor, bits: number, width: number): Type {
  const [offset, precision] = [cursor.u16(), cursor.u16()];
  const form = [cursor.u8(), cursor.u8(), cursor.u8(), cursor.u8(), cursor.u32()];
  const known = offset === 0 && precision === width * 8 && (bits & 0x40) === 0 && IEEE[width]?.every((value, i) => value === form[i]);
  if (!known) throw new Unsupported(`has floating-point values of ${precision} bits that are not those of IEEE, which are not read`);
  return { dtype: `float${precision}` as Dtype, width, swapped: (bits & 1) !== 0, referring: false, spaces: false };
}
