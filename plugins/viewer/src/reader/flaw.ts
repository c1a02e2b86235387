// What parsing finds wrong, before the file's name is put in front of it.
import { FileProblem } from "./api";

/** Something wrong with the file's bytes, in words that follow its name. */
export class Flaw extends Error {}

/** A file that HDF5 can read and this reader cannot: only what uses the feature is refused. */
export class Unsupported extends Flaw {}

export const damaged = (what: string): Flaw => new Flaw(`it is damaged: ${what}`);
export const truncated = (what: string): Flaw => new Flaw(`it is truncated: ${what}`);

/** What the work gives; a flaw becomes a problem that names the file. */
export async function naming<T>(name: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Flaw) throw new FileProblem(`${name}: ${error.message}`);
    // Of numbers that a file claims, some are beyond what an array can have.
    if (error instanceof RangeError) throw new FileProblem(`${name}: it is damaged: ${error.message}`);
    throw error;
  }
}
