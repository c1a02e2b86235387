// Reading moves the slider: which chapter stands at the reading line, and how far it has been read.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { RefObject } from "preact";
import { playing, seek } from "../../state";
import type { Chapter } from "./chapters";

/** The chapter that is read. */
export const current = signal(0);

export const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** The column that belongs to a share of a chapter; without motion only the one that it is about. */
export function columnOf(chapter: Chapter, share: number, motionless: boolean): number {
  if (motionless) return chapter.key;
  return Math.round(chapter.from + (chapter.to - chapter.from) * Math.max(0, Math.min(1, share)));
}

/** Which box holds the line, and how far the line has come in it; the nearest where none does. */
export function readAt(boxes: readonly { readonly top: number; readonly height: number }[], line: number): { readonly index: number; readonly share: number } {
  let index = 0;
  boxes.forEach((box, at) => {
    if (box.top <= line) index = at;
  });
  const box = boxes[index];
  return { index, share: box && box.height > 0 ? (line - box.top) / box.height : 0 };
}

function boxesOf(place: HTMLElement): DOMRect[] {
  return [...place.querySelectorAll<HTMLElement>(".chapter")].map((element) => element.getBoundingClientRect());
}

/** On a narrow page the picture covers the upper half: text is read in the lower. */
const lineOf = () => (innerWidth < 900 ? 0.68 : 0.5) * innerHeight;

/** Follows the scrolling of the page while the story is open. */
export function useReading(place: RefObject<HTMLElement | null>, chapters: readonly Chapter[]): void {
  useEffect(() => {
    let request = 0;
    const read = () => {
      request = 0;
      const element = place.current;
      if (!element || !chapters.length) return;
      const { index, share } = readAt(boxesOf(element), lineOf());
      const chapter = chapters[index];
      if (!chapter) return;
      current.value = index;
      playing.value = false;
      seek(columnOf(chapter, share, still()));
    };
    const scrolled = () => {
      if (!request) request = requestAnimationFrame(read);
    };
    // What was read last may still be in sight, and the slider may stand elsewhere.
    read();
    addEventListener("scroll", scrolled, { passive: true });
    return () => {
      removeEventListener("scroll", scrolled);
      cancelAnimationFrame(request);
    };
  }, [chapters]);
}

/** Scrolls to a chapter and gives it the focus, so that the keyboard goes on from it. */
export function openChapter(place: HTMLElement | null, index: number): void {
  const element = place?.querySelectorAll<HTMLElement>(".chapter")[index];
  if (!element) return;
  element.querySelector<HTMLElement>("h3")?.focus({ preventScroll: true });
  const heading = element.querySelector("h3") ?? element;
  const height = innerWidth < 900 ? 0.56 : 0.28;
  scrollTo({ top: scrollY + heading.getBoundingClientRect().top - height * innerHeight, behavior: still() ? "auto" : "smooth" });
}
