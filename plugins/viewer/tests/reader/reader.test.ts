import { describe, expect, test } from "vitest";
import { FileProblem } from "../../src/reader/api";
import { openHdf5 } from "../../src/reader/hdf5";
import { toNumbers } from "../../src/reader/numbers";
import { readSlab } from "../../src/reader/slabs";
import { bytesSource, fileSource } from "../../src/reader/source";
import { unpack } from "../../src/reader/unpack";
import { unzstd } from "../../src/reader/zstd";

const float16 = { dtype: "float16", width: 2, swapped: false, referring: false, spaces: false } as const;

describe("numbers", () => {
  test("half-precision numbers are exact", () => {
    const halves = Uint16Array.of(0, 0x8000, 1, 0x3ff, 0x400, 0x3c00, 0xc000, 0x7bff, 0x7c00, 0xfc00, 0x7e00);
    const numbers = toNumbers(new Uint8Array(halves.buffer), float16);
    expect(Array.from(numbers as Float32Array)).toEqual([0, -0, 2 ** -24, 1023 * 2 ** -24, 2 ** -14, 1, -2, 65504, Infinity, -Infinity, NaN]);
  });

  test("64-bit integers keep all their digits, in either order of bytes", () => {
    const int64 = { dtype: "uint64", width: 8, swapped: true, referring: false, spaces: false } as const;
    expect(toNumbers(Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 254), int64)).toEqual(BigUint64Array.of(2n ** 64n - 2n));
  });
});

describe("ranges", () => {
  const bytes = Uint8Array.from({ length: 1 << 18 }, (_, i) => (i * 7) & 255);

  test("rows that are near each other come by one request, others by their own", async () => {
    for (const [gap, requests] of [[1 << 16, 1], [8, 100]] as const) {
      const source = { ...bytesSource("x", bytes), size: bytes.length, gap };
      let made = 0;
      const read = async (offset: number, length: number): Promise<Uint8Array> => {
        made += 1;
        return bytes.slice(offset, offset + length);
      };
      const found = await readSlab(source, read, 100, 1, [100, 1000], { start: [0, 3], count: [100, 5] });
      const expected = Array.from({ length: 100 }, (_, row) => Array.from(bytes.subarray(103 + row * 1000, 108 + row * 1000))).flat();
      expect([Array.from(found), made]).toEqual([expected, requests]);
    }
  });

  test("the head comes by one request, and what is fresh is read again", async () => {
    const source = fileSource(new Blob([bytes]), "x.h5");
    await source.read(0, 10);
    await source.read(60000, 100);
    expect([source.requests, source.received]).toEqual([1, 1 << 16]);
    await source.read(1 << 16, 4);
    await source.fresh(0, 4);
    expect(source.requests).toBe(3);
    await expect(source.read(bytes.length - 3, 4)).rejects.toThrow(FileProblem);
  });
});

describe("packed bytes", () => {
  const foxes = Uint8Array.from(Buffer.from("KLUv/WDoAr0BAOQCdGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVyIDEwMDAgbGF6eSBkb2dzIAEAvh0rVQY=", "base64"));

  test("Zstandard is unpacked", () => {
    const out = new Uint8Array(2000);
    expect(unzstd(foxes, out)).toBe(1000);
    expect(new TextDecoder().decode(out.subarray(0, 1000))).toBe("the quick brown fox jumps over 1000 lazy dogs ".repeat(22).slice(0, 1000));
    expect(() => unzstd(foxes, new Uint8Array(999))).toThrow(RangeError);
  });

  test("what is no Zstandard ends at once", () => {
    // 98,303 sequences that would each copy 65,539 bytes, out of no bits at all.
    const endless = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x20, 100, 0x4d, 0, 0, 0, 255, 255, 255, 0x54, 0, 0, 52, 1);
    const begin = performance.now();
    for (const bytes of [endless, foxes.subarray(0, 40), foxes.subarray(1), Uint8Array.of(1, 2, 3, 4, 5)]) {
      expect(() => unzstd(bytes, new Uint8Array(100))).toThrow(RangeError);
    }
    expect(performance.now() - begin).toBeLessThan(1000);
  });

  test("a chunk that unpacks to too much or too little is damaged", async () => {
    const packed = new Uint8Array(await new Response(new Blob([new Uint8Array(1000)]).stream().pipeThrough(new CompressionStream("deflate"))).arrayBuffer());
    const gzip = [{ id: 1, values: [] }];
    expect((await unpack(packed, gzip, 0, 1000, "x")).length).toBe(1000);
    for (const room of [900, 1100]) await expect(unpack(packed, gzip, 0, room, "x")).rejects.toThrow("it is damaged: a chunk of x");
  });
});

describe("files that are none", () => {
  test.each([
    [new Uint8Array(0), "x.h5: it is no HDF5 file, or is truncated: it is empty"],
    [new Uint8Array(100), "x.h5: it is no HDF5 file"],
    [Uint8Array.from("\x89HDF\r\n\x1a\n\x09", (letter) => letter.charCodeAt(0)), "x.h5: it is damaged: its superblock has the version 9"],
  ])("%#", async (bytes, message) => {
    await expect(openHdf5(bytesSource("x.h5", bytes))).rejects.toThrow(message);
  });
});
