// The first bytes of an HDF5 file: where its root group is, and how long the file should be.
import { Cursor } from "./cursor";
import { damaged, Flaw, truncated, Unsupported } from "./flaw";
import type { Pages } from "./pages";

const SIGNATURE = "\x89HDF\r\n\x1a\n";
const LENGTH = 96;

/** The address of the root group's header. Raises a flaw where this is no HDF5 file, or not all of it. */
export async function rootAddress(pages: Pages): Promise<number> {
  const size = pages.source.size;
  if (size === 0) throw new Flaw("it is no HDF5 file, or is truncated: it is empty");
  if (!(await signed(pages, 0))) {
    for (let at = 512; at + 8 <= Math.min(size, 1 << 15); at *= 2) {
      if (await signed(pages, at)) throw new Unsupported("it begins with a user block, which is not read");
    }
    throw new Flaw("it is no HDF5 file");
  }
  const cursor = new Cursor(await pages.bytes(0, Math.min(LENGTH, size), "its superblock"), "its superblock");
  cursor.skip(8);
  const version = cursor.version(0, 1, 2, 3);
  const { end, root } = version < 2 ? old(cursor, version) : recent(cursor);
  if (end === undefined || root === undefined) throw damaged("its superblock names no root group");
  if (end > size) throw truncated(`${end} bytes were written, ${size} are there`);
  return root;
}

interface Places { end: number | undefined; root: number | undefined }

function old(cursor: Cursor, version: number): Places {
  cursor.skip(4);
  widths(cursor);
  cursor.skip(version === 1 ? 13 : 9);
  base(cursor);
  cursor.skip(8); // free space
  const end = cursor.address();
  cursor.skip(16); // driver information; the name of the root
  return { end, root: cursor.address() };
}

function recent(cursor: Cursor): Places {
  widths(cursor);
  cursor.skip(1);
  base(cursor);
  cursor.skip(8); // extension
  return { end: cursor.address(), root: cursor.address() };
}

function widths(cursor: Cursor): void {
  const [offsets, lengths] = [cursor.u8(), cursor.u8()];
  if (offsets !== 8 || lengths !== 8) throw new Unsupported(`its addresses have ${offsets} bytes and its lengths ${lengths}; 8 are read`);
}

function base(cursor: Cursor): void {
  if (cursor.address() !== 0) throw new Unsupported("its addresses count from another place than its beginning");
}

async function signed(pages: Pages, at: number): Promise<boolean> {
  if (at + SIGNATURE.length > pages.source.size) return false;
  const bytes = await pages.bytes(at, SIGNATURE.length, "its signature");
  return [...SIGNATURE].every((letter, i) => bytes[i] === letter.charCodeAt(0));
}
