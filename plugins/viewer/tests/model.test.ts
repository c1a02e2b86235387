import { describe, expect, it } from "vitest";
import { matchSamples, pairColumns, partingOf, settingsApart } from "../src/model/align";
import { balance, balanceOf } from "../src/model/ledger";
import { metricsOf } from "../src/model/metrics";
import { runOf } from "../src/model/trajectory";
import { rounded, toHalf } from "../src/model/vectors";
import { smallRun } from "./fake";

describe("the ledger", () => {
  it("adds up to the bit in float32, and says where it does not", async () => {
    const file = smallRun();
    const run = await runOf(file);
    expect(await balanceOf(run, 1, 2)).toEqual({ holds: true, largest: 0, allowed: 0 });
    const prediction = file.datasets["trajectory/prediction"]!.data as Float32Array;
    prediction[5] = Math.fround(prediction[5]! + 2 ** -20);
    const wrong = (await balanceOf(await runOf(file), 0, 0))!;
    expect(wrong.holds).toBe(false);
    expect(wrong.largest).toBeCloseTo(2 ** -20, 8);
    delete file.datasets["forces/00_attract_class/contribution"];
    expect(await balanceOf(await runOf(file), 0, 0)).toBeUndefined();
  });

  it("allows in float16 what rounding costs, and no more", () => {
    const [base, force, total] = [1, 2 ** -12, 1 + 2 ** -10].map((value) => Float32Array.of(value));
    expect(balance([base!, force!], total!, true)).toMatchObject({ holds: true, largest: 2 ** -10 - 2 ** -12 });
    expect(balance([base!, force!], Float32Array.of(1 + 2 ** -9), true).holds).toBe(false);
    expect(balance([base!, force!], Float32Array.of(NaN), true)).toMatchObject({ holds: false, largest: NaN });
    expect(balance([Float32Array.of(Infinity, 1)], Float32Array.of(Infinity, 1), false)).toEqual({ holds: true, largest: 0, allowed: 0 });
  });
});

describe("two runs", () => {
  it("are aligned by step, progress and σ, also where one keeps other steps", async () => {
    const [a, file] = [await runOf(smallRun()), smallRun("other.h5")];
    for (const [path, dataset] of Object.entries(file.datasets)) {
      if (/^(trajectory\/(x|x0|base|prediction)|forces.*contribution|drifts.*delta)$/.test(path)) dataset.shape[1]! -= 2;
    }
    file.datasets["trajectory/step"] = { shape: [2], dtype: "int64", data: BigInt64Array.from([0n, 2n]) };
    const b = await runOf(file);
    expect([...pairColumns(a, a, "sigma")]).toEqual([0, 1, 2, 3, 4]);
    expect([...pairColumns(a, b, "step")]).toEqual([0, 0, 1, 1, 2]);
    expect([...pairColumns(a, b, "progress")]).toEqual([0, 0, 1, 1, 2]);
    expect([...pairColumns(a, b, "sigma")]).toEqual([0, 1, 1, 1, 2]);
    expect([...pairColumns(b, a, "sigma")]).toEqual([0, 2, 4]);
  });

  it("tell where samples part", async () => {
    const [a, file] = [await runOf(smallRun()), smallRun("other.h5")];
    const x = file.datasets["trajectory/x"]!.data as Float32Array;
    x[6 * 2] = Math.fround(x[6 * 2]! + 1e-6);
    x[6 * 3] = 5;
    const b = await runOf(file);
    const [match] = matchSamples(a, b);
    expect(match?.why).toBe("Both have the id 0, and the same seed, 1: their noise is the same.");
    const parting = (await partingOf(a, b, match!, pairColumns(a, b, "step")))!;
    expect([parting.first, parting.apart]).toEqual([2, 3]);
    expect(parting.distance[1]).toBe(0);
    expect(settingsApart(a, b)).toEqual([]);
  });

  it("match samples by id, else by seed, else by order", async () => {
    const [a, file] = [await runOf(smallRun()), smallRun()];
    file.datasets["samples/id"]!.data = BigInt64Array.from([7n, 8n, 9n]);
    expect(matchSamples(a, await runOf(file)).map(({ a: one, b, why }) => [one.id, b.id, why.slice(0, 23)])).toEqual([
      [0, 7, "Both are number 1 of th"], [1, 8, "Both are number 2 of th"],
    ]);
    file.datasets["samples/seed"]!.data = BigUint64Array.from([5n, 1n, 3n]);
    const own = smallRun();
    own.datasets["samples/seed"]!.data = BigUint64Array.from([1n, 2n, 3n]);
    expect(matchSamples(await runOf(own), await runOf(file)).map(({ a: one, b, why }) => [one.id, b.id, why])).toEqual([[0, 8, "Both have the seed 1."]]);
  });
});

describe("metrics", () => {
  it("have a heading, a title and a meaning each, and gaps where there is no value", async () => {
    const metrics = await metricsOf(await runOf(smallRun()), 0);
    expect(metrics.every((metric) => metric.group !== "Others" && metric.title && metric.unit && metric.meaning)).toBe(true);
    expect(new Set(metrics.map((metric) => metric.name)).size).toBe(metrics.length);
    const of = (name: string): number[] => [...metrics.find((metric) => metric.name === name)!.values];
    expect(of("cosine_of_updates")[0]).toBeNaN();
    expect(of("predicted_noise_l2_norm")).toEqual(of("prediction_l2"));
    // Without signal the displacement by a prediction of noise is not known.
    expect(of("force_00_attract_class_displacement_l2")[0]).toBeNaN();
    const shares = of("base_share").map((share, column) => share + of("force_00_attract_class_share")[column]!);
    shares.forEach((share) => expect(share).toBeCloseTo(1, 6));
  });

  it("round to half precision as numpy does", () => {
    expect([1 + 2 ** -11, 1 + 3 * 2 ** -11, 2 ** -25, 3 * 2 ** -25, 65504, -0.1, 0].map(toHalf)).toEqual([1, 1 + 2 ** -9, 0, 2 ** -23, 65504, -0.0999755859375, 0]);
    const large = Float32Array.of(70000, 0.1);
    expect(rounded(large)).toBe(large);
  });
});
