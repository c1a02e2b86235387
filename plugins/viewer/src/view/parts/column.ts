import { effect, useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect } from "preact/hooks";
import { column } from "../../state";

/** Milliseconds after which the slider rests. */
const RESTS = 200;

/**
 * The slider's column for a panel that costs something to draw: at most once a frame, and while the slider moves only where
 * the panel is near what is in sight. The others catch up once it rests, when they come into sight, and for a print.
 */
export function useColumn(place: RefObject<Element | null>): number {
  const held = useSignal(column.peek());
  useEffect(() => {
    let [near, request, rest] = [true, 0, 0];
    const follow = () => {
      request = 0;
      clearTimeout(rest);
      held.value = column.peek();
    };
    const stop = effect(() => {
      void column.value;
      clearTimeout(rest);
      if (near && !request) request = requestAnimationFrame(follow);
      else if (!near) rest = window.setTimeout(follow, RESTS);
    });
    const watch = new IntersectionObserver(([entry]) => {
      near = entry?.isIntersecting ?? true;
      if (near) follow();
    }, { rootMargin: "25% 0px" });
    if (place.current) watch.observe(place.current);
    addEventListener("beforeprint", follow);
    return () => {
      stop();
      watch.disconnect();
      cancelAnimationFrame(request);
      clearTimeout(rest);
      removeEventListener("beforeprint", follow);
    };
  }, []);
  return held.value;
}
