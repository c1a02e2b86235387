// What reads bytes, and what reads HDF5 from them. Nothing here knows of pages or of diffusion.

/** Bytes that are read in ranges: a file from the disk, an address, or what stands inside the page. */
export interface Source {
  /** The file's name, without a folder. */
  readonly name: string;
  /** Bytes in all, when it was opened. */
  readonly size: number;
  /** Exactly `length` bytes from `offset` on. Raises `FileProblem` where they cannot be had. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** The same, without what was read before: for files that a run still writes. */
  fresh(offset: number, length: number): Promise<Uint8Array>;
  /** Keep the first `end` bytes, for what is read soon; they come with one request. Left out where reading costs none. */
  hold?(end: number): Promise<void>;
  /** How often bytes were requested, and how many came: what a test and the page's "about" state. */
  readonly requests: number;
  readonly received: number;
  /** Bytes that are sooner read than a further request is made; 64 KiB where it is not said. */
  readonly gap?: number;
}

/** What is wrong with a file, in one line that names it and says what to do. */
export class FileProblem extends Error {
  override readonly name = "FileProblem";
}

export type Dtype =
  | "float16" | "float32" | "float64"
  | "int8" | "int16" | "int32" | "int64"
  | "uint8" | "uint16" | "uint32" | "uint64"
  | "text";

/** Numbers as they come: 64-bit integers as bigint arrays, float16 as float32, all exact. */
export type Numbers =
  | Float32Array | Float64Array
  | Int8Array | Int16Array | Int32Array | BigInt64Array
  | Uint8Array | Uint16Array | Uint32Array | BigUint64Array;

export type Attribute = string | number | bigint | readonly (string | number | bigint)[];

export interface Dataset {
  readonly path: string;
  readonly shape: readonly number[];
  readonly dtype: Dtype;
  readonly attributes: Readonly<Record<string, Attribute>>;
  readonly layout: "contiguous" | "chunked" | "compact";
  /** Where a contiguous one stands in the file, so that a view of many rows can plan its reads; undefined otherwise. */
  readonly offset: number | undefined;
  /** Numbers from `start`, `count` of them on each axis, row-major. Both left out: everything. */
  read(start?: readonly number[], count?: readonly number[], fresh?: boolean): Promise<Numbers>;
  /** Texts, where `dtype` is "text". */
  texts(): Promise<string[]>;
}

export interface Hdf5 {
  readonly source: Source;
  /** Attributes of a group; of the root with "". */
  attributes(group: string): Readonly<Record<string, Attribute>>;
  /** Names of what is in a group, sorted; empty where there is no such group. */
  names(group: string): readonly string[];
  has(path: string): boolean;
  /** Raises `FileProblem` where there is none. */
  dataset(path: string): Dataset;
}
