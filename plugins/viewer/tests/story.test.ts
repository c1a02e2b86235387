// The story: its sentences hold numbers of the run and nothing that the file lacks, and reading moves the slider.
import { expect, test } from "vitest";
import type { Run } from "../src/model/api";
import { displacement } from "../src/model/levels";
import { chaptersOf } from "../src/view/story/chapters";
import { correlation, estimateOf } from "../src/view/story/estimate";
import { factsOf, staysAbove, withAndWithout } from "../src/view/story/facts";
import { decidedAt, finishedOf, leader, leansOf } from "../src/view/story/lean";
import { columnOf, readAt } from "../src/view/story/scroll";
import { demoRun } from "./memory";

const chaptersFor = async (run: Run, id = 2) => chaptersOf(await factsOf(run, run.samples[id]!));

test("chapters follow the run: noise, steps, structure, forces, drifts, attention, path, class, picture", async () => {
  const run = demoRun();
  const chapters = await chaptersFor(run);
  expect(chapters.map((chapter) => chapter.id)).toEqual([
    "noise", "steps", "structure", "force-00_ramp_attract", "force-01_repel_class", "drift-00_time_scaled", "attention", "path", "class", "finished",
  ]);
  const whole = chapters.flatMap((chapter) => chapter.text).join("\n");
  expect(whole).toContain("In each of 8 steps a network predicts the noise in the state, and the scheduler ddim moves");
  expect(whole).not.toMatch(/NaN|undefined|Infinity/);
  for (const chapter of chapters) {
    expect(chapter.from).toBeLessThanOrEqual(chapter.key);
    expect(chapter.key).toBeLessThanOrEqual(Math.max(chapter.to, chapter.key === run.kept.length ? run.kept.length : chapter.to));
  }
});

test("a force's chapter is about its largest step, and states what the estimate would be without it", async () => {
  const run = demoRun();
  const facts = await factsOf(run, run.samples[0]!);
  const peak = facts.forces[0]!;
  const norms = await Promise.all(run.kept.map(async (_, column) => Math.hypot(...(await run.state(peak.term.field!, 0, column)))));
  expect(peak.column).toBe(norms.indexOf(Math.max(...norms)));
  const { column, displaced, shift } = peak.effect!;
  const effects = norms.map((norm, at) => norm * Math.abs(displacement(run.schedule.alphaBar[at]!, run.alphaBarNext[at]!, run)));
  expect(displaced).toBeCloseTo(Math.max(...effects), 6);
  expect(column).toBe(effects.indexOf(Math.max(...effects)));
  const [whole, without] = (await withAndWithout(run, run.samples[0]!, peak.term, column))!;
  const force = await run.state(peak.term.field!, 0, column);
  const power = run.schedule.alphaBar[column]!;
  // x0 = (x − n p) / s: taking f off the prediction adds n f / s.
  whole.forEach((value, at) => expect(without[at]! - value).toBeCloseTo((Math.sqrt(1 - power) / Math.sqrt(power)) * force[at]!, 3));
  expect(shift).toBeGreaterThan(0);
});

test("what a file lacks is left out", async () => {
  const run = demoRun(0, { attention: undefined, fields: ["x0"], terms: demoRun().terms.map((term) => ({ ...term, field: undefined })), config: { recorder: "diffusers" } });
  const chapters = await chaptersFor(run);
  expect(chapters.map((chapter) => chapter.id)).toEqual(["steps", "class", "finished"]);
  expect(chapters.flatMap((chapter) => chapter.text).join("\n")).not.toMatch(/seed|NaN|undefined|correlat|fewer than two classes/);
});

test("estimates follow the table of kinds of predictions", () => {
  const run = demoRun();
  const [x, p] = [Float32Array.of(1), Float32Array.of(0.5)];
  const power = run.schedule.alphaBar[3]!;
  const [signal, noise] = [Math.sqrt(power), Math.sqrt(1 - power)];
  const of = (changes: Partial<Run>) => estimateOf(demoRun(0, changes), x, p, 3)?.[0];
  expect(of({})).toBeCloseTo((1 - noise * 0.5) / signal, 5);
  expect(of({ predictionType: "v_prediction" })).toBeCloseTo(signal - noise * 0.5, 5);
  expect(of({ predictionType: "sample" })).toBe(0.5);
  expect(of({ predictionType: "flow", forwardProcess: "flow" })).toBeCloseTo(1 - (noise / (signal + noise)) * 0.5, 5);
  expect(estimateOf(demoRun(0, { schedule: { ...run.schedule, alphaBar: new Float64Array(8) } }), x, p, 3)).toBeUndefined();
});

test("leaning is measured by the other finished samples, and decided where the last leader begins to lead", async () => {
  const run = demoRun();
  const finished = await finishedOf(run, run.samples[1]!);
  expect(finished.samples.map((sample) => sample.id)).toEqual([0, 2, 3, 4, 5]);
  const leans = await leansOf(run, run.samples[1]!, finished);
  expect(leader(leans, 7)?.name).toBe("B");
  const values = (...numbers: number[]) => Float64Array.from(numbers);
  const three = [{ label: 0, name: "A", values: values(0.5, 0.1, 0.2) }, { label: 1, name: "B", values: values(0.1, 0.4, 0.3) }];
  expect(decidedAt(three, 3)).toBe(1);
  expect(await leansOf(run, run.samples[1]!, { samples: [], states: [] })).toEqual([]);
});

test("the slider follows what is read, and without motion stands at what a chapter is about", () => {
  const boxes = [{ top: -500, height: 600 }, { top: 100, height: 800 }, { top: 900, height: 400 }];
  expect(readAt(boxes, 500)).toEqual({ index: 1, share: 0.5 });
  expect(readAt(boxes, -900).index).toBe(0);
  const chapter = { id: "", title: "", text: [], from: 2, to: 10, key: 7, stage: { kind: "state" } } as const;
  expect([columnOf(chapter, 0.5, false), columnOf(chapter, 1.4, false), columnOf(chapter, 0.1, true)]).toEqual([6, 10, 7]);
  expect(staysAbove([0.6, 0.2, 0.7, 0.8], 0.5)).toBe(2);
  expect(staysAbove([0.6, 0.2], 0.5)).toBeUndefined();
  expect(correlation(Float32Array.of(1, 2, 3), Float32Array.of(2, 4, 6))).toBeCloseTo(1);
});
