import { useComputed, useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { fit } from "../fit";
import type { Run, Sample } from "../model/api";
import { canvasesPng } from "../save";
import { choose, chosen, column, enlarged, field, focus, page, run, samples } from "../state";
import { fieldSays, fieldTitle, fileName, sampleTitle, stepWord } from "../words";
import { Panel } from "./Panel";
import { gapOf, frameSize, useSheet } from "./sheet";
import { Tiles } from "./Tiles";

/** Pixels that one page of frames may have, so that frames of any size are quick to draw. */
const MOST_PIXELS = 4_200_000;
const MOST_FRAMES = 64;

/** Samples that have something to show of the field, those of the page among them. */
function usePage(opened: Run, all: readonly Sample[]) {
  const image = field.value === "image";
  const large = enlarged.value;
  const focused = focus.value;
  const shown = useMemo(() => all.filter((sample) => sample.done && (image || sample.row !== undefined)), [all, image]);
  const [rows, columns] = frameSize(opened, field.value);
  const many = Math.max(1, Math.min(MOST_FRAMES, Math.floor(MOST_PIXELS / (rows * columns))));
  const pages = Math.max(1, Math.ceil(shown.length / many));
  const at = Math.min(page.value, pages - 1);
  const those = useMemo(
    () => (large && focused && shown.includes(focused) ? [focused] : shown.slice(at * many, (at + 1) * many)),
    [shown, large, focused, at, many],
  );
  return { shown, those, pages, at, many };
}

/** All samples' frames at the slider's step. What is chosen here, the other panels show. */
export function Frames() {
  const opened = run.value;
  return opened && opened.samples.length ? <Montage opened={opened} /> : null;
}

function Montage({ opened }: { opened: Run }) {
  const { shown, those, pages, at, many } = usePage(opened, samples.value);
  const place = useRef<HTMLDivElement>(null);
  const [rows, columns] = frameSize(opened, field.value);
  const room = useRoom(place);
  const { across, width } = fit(those.length, columns / rows, room.width, room.height, enlarged.value ? 1200 : undefined);
  const sheet = useSheet(opened, those, across);
  const waiting = opened.samples.length - opened.samples.filter((sample) => sample.done).length;
  const png = {
    name: () => fileName(opened, "frames", fieldTitle(field.value), stepWord(opened, column.peek()), ".png"),
    make: () => {
      const canvases = [...(place.current?.querySelectorAll("canvas") ?? [])];
      const width = Math.max(1, ...canvases.map((canvas) => canvas.width));
      return canvasesPng(canvases, Math.max(1, Math.min(8, Math.floor(1600 / width))), gapOf(sheet.size[1]));
    },
  };
  return (
    <Panel title="Frames" says={fieldSays(field.value, opened)} saves={[png]} controls={<FieldChoice opened={opened} />}>
      <div ref={place} class={enlarged.value ? "frames frames-large" : "frames"}>
        {those.length ? <Tiles sheet={sheet} those={those} across={across} width={width} /> : <p class="muted">No sample is finished yet.</p>}
      </div>
      <Ended opened={opened} />
      {enlarged.value ? <Large shown={shown} /> : <Pages pages={pages} at={at} many={many} total={shown.length} />}
      {waiting > 0 && <p class="muted num">{opened.samples.length - waiting} of {opened.samples.length} samples are finished; the others appear as the run commits them.</p>}
    </Panel>
  );
}

/** The width of the montage's place, and the height that the window leaves for it: head, sentence and slider stay in sight. */
function useRoom(place: RefObject<HTMLDivElement | null>) {
  const room = useSignal({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const measure = () => {
      room.value = { width: place.current?.clientWidth ?? 0, height: Math.max(240, innerHeight - 275) };
    };
    measure();
    const watch = new ResizeObserver(measure);
    if (place.current) watch.observe(place.current);
    addEventListener("resize", measure);
    return () => {
      watch.disconnect();
      removeEventListener("resize", measure);
    };
  }, []);
  return room.value;
}

function FieldChoice({ opened }: { opened: Run }) {
  const own = opened.fields.filter((one) => !one.includes("/"));
  const groups: readonly (readonly [string, string])[] = [["forces/", "Forces"], ["drifts/", "Drifts"]];
  const option = (one: string) => <option key={one} value={one}>{fieldTitle(one)}</option>;
  return (
    <select aria-label="What frames show" value={field.value} onChange={(event) => (field.value = event.currentTarget.value)}>
      {own.map(option)}
      {groups.map(([start, title]) => {
        const found = opened.fields.filter((one) => one.startsWith(start));
        return found.length > 0 && <optgroup key={title} label={title}>{found.map(option)}</optgroup>;
      })}
      {opened.imageShape && option("image")}
    </select>
  );
}

/** Only states have one more than there are steps: of what steps compute, the last is shown there. */
function Ended({ opened }: { opened: Run }) {
  const last = useComputed(() => column.value >= opened.kept.length && field.value !== "x" && field.value !== "image");
  return last.value ? <p class="muted">The final state has none of its own: these are of the last step.</p> : null;
}

function Pages({ pages, at, many, total }: { pages: number; at: number; many: number; total: number }) {
  const held = chosen.value.length > 0;
  if (total < 2) return null;
  return (
    <div class="below">
      <p class="muted">{held ? "Ctrl and a click add a sample or take it away; a double click enlarges it." : "Click a frame to choose its sample for the other panels."}</p>
      {pages > 1 && (
        <p class="pages num" role="group" aria-label="Pages of samples">
          <button type="button" class="quiet" aria-label="Earlier samples" disabled={at === 0} onClick={() => (page.value = at - 1)}>‹</button>
          {at * many + 1}–{Math.min(total, (at + 1) * many)} of {total}
          <button type="button" class="quiet" aria-label="Later samples" disabled={at === pages - 1} onClick={() => (page.value = at + 1)}>›</button>
        </p>
      )}
    </div>
  );
}

/** One sample's frame in place of the montage: who it is, and its neighbours. */
function Large({ shown }: { shown: readonly Sample[] }) {
  const sample = focus.value;
  const back = useRef<HTMLButtonElement>(null);
  useEffect(() => back.current?.focus({ preventScroll: true }), []);
  if (!sample) return null;
  const at = shown.findIndex((one) => one.id === sample.id);
  const close = () => {
    enlarged.value = false;
    // The keyboard goes on where it was, once the montage is there again.
    requestAnimationFrame(() => document.querySelector<HTMLElement>('.tile[aria-selected="true"]')?.focus({ preventScroll: true }));
  };
  const step = (by: number) => {
    const next = shown[(at + by + shown.length) % shown.length];
    if (next) choose(next.id, false);
  };
  return (
    <div class="below">
      <p class="num">{sampleTitle(sample)} <span class="muted">seed {sample.seed}</span></p>
      <p class="pages">
        <button type="button" class="quiet" disabled={shown.length < 2} aria-label="Previous sample" onClick={() => step(-1)}>‹</button>
        <button type="button" class="quiet" disabled={shown.length < 2} aria-label="Next sample" onClick={() => step(1)}>›</button>
        <button ref={back} type="button" class="quiet" onClick={close}>All samples</button>
      </p>
    </div>
  );
}
