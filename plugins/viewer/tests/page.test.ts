import { describe, expect, it } from "vitest";
import { curvesSvg, extent, pathOf, scaleOf, ticks } from "../src/curves";
import { Film } from "../src/film";
import { fit } from "../src/fit";
import { csvOf } from "../src/save";
import { bytes, fileName, number, stepFacts, percent, stepWord } from "../src/words";
import { demoRun } from "./demo";

describe("film", () => {
  const run = demoRun({ samples: 3, steps: 4, side: 5 });

  it("shows the slider's column first, then every column of every sample", async () => {
    const order: boolean[] = [];
    const film: Film = new Film(run, "x", [0, 2], () => order.push(film.frame(0, 1) !== undefined));
    await film.load(3);
    expect(order[0]).toBe(false);
    expect(film.frame(1, 4)).toEqual(await run.state("x", 2, 4));
    expect(new Film(run, "x0", [0], () => undefined).frame(0, 4)).toBeUndefined();
  });

  it("shows the last column where a field has none for the final state", async () => {
    const film = new Film(run, "x0", [1], () => undefined);
    await film.load(0);
    expect(film.frame(0, 4)).toEqual(await run.state("x0", 1, 3));
  });

  it("keeps few columns where not all fit", async () => {
    const film = new Film(run, "x", [0, 1, 2], () => undefined, 3 * 25 * 4 * 2);
    await film.load(0);
    expect(film.whole).toBe(false);
    for (const column of [1, 2, 3]) await film.show(column);
    expect([0, 1, 2, 3].map((column) => film.frame(0, column) !== undefined)).toEqual([false, false, true, true]);
  });
});

describe("what is saved", () => {
  it("writes CSV that spreadsheets read as data", async () => {
    expect(await csvOf([["a", 'b"c', "=SUM(1)"], [1.5, Number.NaN, -2]]).text()).toBe('a,"b""c",\'=SUM(1)\r\n1.5,,-2\r\n');
  });

  it("draws a gap where there is no value, and escapes names", () => {
    expect(pathOf([1, 2, Number.NaN, 4], { x: (i) => i, y: (y) => y })).toBe("M0.0 1.0h0L1.0 2.0M3.0 4.0h0");
    expect(extent([Number.NaN, Infinity])).toBeUndefined();
    const svg = curvesSvg([{ title: "<b>", unit: "nats", series: [{ label: "a&b", colour: '"', values: [Number.NaN] }] }], 0, { value: String, column: String });
    expect(svg).not.toMatch(/<b>|a&b|NaN|Infinity|stroke="""/);
    expect(fileName(demoRun({ name: "../run one.h5" }), "frames", "x0", ".png")).toBe("run-one_frames_x0.png");
  });
});

describe("scales", () => {
  it("divides a range at round values", () => {
    expect(ticks(-0.3, 1, 4)).toEqual([0, 0.5, 1]);
    expect(ticks(0, 20, 5)).toEqual([0, 5, 10, 15, 20]);
    expect(ticks(3, 3, 4)).toEqual([3]);
  });

  it("stands equal values in the middle, and takes no notice of gaps", () => {
    const frame = { width: 100, height: 100, left: 0, top: 0, right: 0, bottom: 0 };
    expect(scaleOf([{ label: "", colour: "", values: [5, Number.NaN, 5] }], frame).y(5)).toBe(50);
    expect(scaleOf([{ label: "", colour: "", values: [Number.NaN] }], frame).x(1)).toBe(100);
  });
});

describe("numbers", () => {
  it("reads well", () => {
    expect([0, 1234567, -0.5, 1e-9, Number.NaN, Infinity, 12.345678, -3].map((one) => number(one))).toEqual(
      ["0", "1.23e6", "−0.5000", "1.00e−9", "–", "∞", "12.35", "−3"]);
    expect([2e-4, 1.25e-7, 0.5, 25].map((one) => number(one, 3))).toEqual(["0.0002", "1.25e−7", "0.5", "25"]);
    // No power of ten where a plain number is as short: 1.4e+2 is 140.
    expect([140.4, -1234.5, 999.7, 0.00099999, 123456.7, -1.23456e-4].map((one) => number(one, 2))).toEqual(
      ["140", "−1,235", "1,000", "0.001", "123,457", "−0.00012"]);
    expect([12345.6, 99999.99, 2e-4].map((one) => number(one))).toEqual(["12,346", "100,000", "2.00e−4"]);
    expect([0, 999, 1234, 2.1e9].map(bytes)).toEqual(["0 bytes", "999 bytes", "1.23 kB", "2.10 GB"]);
  });

  it("gives shares in percent, and does not round the smallest to none", () => {
    expect([0, 1e-4, -0.013, 0.5, 0.0996, Number.NaN].map(percent)).toEqual(["0 %", "< 0.1 %", "−1.3 %", "50 %", "10 %", "–"]);
  });

  it("says where the slider stands", () => {
    const run = demoRun({ steps: 20 });
    expect(stepFacts(run, 0)).toEqual({ title: "step 0", place: "step 0 of 0 … 19", timestep: "999", sigma: "∞", signal: "0 %" });
    expect(stepFacts(run, 20)).toMatchObject({ title: "the final state", place: "final state" });
    expect([stepWord(run, 7), stepWord(run, 20)]).toEqual(["step-7", "final"]);
  });
});

describe("the montage", () => {
  it("puts all frames of a page in sight, and fills narrow pages", () => {
    for (const [count, across] of [[1, 1], [8, 4], [64, 8]] as const) {
      const found = fit(count, 1, 620, 620);
      const frame = found.width / found.across;
      expect(frame * Math.ceil(count / found.across)).toBeLessThan(640);
      if (count < 64) expect(found.across).toBeLessThanOrEqual(across);
    }
    expect(fit(64, 1, 358, 500)).toEqual({ across: 8, width: 358 });
    expect(fit(0, 1, 600, 600).across).toBe(1);
  });
});
