import { beforeEach, describe, expect, it } from "vitest";
import { apply, current, format, parse } from "../src/hash";
import * as state from "../src/state";
import { demoRun } from "./demo";

beforeEach(() => {
  const run = demoRun({ samples: 8, steps: 20 });
  state.runs.value = [run];
  state.entries.value = [{ label: "demo.h5", origin: "disk", open: () => Promise.resolve(run) }];
  apply({}, state.runs.value[0]!);
});

describe("the address", () => {
  it("gives back what is shown, in a short text", () => {
    Object.assign(state.view, { value: "story" });
    state.column.value = 7;
    state.field.value = "forces/00_attract_class/contribution";
    state.chosen.value = [5, 2];
    state.head.value = 3;
    state.token.value = 4;
    const hash = format(current());
    expect(hash).toBe("a=demo.h5&view=story&step=7&field=forces/00_attract_class/contribution&samples=5,2&head=3&token=4");
    apply({}, state.run.value!);
    expect(state.column.value).toBe(20);
    apply(parse(`#${hash}`), state.run.value!);
    expect(format(current())).toBe(hash);
  });

  it.each([
    "view=constructor&step=-1&samples=1,x&head=NaN&align=sideways",
    "step=1e9&token=99999999999&samples=&page=0x10",
    "step=%00&field=%E2%80%AE&layer=%0A&condition=",
    "%E0%A4%A&&&=;#",
    `field=${"x".repeat(201)}`,
    `samples=${"1,".repeat(10_000)}`,
  ])("leaves out of %j what it does not understand", (hash) => {
    expect(parse(hash)).toEqual({});
  });

  it("shows nothing that the run does not have", () => {
    state.column.value = 20;
    expect(format(current())).toBe("a=demo.h5&step=final");
    apply(parse("step=900&field=config&samples=3,77&layer=a.self&condition=null"), state.run.value!);
    expect([state.column.value, state.field.value, state.chosen.value, state.layer.value, state.condition.value]).toEqual([20, "x", [3], undefined, undefined]);
  });
});

describe("a step in the address", () => {
  it("is that of the file, also where the file keeps every second one", () => {
    const whole = state.run.value!;
    const run = { ...whole, kept: whole.kept.filter((step) => step % 2 === 0) };
    state.runs.value = [run];
    const columns = [8, 9, 18, 19].map((step) => (apply(parse(`step=${step}`), run), state.column.value));
    expect(columns).toEqual([4, 5, 9, 10]);
    state.column.value = 4;
    expect(format(current())).toContain("step=8");
  });
});

describe("the slider and the samples", () => {
  it("stays within the run, and starts over from its end", () => {
    state.seek(99);
    expect(state.column.value).toBe(20);
    state.toggle();
    expect([state.column.value, state.playing.value]).toEqual([0, true]);
    state.seek(-3);
    expect(state.column.value).toBe(0);
  });

  it("adds to the sample in focus, and tells colours apart", () => {
    state.choose(4, true);
    expect(state.chosen.value).toEqual([0, 4]);
    expect([state.colourOf(0), state.colourOf(4), state.colourOf(5)]).toEqual(["var(--series-0)", "var(--series-1)", "var(--soft)"]);
    for (const id of [1, 2, 3, 5, 6, 7]) state.choose(id, true);
    expect(state.chosen.value).toHaveLength(state.MOST_CHOSEN);
    state.choose(6, false);
    expect(state.focus.value?.id).toBe(6);
  });
});
