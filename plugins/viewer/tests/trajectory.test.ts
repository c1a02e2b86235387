import { describe, expect, it } from "vitest";
import { FileProblem } from "../src/reader/api";
import { runOf } from "../src/model/trajectory";
import { smallRun, type FakeHdf5 } from "./fake";

describe("a run", () => {
  it("tells what there is of samples, steps and terms", async () => {
    const run = await runOf(smallRun());
    expect(run.samples.map((sample) => [sample.id, sample.className, sample.done])).toEqual([[0, "A", true], [1, "B", true], [2, "A", false]]);
    expect(run.samples[2]?.seed).toBe("18446744073709551615");
    expect(run.config["seed"]).toBe("12345678901234567890");
    expect(run.config["rate"]).toBe(0.12345678901234567);
    expect(run.terms.map((term) => [term.kind, term.name, term.scale])).toEqual([
      ["base", "cfg", undefined], ["force", "attract_class", 2], ["drift", "momentum", 1],
    ]);
    expect(run.terms[1]?.settings).toEqual({ target: "B" });
    expect(run.live).toBe(true);
    expect(await run.pictures()).toBe("pictures");
  });

  it("reads states that stand side by side at once, and only once", async () => {
    const file = smallRun();
    const run = await runOf(file);
    const x = file.datasets["trajectory/x"]!.data as Float32Array;
    const before = file.reads;
    const both = await run.states("x", [1, 0], 2);
    expect([...both]).toEqual([...x.slice((5 + 2) * 6, (5 + 3) * 6), ...x.slice(2 * 6, 3 * 6)]);
    expect([...(await run.path("x", 1))]).toEqual([...x.slice(30, 60)]);
    expect([...(await run.state("x", 0, 4))]).toEqual([...x.slice(24, 30)]);
    const twice = await Promise.all([run.states("x0", [0, 1], 1), run.states("x0", [1], 1)]);
    expect([...twice[0].slice(6)]).toEqual([...twice[1]]);
    expect(file.reads - before).toBe(2);
  });

  it("refuses states that are not there in one line", async () => {
    const run = await runOf(smallRun());
    await expect(run.state("x", 2, 0)).rejects.toThrow("trajectory.h5: sample 2 is not committed yet");
    await expect(run.state("forces/01_none/contribution", 0, 0)).rejects.toThrow("keeps no forces/01_none");
    expect(await run.image(2)).toBeUndefined();
  });

  it("notices a sample that was committed since", async () => {
    const file = smallRun();
    const run = await runOf(file);
    expect(await run.refresh()).toBe(false);
    file.datasets["samples/steps_done"]!.data = BigInt64Array.from([4n, 4n, 4n]);
    expect(await run.refresh()).toBe(true);
    expect(run.live).toBe(false);
    expect((await run.state("x", 2, 0)).length).toBe(6);
  });

  it.each<[string, (file: FakeHdf5) => void, RegExp]>([
    ["a newer major", (file) => { file.groups[""]!["format_version"] = [2, 3]; }, /^trajectory.h5 has trajectory format 2.3/],
    ["another format", (file) => { delete file.groups[""]!["format"]; }, /no emnist-diff trajectory/],
    ["a missing list", (file) => { delete file.datasets["samples/id"]; }, /samples\/id is missing/],
    ["a label of no class", (file) => { file.datasets["samples/label"]!.data = BigInt64Array.from([0n, 7n, 0n]); }, /points outside/],
    ["other states", (file) => { file.datasets["trajectory/x0"]!.shape = [3, 4, 6]; }, /holds other states/],
    ["a state less", (file) => { file.datasets["trajectory/x"]!.shape = [3, 4, 1, 2, 3]; }, /has shape/],
    ["another configuration", (file) => { file.datasets["config"]!.data = ["{}"]; }, /its own sha256/],
    ["no JSON", (file) => { file.datasets["environment"]!.data = ["{,"]; }, /environment is no JSON/],
    ["deep JSON", (file) => { file.datasets["environment"]!.data = [`{"a":${"[".repeat(99)}${"]".repeat(99)}}`]; }, /nested deeper/],
    ["a marker in between", (file) => { file.datasets["samples/steps_done"]!.data = BigInt64Array.from([4n, 2n, 0n]); }, /steps_done holds 2/],
    ["falling rows", (file) => { file.datasets["trajectory/sample"]!.data = BigInt64Array.from([0n, 2n, 1n]); }, /must rise/],
    ["many samples", (file) => { file.datasets["samples/id"]!.shape = [1 << 21]; }, /it claims 2097152 samples/],
    ["an unknown prediction", (file) => { file.groups["trajectory"]!["prediction_type"] = "guess"; }, /prediction_type "guess", not epsilon/],
  ])("refuses %s by a line that names the file", async (_, change, message) => {
    const file = smallRun();
    change(file);
    const problem = await runOf(file).then(() => undefined, (error: unknown) => error);
    expect(problem).toBeInstanceOf(FileProblem);
    expect(String((problem as Error).message)).toMatch(message);
    expect((problem as Error).message).toMatch(/^trajectory\.h5/);
    expect((problem as Error).message).not.toMatch(/\n/);
  });
});
