import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { copyLink, openFiles, show } from "../opening";
import { current } from "../hash";
import { catalog, entries, notice, opening, problem, type Entry } from "../state";

/** The button that opens files, for those who do not drop them. */
export function OpenButton() {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button type="button" class="quiet" aria-label="Open files…" onClick={() => input.current?.click()}>
        <span class="text">Open files…</span>
        <svg class="glyph" viewBox="0 0 20 20" aria-hidden="true"><path d="M2.5 16.5v-12h5l2 2.5h8v9.5z" /></svg>
      </button>
      <input ref={input} class="hidden" type="file" multiple accept=".h5,.hdf5" tabIndex={-1} aria-label="Open trajectory files"
        onChange={(event) => {
          const files = [...(event.currentTarget.files ?? [])];
          event.currentTarget.value = "";
          void openFiles(files);
        }} />
    </>
  );
}

export function LinkButton() {
  const done = useSignal(false);
  const copy = async () => {
    notice.value = await copyLink();
    done.value = true;
    setTimeout(() => (done.value = false), 2500);
  };
  return (
    <button type="button" class="quiet" aria-label="Copy link" onClick={() => void copy()}>
      <span class={done.value ? "text gone" : "text"}>Copy link</span>
      <svg class={done.value ? "glyph gone" : "glyph"} viewBox="0 0 20 20" aria-hidden="true"><path d="M8.5 11.5l3-3M9 6l2-2a3.5 3.5 0 0 1 5 5l-2 2M11 14l-2 2a3.5 3.5 0 0 1-5-5l2-2" /></svg>
      {done.value && <span class="copied" aria-hidden="true">Copied</span>}
    </button>
  );
}

/** What is open: A in blue and B in orange, as in every comparison, each to be changed for another file of the page. */
export function Opened() {
  const [a, b] = entries.value;
  if (!a) return null;
  if (catalog.value.length < 2) return <p class="opened"><span class="file">{a.label}</span></p>;
  const change = (first: Entry | undefined, second: Entry | undefined) => {
    const wanted = [first, second].filter((entry) => entry !== undefined);
    const view = second ? "compare" : current().view === "compare" ? "look" : (current().view ?? "look");
    void show(wanted, { ...current(), view });
  };
  const found = (label: string) => catalog.value.find((entry) => entry.label === label);
  return (
    <p class="opened">
      <b class="mark mark-a" aria-hidden="true">A</b>
      <select aria-label="Run A" value={a.label} onChange={(event) => change(found(event.currentTarget.value), b)}>
        {catalog.value.map((entry) => <option key={entry.label}>{entry.label}</option>)}
      </select>
      <b class="mark mark-b" aria-hidden="true">B</b>
      <select aria-label="Run B" value={b?.label ?? ""} onChange={(event) => change(a, found(event.currentTarget.value))}>
        <option value="">none</option>
        {catalog.value.map((entry) => <option key={entry.label}>{entry.label}</option>)}
      </select>
    </p>
  );
}

/** What went wrong, and what is being done, in a line each. */
export function Messages() {
  return (
    <div class="messages">
      {opening.value && <p class="message" role="status"><span class="busy" aria-hidden="true" />{opening.value}</p>}
      <div role="alert">
        {problem.value && (
          <p class="message problem">
            {problem.value}
            <button type="button" class="quiet" aria-label="Close the message" onClick={() => (problem.value = undefined)}>×</button>
          </p>
        )}
      </div>
    </div>
  );
}

/** After a file that could not be opened: the page is empty, and says how to go on. */
export function Nothing() {
  if (!problem.value || opening.value) return null;
  return (
    <p class="hint">
      No run is open. Drop a <code>trajectory.h5</code> anywhere on this page, or choose one with “Open files…”. Files stay on your machine.
    </p>
  );
}

/** What a first visitor needs to know, while the example is shown. */
export function Hint() {
  const example = useComputed(() => entries.value[0]?.origin === "example");
  if (!example.value) return null;
  return (
    <p class="hint">
      This is a small example: one A, drawn towards B over six steps. Move the slider below, or press the space bar. To see a run of
      your own, drop its <code>trajectory.h5</code> anywhere on this page, or two runs to compare them; files stay on your machine.
    </p>
  );
}

/** Takes files that are dropped anywhere: beside what is open, where they are dropped on that half. */
export function DropZone() {
  const over = useSignal(false);
  const beside = useSignal(false);
  useEffect(() => {
    let depth = 0;
    const files = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const events: Partial<Record<keyof WindowEventMap, (event: DragEvent) => void>> = {
      dragenter: (event) => {
        if (!files(event)) return;
        depth += 1;
        over.value = true;
        event.preventDefault();
      },
      dragover: (event) => {
        if (!files(event)) return;
        event.preventDefault();
        beside.value = entries.peek().length > 0 && entries.peek()[0]?.origin !== "example" && event.clientX > innerWidth / 2;
      },
      dragleave: () => {
        depth = Math.max(0, depth - 1);
        if (!depth) over.value = false;
      },
      drop: (event) => {
        depth = 0;
        over.value = false;
        if (!files(event)) return;
        event.preventDefault();
        void openFiles([...(event.dataTransfer?.files ?? [])], beside.value);
        beside.value = false;
      },
    };
    const all = Object.entries(events) as [string, EventListener][];
    for (const [name, listen] of all) addEventListener(name, listen);
    return () => all.forEach(([name, listen]) => removeEventListener(name, listen));
  }, []);
  if (!over.value) return null;
  const first = entries.value[0];
  const choice = first && first.origin !== "example";
  return (
    <div class="drop" aria-hidden="true">
      <p class={choice && beside.value ? "" : "on"}>{choice ? "Look at the file" : "Drop the files to look at them"}</p>
      {choice && <p class={beside.value ? "on" : ""}>Compare it with {first.label}</p>}
    </div>
  );
}
