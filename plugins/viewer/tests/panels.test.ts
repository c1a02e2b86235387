// The numbers behind the panels: the ledger's account, what is read off maps of attention, texts as entries, marks of classes.
import { describe, expect, test } from "vitest";
import type { Term, Token } from "../src/model/api";
import { neighbours } from "../src/view/attention/choice";
import { entropyOf, headCurve, largest, tokensAt } from "../src/view/attention/slices";
import { accountOf } from "../src/view/ledger/account";
import { stacked } from "../src/view/ledger/Shares";
import { doesWords, settingsWords } from "../src/view/ledger/words";
import { boundsOf, markOf, roomFor } from "../src/view/plane/marks";
import { samplesOf } from "../src/view/plane/paths";
import { entriesOf, meanOf, sharesAt, sharesOf } from "../src/view/tokens/groups";
import { segments } from "../src/view/parts/Spark";
import { demoRun } from "./memory";

describe("the ledger", () => {
  test("shares of base and forces add up to the prediction, and norms are those of the states", async () => {
    const run = demoRun();
    const { norms, shares, scales } = await accountOf(run, 2);
    expect([...shares.keys()].map((term) => term.kind)).toEqual(["base", "force", "force"]);
    for (let column = 0; column < run.kept.length; column += 1) {
      const sum = [...shares.values()].reduce((total, values) => total + (values[column] ?? 0), 0);
      expect(sum).toBeCloseTo(1, 6);
    }
    const drift = run.terms[3] as Term;
    const state = await run.state(drift.field as string, 2, 5);
    expect(norms.get(drift)?.[5]).toBeCloseTo(Math.hypot(...state), 6);
    expect(norms.get(drift)?.[0]).toBe(0);
    expect(scales.get(drift)).toBeLessThan(0.1);
  });

  test("a file without a prediction has norms and no shares", async () => {
    const whole = demoRun();
    const run = demoRun(0, { fields: whole.fields.filter((field) => field !== "prediction") });
    const { shares } = await accountOf(run, 0);
    expect([...shares.values()].every((values) => values.every(Number.isNaN))).toBe(true);
    expect(stacked(shares).bars).toEqual([]);
  });

  test("what works against the rest is stacked below zero", () => {
    const [base, force] = demoRun().terms as [Term, Term];
    const { bars, low, high } = stacked(new Map([[base, Float64Array.of(1.25)], [force, Float64Array.of(-0.25)]]));
    expect(bars.map(({ from, to }) => [from, to])).toEqual([[0, 1.25], [0, -0.25]]);
    expect([low, high]).toEqual([-0.25, 1.25]);
  });

  test("terms are told in words, also those of unknown plugins", () => {
    const run = demoRun();
    const [base, force] = run.terms as [Term, Term];
    expect(doesWords(base)).toContain("2.5 · (e(own) − e(null))");
    expect(doesWords(force)).toBe("pulls toward a class, more and more");
    expect(doesWords({ ...force, key: "00_mine" })).toBe("a force of a plugin");
    expect(settingsWords({ target: "A", strength: 1.5, start: 0, mask: null, targets: ["a", "b"] })).toBe("target A, strength 1.5, start 0, targets a, b");
  });
});

describe("attention", () => {
  test("tokens at a place are those of the heads in view", () => {
    // Two heads, three tokens, two places.
    const map = Float32Array.of(0.1, 0.2, 0.3, 0.3, 0.6, 0.5, 0.5, 0.4, 0.25, 0.1, 0.25, 0.5);
    expect([...tokensAt(map, 2, 2, 1, 0)].map((value) => Number(value.toFixed(3)))).toEqual([0.2, 0.3, 0.5]);
    expect([...tokensAt(map, 2, 2, 0, "mean")].map((value) => Number(value.toFixed(3)))).toEqual([0.3, 0.275, 0.425]);
  });

  test("entropy is zero for one token and ln n for n alike", () => {
    expect(entropyOf(Float32Array.of(0, 1, 0))).toBeCloseTo(0);
    expect(entropyOf(new Float32Array(49).fill(1 / 49))).toBeCloseTo(Math.log(49), 5);
  });

  test("largest values come first, and curves keep their gaps", () => {
    expect(largest([3, 9, 5], 2)).toEqual([1, 2]);
    expect([...headCurve(Float32Array.of(1, 3, Number.NaN, Number.NaN), 2, "mean")]).toEqual([2, Number.NaN]);
    expect(segments([1, Number.NaN, 3, 4], (at) => at, (value) => value)).toBe("M0.0 1.0M2.0 3.0L3.0 4.0");
  });

  test("a step without maps knows those before and after", () => {
    expect(neighbours([0, 2, 4], 3)).toEqual({ before: 2, after: 4 });
    expect(neighbours([2], 5)).toEqual({ before: 2, after: undefined });
  });
});

describe("tokens", () => {
  const token = (text: string, word: number, special = false): Token => ({ text, id: 0, special, word, encoder: "t" });
  const text = [token("<s>", -1, true), token("c", 0), token("at", 0), token("mat", 1), token("</s>", -1, true), token("</s>", -1, true), token("</s>", -1, true)];

  test("words are joined, filling is folded, and masked shares sum to one again", () => {
    const all = entriesOf(text, false);
    expect(all.map(({ at, count, joined }) => [at, count, joined])).toEqual([[0, 1, false], [1, 1, false], [2, 1, true], [3, 1, false], [4, 1, false], [5, 2, false]]);
    const shares = [0.5, 0.1, 0.1, 0.2, 0.05, 0.03, 0.02];
    expect(sharesOf(all, shares, false).at(-1)).toBeCloseTo(0.05);
    const words = entriesOf(text, true);
    expect(words.map(({ token: { text: each } }) => each)).toEqual(["c", "at", "mat"]);
    expect(sharesOf(words, shares, true).map((value) => Number(value.toFixed(3)))).toEqual([0.25, 0.25, 0.5]);
  });

  test("the mean is that of each step's shares, and leaves out steps that do not evaluate the condition", () => {
    const values = Float32Array.of(0.2, 0.4, 0.4, Number.NaN, Number.NaN, Number.NaN, 0.8, 0.1, 0.1);
    const entries = entriesOf([token("<s>", -1, true), token("a", 0), token("b", 1)], true);
    const steps = [0, 1, 2].map((row) => sharesOf(entries, sharesAt(values, 1, 3, "mean", row), true));
    expect(steps[0]!.map((value) => Number(value.toFixed(3)))).toEqual([0.5, 0.5]);
    expect(meanOf(steps, 2).map((value) => Number(value.toFixed(3)))).toEqual([0.5, 0.5]);
    expect(meanOf([steps[1]!], 2)).toEqual([Number.NaN, Number.NaN]);
  });
});

describe("the plane", () => {
  test("classes differ in colour and shape, and pictures do not cover one another", () => {
    const marks = Array.from({ length: 49 }, (_, place) => markOf(place));
    expect(new Set(marks.map(({ shape, colour }) => shape + colour)).size).toBe(49);
    expect(roomFor([[0, 0], [10, 5], [50, 0]], 34)).toEqual([true, false, true]);
    expect(boundsOf([Float64Array.of(-1, 0, 3, 2, Number.NaN, 9)])).toEqual({ x: 1, y: 1, wide: 4, tall: 2 });
  });

  test("two chosen samples are shown alone; else classes come in turn", () => {
    const run = demoRun();
    expect(samplesOf(run, [run.samples[4]!, run.samples[1]!]).map(({ id }) => id)).toEqual([4, 1]);
    expect(samplesOf(run, [run.samples[3]!]).map(({ id }) => id)).toEqual([3, 0, 1, 2, 4, 5]);
  });
});
