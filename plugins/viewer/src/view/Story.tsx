import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import "./parts/parts.css";
import "./attention/attention.css";
import "./plane/plane.css";
import "./story/story.css";
import type { Run, Sample } from "../model/api";
import { column, focus, run, view } from "../state";
import { bytes, fileName, sampleTitle, stepFacts } from "../words";
import { Panel } from "./Panel";
import { accountBytes } from "./ledger/account";
import { Without } from "./parts/Without";
import { useLoaded } from "./parts/load";
import { chaptersOf, type Chapter } from "./story/chapters";
import { factsOf, type Facts } from "./story/facts";
import { current, openChapter, useReading } from "./story/scroll";
import { StageOf } from "./story/Stages";

/** A story that reads more than this of a sample waits for a click. */
const WAITS = 256e6;
const SAYS = "The run of one sample, told by its own numbers: scroll, and the slider moves with what is read.";

/** From noise to a finished picture, with the run's own numbers. */
export function Story() {
  const [opened, sample] = [run.value, focus.value];
  if (!opened) return null;
  if (!sample || sample.row === undefined) {
    return (
      <Panel title="Story" says={SAYS}>
        {sample ? <Without run={opened} sample={sample} what="states" has={(one) => one.row !== undefined} /> : <p class="empty">No sample is finished yet: the story begins when one is.</p>}
      </Panel>
    );
  }
  return <Sampled key={`${opened.name} ${sample.id}`} run={opened} sample={sample} />;
}

function Sampled({ run: opened, sample }: { run: Run; sample: Sample }) {
  const begun = useSignal(accountBytes(opened) <= WAITS);
  const facts = useLoaded(() => (begun.value ? factsOf(opened, sample) : Promise.resolve(undefined)), [opened, sample.position, begun.value]);
  if (!begun.value) {
    return (
      <Panel title="Story" says={SAYS}>
        <p class="empty">The story reads {bytes(accountBytes(opened))} of this sample. <button type="button" class="quiet" onClick={() => (begun.value = true)}>Read them</button></p>
      </Panel>
    );
  }
  if (!facts) return <Panel title="Story" says={SAYS}><p class="muted">The numbers of {sampleTitle(sample)} are being read.</p></Panel>;
  return <Chapters facts={facts} />;
}

/** The story as text, for a caption or a talk. */
function text(chapters: readonly Chapter[]): Blob {
  return new Blob([chapters.map((chapter) => `${chapter.title}\n\n${chapter.text.join("\n")}\n`).join("\n")], { type: "text/plain" });
}

function Chapters({ facts }: { facts: Facts }) {
  const place = useRef<HTMLDivElement>(null);
  const chapters = useMemo(() => chaptersOf(facts), [facts]);
  useReading(place, chapters);
  const open = (index: number) => openChapter(place.current, Math.max(0, Math.min(chapters.length - 1, index)));
  useEffect(() => {
    // Page Up and Page Down turn the pages of the story; elsewhere they move the slider.
    const keys = (event: KeyboardEvent) => {
      if (event.defaultPrevented || (event.key !== "PageDown" && event.key !== "PageUp")) return;
      if (event.target instanceof Element && event.target.closest("input, select, textarea, [data-keys]")) return;
      event.preventDefault();
      open(current.peek() + (event.key === "PageDown" ? 1 : -1));
    };
    addEventListener("keydown", keys, true);
    return () => removeEventListener("keydown", keys, true);
  }, [chapters]);
  const at = Math.min(current.value, chapters.length - 1);
  const chapter = chapters[at];
  return (
    <Panel title="Story" says={SAYS} saves={[{ name: fileName(facts.run, "story", `sample-${facts.sample.id}`, ".txt"), make: () => text(chapters) }]}>
      <div class="story" ref={place}>
        <div class="story-stage">
          <div class="story-picture">{chapter && <StageOf key={chapter.id} facts={facts} chapter={chapter} />}</div>
          <nav class="story-turn num" aria-label="Chapters">
            <button type="button" class="quiet" disabled={at === 0} aria-keyshortcuts="PageUp" onClick={() => open(at - 1)}>Back</button>
            <span>{at + 1} of {chapters.length} · {stepFacts(facts.run, column.value).place}</span>
            <button type="button" class="quiet" disabled={at >= chapters.length - 1} aria-keyshortcuts="PageDown" onClick={() => open(at + 1)}>Next</button>
          </nav>
        </div>
        <div class="story-text">
          {chapters.map((one, index) => (
            <article key={one.id} class={index === at ? "chapter current" : "chapter"} aria-current={index === at ? "step" : undefined}>
              <h3 tabIndex={-1}>{one.title}</h3>
              {one.text.map((sentence) => <p key={sentence}>{sentence}</p>)}
              {index === chapters.length - 1 && <p><button type="button" class="solid" onClick={() => (view.value = "look")}>Look at it in detail</button></p>}
            </article>
          ))}
        </div>
      </div>
    </Panel>
  );
}
