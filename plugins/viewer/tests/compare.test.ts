// What the comparison of two runs says in words, and which numbers it puts beside each other.
import { expect, test } from "vitest";
import { matchSamples, pairColumns, partingOf } from "../src/model/align";
import { resampled } from "../src/view/compare/Both";
import { partingWords } from "../src/view/compare/Parting";
import { columnsAt, commonFields, scaleOf } from "../src/view/compare/pairs";
import { differencesOf, pathWords, valueWords } from "../src/view/compare/words";
import { demoRun } from "./memory";

const name = (column: number) => `step ${column}`;

test("settings that differ are named in words, and a force that only one run has is one line", () => {
  const a = demoRun();
  const lone = demoRun(0.4, { config: { ...demoRun(0.4).config, forces: [], scheduler: { name: "ddim", settings: { eta: 0.5 } } } });
  expect(differencesOf(a, lone)).toEqual([
    { name: "force 0", a: "ramp_attract (target A, strength 1.5, power 1, start 0)", b: "not there" },
    { name: "force 1", a: "repel_class (target B, strength 1, weight 0.5)", b: "not there" },
    { name: "scheduler, eta", a: "0", b: "0.5" },
  ]);
  expect(differencesOf(a, demoRun(0.4))).toEqual([{ name: "force 0: weight", a: "1", b: "1.4" }]);
  expect(pathWords("forces[1].settings.noise_scale")).toBe("force 1: noise scale");
  expect([valueWords(null), valueWords(true), valueWords(["A", "k"])]).toEqual(["none", "yes", "A, k"]);
});

test("the page says where two samples part, to the bit and beyond one percent", async () => {
  const [a, b] = [demoRun(), demoRun(0.4)];
  const match = matchSamples(a, b)[0]!;
  const columns = pairColumns(a, b, "step");
  const same = await partingOf(a, b, match, columns, "x");
  expect(partingWords(same!, name, true)).toBe("The states of both are the same at every step, to the bit.");
  const parted = await partingOf(a, b, match, columns, "prediction");
  expect(parted?.first).toBe(1);
  expect(partingWords(parted!, name, true)).toMatch(/^They are the same, to the bit, until step 0; the first that differs is the state at step 1/);
});

test("estimates have no final column, and the scale of A − B covers all steps", async () => {
  const [a, b] = [demoRun(), demoRun(0.4)];
  const columns = pairColumns(a, b, "step");
  expect(columnsAt(a, b, "x", columns, 8)).toEqual([8, 8]);
  expect(columnsAt(a, b, "x0", columns, 8)).toEqual([7, 7]);
  expect(commonFields(a, b).slice(0, 2)).toEqual(["x0", "x"]);
  expect(await scaleOf(a, b, matchSamples(a, b)[0]!, "x", columns)).toBe(0);
  expect(await scaleOf(a, b, matchSamples(a, b)[0]!, "prediction", columns)).toBeGreaterThan(0);
  expect([...resampled(Float64Array.of(1, 2, 3), Int32Array.of(0, 2, 2), 3)]).toEqual([1, 3, 3]);
});
