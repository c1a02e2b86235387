import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { download } from "../save";
import { notice, problem } from "../state";

export interface Save { /** Of the file; a function, where it depends on the slider. */ readonly name: string | (() => string); readonly make: () => Promise<Blob> | Blob }

export interface PanelProps {
  readonly title: string;
  /** One sentence: what is seen, and in which units. */
  readonly says: string;
  /** Names of files and what makes them: PNG, SVG, CSV of what the panel shows. */
  readonly saves?: readonly Save[];
  /** What stands beside the heading: the choice of what is shown. */
  readonly controls?: ComponentChildren;
  readonly children: ComponentChildren;
}

/** A part of the page with its heading, one sentence that explains it, and what can be saved of it. */
export function Panel({ title, says, saves = [], controls, children }: PanelProps) {
  const id = `panel-${title.toLowerCase().replace(/\W+/g, "-")}`;
  return (
    <section class="panel" aria-labelledby={id}>
      <div class="panel-head">
        <h2 id={id}>{title}</h2>
        <div class="panel-controls">
          {controls}
          {saves.length > 0 && <SaveMenu title={title} saves={saves} />}
        </div>
      </div>
      <p class="says">{says}</p>
      {children}
    </section>
  );
}

const nameOf = (save: Save): string => (typeof save.name === "string" ? save.name : save.name());

/** The panel's menu of files. It closes on a click elsewhere and on Escape, as menus do. */
function SaveMenu({ title, saves }: { title: string; saves: readonly Save[] }) {
  const open = useSignal(false);
  const menu = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open.value) return undefined;
    const outside = (event: Event) => {
      if (event.target instanceof Node && !menu.current?.contains(event.target)) open.value = false;
    };
    document.addEventListener("pointerdown", outside);
    menu.current?.querySelector<HTMLButtonElement>(".menu-list button")?.focus();
    return () => document.removeEventListener("pointerdown", outside);
  }, [open.value]);
  const close = () => {
    open.value = false;
    button.current?.focus();
  };
  const keys = (event: KeyboardEvent) => {
    if (event.key === "Escape") (close(), event.preventDefault());
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const items = [...(menu.current?.querySelectorAll<HTMLButtonElement>(".menu-list button") ?? [])];
    const at = items.indexOf(document.activeElement as HTMLButtonElement) + (event.key === "ArrowDown" ? 1 : -1);
    items.at(at % items.length)?.focus();
    event.preventDefault();
  };
  const save = async (one: Save) => {
    close();
    const name = nameOf(one);
    try {
      download(name, await one.make());
      notice.value = `${name} is saved`;
    } catch (error) {
      problem.value = `${name}: ${error instanceof Error ? error.message : String(error)}`;
    }
  };
  return (
    <div class="menu" ref={menu} data-keys onKeyDown={keys}>
      <button ref={button} type="button" class="quiet" aria-haspopup="true" aria-expanded={open.value} aria-label={`Save ${title}`}
        onClick={() => (open.value = !open.value)}>
        Save
      </button>
      {open.value && (
        <div class="menu-list" role="group" aria-label={`Files of ${title}`}>
          {saves.map((one, i) => (
            <button key={i} type="button" onClick={() => void save(one)}>
              <span class="kind">{nameOf(one).split(".").at(-1)?.toUpperCase()}</span>
              {nameOf(one)}
            </button>
          ))}
        </div>
      )}
    </div>
  );
}
