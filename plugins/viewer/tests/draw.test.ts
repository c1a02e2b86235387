import { beforeAll, describe, expect, it } from "vitest";
import { css, DIVERGING, GREY, legend, rangeOf, SEQUENTIAL } from "../src/draw/colours";
import { principalColours } from "../src/draw/latents";
import { montage, montageSize, pictureSize } from "../src/draw/montage";
import { density, fromPlace, heat, smooth, toPlaces, toTokens } from "../src/draw/overlay";
import { runOf } from "../src/model/trajectory";
import { noise, smallRun } from "./fake";

beforeAll(() => {
  class Image {
    readonly data: Uint8ClampedArray;
    constructor(readonly width: number, readonly height: number) {
      this.data = new Uint8ClampedArray(4 * width * height);
    }
  }
  Object.assign(globalThis, { ImageData: Image });
});

const pixel = (image: ImageData, x: number, y: number): number[] => [...image.data.slice(4 * (y * image.width + x), 4 * (y * image.width + x) + 4)];
const grey = { columns: 2, gap: 1, range: [-1, 1] as const, signed: false };

describe("colours", () => {
  it("keep zero white, and tell signs apart for any colour vision", () => {
    expect(css(DIVERGING, 0.5)).toBe("rgb(247, 246, 246)");
    const light = (map: Uint8Array, entry: number): number => 0.299 * map[3 * entry]! + 0.587 * map[3 * entry + 1]! + 0.114 * map[3 * entry + 2]!;
    for (let entry = 0; entry < 255; entry += 1) {
      expect(light(SEQUENTIAL, entry + 1)).toBeGreaterThanOrEqual(light(SEQUENTIAL, entry) - 0.5);
      expect(Math.sign(light(DIVERGING, entry + 1) - light(DIVERGING, entry)) * (entry < 127 ? 1 : -1)).toBeGreaterThanOrEqual(entry === 127 ? -1 : 0);
    }
    expect(DIVERGING[2]! > DIVERGING[0]! && DIVERGING[765]! > DIVERGING[767]!).toBe(true);
    expect(legend(GREY, [-1, 1], 3)).toEqual([
      { value: -1, colour: "rgb(0, 0, 0)" }, { value: 0, colour: "rgb(128, 128, 128)" }, { value: 1, colour: "rgb(255, 255, 255)" },
    ]);
  });

  it("cover the same range at all steps", async () => {
    const run = await runOf(smallRun());
    expect(await rangeOf("x", run)).toEqual([-1, 1]);
    const [low, high] = await rangeOf("base", run);
    expect(low).toBe(-high);
    expect(high).toBeGreaterThan(0.9);
  });
});

describe("a montage", () => {
  it("has grey levels as Python has them, gaps and cells without a state", () => {
    const states = [Float32Array.from([-1, -0.5, 0, 1]), undefined, Float32Array.from([9, -9, NaN, 0.25])];
    const image = montage(states, [1, 2, 2], grey);
    expect([image.width, image.height]).toEqual([5, 5]);
    expect(pixel(image, 0, 0)).toEqual([0, 0, 0, 255]);
    expect(pixel(image, 1, 0)).toEqual([64, 64, 64, 255]);
    expect(pixel(image, 1, 1)).toEqual([255, 255, 255, 255]);
    expect(pixel(image, 2, 0)[3]).toBe(0);
    expect(pixel(image, 3, 0)[3]).toBeLessThan(60);
    expect([pixel(image, 0, 3), pixel(image, 1, 3), pixel(image, 0, 4)[3], pixel(image, 1, 4)[0]]).toEqual([[255, 255, 255, 255], [0, 0, 0, 255], 0, 159]);
    expect(montage(states, [1, 2, 2], grey, image)).toBe(image);
  });

  it("draws colours, vectors, latents and signed values", () => {
    const red = Float32Array.from([1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1]);
    expect(pixel(montage([red], [3, 2, 2], grey), 1, 1)).toEqual([255, 0, 0, 255]);
    expect(pixel(montage([red], [3, 2, 2], { ...grey, signed: true }), 0, 0)).toEqual([...DIVERGING.slice(255, 258), 255]);
    expect(montageSize(1, [16], grey)).toMatchObject({ width: 16, height: 1 });
    expect(pictureSize([784])).toEqual({ channels: 1, height: 28, width: 28 });
    const latent = noise(4 * 9);
    const colours = principalColours(latent, [4, 3, 3], 2);
    const image = montage([latent], [4, 3, 3], { ...grey, range: [-2, 2], colours });
    expect(new Set(Array.from({ length: 9 }, (_, place) => pixel(image, place % 3, Math.floor(place / 3)).join())).size).toBe(9);
  });

  it("shrinks large states by the mean of their pixels", () => {
    const size = montageSize(64, [1, 1024, 1024], { columns: 8, gap: 0 });
    expect(size.width * size.height).toBeLessThanOrEqual(1 << 22);
    const halves = Float32Array.from({ length: 512 * 512 }, (_, place) => (place % 2 ? 1 : -1));
    expect(pixel(montage([halves, ...new Array<undefined>(63)], [1, 512, 512], { ...grey, columns: 8 }), 5, 5)).toEqual([128, 128, 128, 255]);
  });

  it("takes less than a millisecond for 64 characters", () => {
    const states = Array.from({ length: 64 }, (_, place) => noise(784, place + 1));
    const image = montage(states, [1, 28, 28], { ...grey, columns: 8 });
    const times = Array.from({ length: 60 }, () => {
      const start = performance.now();
      montage(states, [1, 28, 28], { ...grey, columns: 8 }, image);
      return performance.now() - start;
    });
    expect(Math.min(...times)).toBeLessThan(1);
  });
});

describe("maps of attention", () => {
  const map = Float32Array.from({ length: 2 * 4 * 4 }, (_, place) => (place % 4 === Math.floor(place / 4) % 4 ? 1 : 0));

  it("are of one place, of all places, or of tokens", () => {
    expect([...fromPlace(map, 2, [2, 2], 1, 0, "mean")]).toEqual([0, 0, 1, 0]);
    expect([...toPlaces(map, 2, [2, 2], 1)]).toEqual([0.25, 0.25, 0.25, 0.25]);
    expect([...density(toPlaces(map, 2, [2, 2], "mean"))]).toEqual([1, 1, 1, 1]);
    expect([...toTokens(map, 2, [2, 2], [0, 3], 0)]).toEqual([0.5, 0, 0, 0.5]);
  });

  it("are enlarged as torch enlarges them", () => {
    // torch.nn.functional.interpolate([[1, 0], [0, 3]], size=(4, 3), mode="bicubic", align_corners=False), at least 0
    const expected = [1.228896, 0.394531, 0.0, 0.781576, 0.726562, 0.67155, 0.044813, 1.273438, 2.502062, 0.0, 1.605469, 3.613444];
    smooth(Float32Array.from([1, 0, 0, 3]), 2, 2, 4, 3).forEach((value, place) => expect(value).toBeCloseTo(expected[place]!, 5));
    expect([...smooth(new Float32Array(4).fill(0.25), 2, 2, 28, 28)].every((value) => Math.abs(value - 0.25) < 1e-6)).toBe(true);
  });

  it("cover a picture the more the larger they are", () => {
    const image = heat(Float32Array.from([0, 0.25, 1, NaN]), 2, 2, 1);
    expect([0, 1, 2, 3].map((place) => image.data[4 * place + 3])).toEqual([0, 108, 217, 0]);
    expect(heat(new Float32Array(4), 2, 2, 0, image)).toBe(image);
  });
});
