// The page's keys: they work wherever nothing else wants them.
import { faster, lastColumn, column, playing, seek, toggle } from "./state";
import { signal } from "@preact/signals";

/** Whether the list of keys is shown. */
export const keysShown = signal(false);

export const KEYS: readonly (readonly [string, string])[] = [
  ["← →", "one step back or on"],
  ["Page Up, Page Down", "a tenth of the run back or on"],
  ["Home, End", "the first noise, the final state"],
  ["Space", "play or pause"],
  ["[ ]", "slower, faster"],
  ["Arrows among frames", "move among samples; Enter chooses one, Ctrl+Enter adds it, L enlarges it"],
  ["?", "show or hide this list"],
];

/** Elements that use the arrows, or the space bar, themselves. */
const TYPING = "input:not([type=range]), select, textarea";
const ARROWS = `${TYPING}, input[type=range]:not([data-steps]), [role=listbox], [role=tab], [role=radio], [data-keys]`;
const SPACE = `${TYPING}, button, a, summary, [role=button], [role=option], [role=tab], [role=radio]`;

function move(key: string): boolean {
  const page = Math.max(1, Math.round(lastColumn.value / 10));
  const to = { ArrowLeft: column.value - 1, ArrowRight: column.value + 1, PageUp: column.value - page, PageDown: column.value + page,
    Home: 0, End: lastColumn.value }[key];
  if (to === undefined) return false;
  playing.value = false;
  seek(to);
  return true;
}

/** Follows the keys of the whole page; returns what stops it. */
export function followKeys(target: Window): () => void {
  const listen = (event: KeyboardEvent) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const on = event.target instanceof Element ? event.target : undefined;
    const typing = on?.closest(TYPING);
    let done = false;
    if (event.key === " " && !on?.closest(SPACE)) (toggle(), (done = true));
    else if (!typing && event.key === "[") (faster(-1), (done = true));
    else if (!typing && event.key === "]") (faster(1), (done = true));
    else if (!typing && event.key === "?") ((keysShown.value = !keysShown.value), (done = true));
    else if (event.key === "Escape" && keysShown.value) ((keysShown.value = false), (done = true));
    else if (!on?.closest(ARROWS)) done = move(event.key);
    if (done) event.preventDefault();
  };
  target.addEventListener("keydown", listen);
  return () => target.removeEventListener("keydown", listen);
}
