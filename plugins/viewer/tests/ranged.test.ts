import { expect, test } from "vitest";
import { bytesSource } from "../src/reader/source";
import { HEAD } from "../src/reader/ranged";

test("what is held comes with one request, until something is read afresh", async () => {
  const bytes = Uint8Array.from({ length: 3 * HEAD }, (_, place) => (place * 7) % 251);
  const source = bytesSource("held.h5", bytes);
  await source.read(0, 8);
  await source.hold?.(2 * HEAD + 5);
  for (const [offset, length] of [[0, 9], [HEAD - 3, 10], [2 * HEAD, 5]] as const) {
    expect(await source.read(offset, length)).toEqual(bytes.slice(offset, offset + length));
  }
  expect([source.requests, source.received]).toEqual([2, 2 * HEAD + 5]);
  await source.hold?.(HEAD);
  expect(source.requests).toBe(2);
  await source.read(2 * HEAD, 6);
  expect(source.requests).toBe(3);
  await source.fresh(0, 4);
  await source.read(HEAD, 4);
  expect(source.requests).toBe(5);
  await expect(source.hold?.(3 * HEAD + 1)).rejects.toThrow("held.h5: it is truncated");
});
