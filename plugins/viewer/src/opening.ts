// Opening: from files, the page's own offers, or an address, to the runs that are shown.
import { effect } from "@preact/signals";
import { openTrajectories } from "./model/open";
import { fileSource } from "./reader/source";
import type { Run } from "./model/api";
import { apply, current, format, parse, type Shown } from "./hash";
import { labelled, offers } from "./offers";
import { catalog, entries, opening, playing, problem, run, runs, tick, type Entry } from "./state";
import { bytes } from "./words";

/** Counts what was begun, so that a slow file never replaces one that was opened after it. */
let begun = 0;

export function lineOf(error: unknown, name = ""): string {
  const text = (error instanceof Error ? error.message : String(error)).replace(/\s+/g, " ").trim() || "it cannot be read";
  return name && !text.startsWith(name) && !(error instanceof Error && error.name === "FileProblem") ? `${name}: ${text}` : text;
}

/** Shows one entry, or two that are compared. What is shown of them is as the address says, or as on a first look. */
export async function show(wanted: readonly Entry[], shown: Shown): Promise<void> {
  const turn = (begun += 1);
  const two = wanted.slice(0, 2);
  opening.value = `Opening ${two.map((entry) => entry.label).join(" and ")} …`;
  problem.value = undefined;
  try {
    const found = await Promise.all(two.map((entry) => entry.open().catch((error: unknown) => { throw new Error(lineOf(error, entry.label)); })));
    if (turn !== begun || !found[0]) return;
    playing.value = false;
    entries.value = two;
    runs.value = found;
    apply(shown, found[0]);
  } catch (error) {
    if (turn === begun) problem.value = lineOf(error);
  } finally {
    if (turn === begun) opening.value = undefined;
  }
}

/** A run of some files. It is opened anew when it is shown again, so that what is not shown takes no memory. */
function diskEntry(first: Run, files: readonly File[], index: number): Entry {
  let waiting: Run | undefined = first;
  const open = async () => {
    const found = waiting ?? (await openTrajectories(files.map((file) => fileSource(file)))).runs[index];
    waiting = undefined;
    if (!found) throw new Error("it is not there any more: drop it again");
    return found;
  };
  return { label: first.source.name, origin: "disk", open };
}

/** Opens files from the disk: one is looked at, two are compared; with `beside`, one is compared with what is open. */
export async function openFiles(files: readonly File[], beside = false): Promise<void> {
  if (!files.length) return;
  const turn = (begun += 1);
  opening.value = `Opening ${files.map((file) => `${file.name} (${bytes(file.size)})`).join(", ")} …`;
  problem.value = undefined;
  try {
    const { runs: found, problems } = await openTrajectories(files.map((file) => fileSource(file)));
    if (turn !== begun) return;
    const kept = catalog.value.filter((entry) => (beside ? entry.origin !== "example" : entry.origin !== "example" && entry.origin !== "disk"));
    const added = labelled(found.map((one, i) => diskEntry(one, files, i)), kept);
    const wanted = beside && entries.value[0] ? [entries.value[0], ...added] : added;
    if (added.length) {
      catalog.value = [...kept, ...added];
      const shown = beside ? current() : keep();
      await show(wanted, wanted.length > 1 ? { ...shown, view: "compare" } : shown);
    }
    if (problems.length) problem.value = problems.join(" · ");
  } catch (error) {
    if (turn === begun) problem.value = lineOf(error, files.length === 1 ? files[0]?.name : "");
  } finally {
    if (turn === begun) opening.value = undefined;
  }
}

/** What an address still waits for: a colleague's link names a file of their disk, which is dropped here afterwards. */
let awaited: Shown | undefined;

function keep(): Shown {
  const shown = awaited ?? {};
  awaited = undefined;
  return shown;
}

/** The entries that an address names, or the first ones; a line about what it names in vain. */
function chosenBy(shown: Shown, found: readonly Entry[]): readonly Entry[] {
  const named = [shown.a, shown.b].filter((name) => name !== undefined);
  const missing = named.filter((name) => !found.some((entry) => entry.label === name));
  if (missing.length) {
    awaited = shown;
    problem.value = `This address shows ${missing.join(" and ")}, which is not on this page: drop ${missing.length > 1 ? "the files" : "the file"} here to see the same.`;
  }
  const there = named.flatMap((name) => found.filter((entry) => entry.label === name));
  return there.length ? there : found.slice(0, 2);
}

/** Opens what the page offers, and follows its address from then on. */
export async function begin(): Promise<void> {
  const shown = parse(location.hash);
  try {
    catalog.value = offers(document, location);
  } catch (error) {
    problem.value = `The list of files in this page cannot be read: ${lineOf(error)}`;
  }
  const wanted = chosenBy(shown, catalog.value);
  const message = problem.value;
  await show(wanted, awaited ? {} : { ...(wanted.length > 1 ? { view: "compare" as const } : {}), ...shown });
  problem.value ??= message;
  followAddress();
  followRun();
}

/** Writes what is shown into the address, not more often than browsers allow; reads it when somebody changes it. */
function followAddress(): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let written = location.hash;
  effect(() => {
    const hash = `#${format(current())}`;
    if (playing.value || !entries.value.length || awaited) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      try {
        if (hash !== location.hash) history.replaceState(null, "", hash);
        written = location.hash;
      } catch {
        // A frame in a notebook has no address of its own.
      }
    }, 250);
  });
  addEventListener("hashchange", () => {
    if (location.hash === written) return;
    const shown = parse(location.hash);
    const wanted = chosenBy(shown, catalog.value);
    const same = wanted.every((entry, i) => entry.label === entries.value[i]?.label) && wanted.length === entries.value.length;
    if (same && run.value) apply(shown, run.value);
    else void show(wanted, shown);
  });
}

const [SOON, LATEST] = [2_000, 30_000];

/** Looks again at runs that are still written: every two seconds, more rarely while nothing happens. A file from the disk is
 *  looked at when the page is: one that has changed there cannot be read on. */
function followRun(): void {
  let wait = SOON;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const look = async () => {
    try {
      const changed = await Promise.all(runs.value.map((one) => one.refresh()));
      wait = changed.some(Boolean) ? SOON : Math.min(LATEST, wait * 1.5);
      if (changed.some(Boolean)) tick.value += 1;
    } catch (error) {
      problem.value = lineOf(error, run.value?.name);
      wait = LATEST;
    }
    plan();
  };
  const plan = () => {
    clearTimeout(timer);
    const live = runs.value.some((one, i) => one.live && entries.value[i]?.origin !== "disk" && entries.value[i]?.origin !== "embedded");
    if (live && !document.hidden) timer = setTimeout(() => void look(), wait);
  };
  effect(() => {
    void runs.value;
    wait = SOON;
    plan();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    wait = SOON;
    if (entries.value.some((entry) => entry.origin === "disk")) void look();
    else plan();
  });
  addEventListener("focus", () => {
    if (entries.value.some((entry) => entry.origin === "disk")) void look();
  });
}

/** The link to what is shown, on the clipboard. Returns what to say of it. */
export async function copyLink(): Promise<string> {
  const link = new URL(`#${format(current())}`, location.href).href;
  try {
    await navigator.clipboard.writeText(link);
  } catch {
    const field = document.createElement("textarea");
    field.value = link;
    field.className = "hidden";
    document.body.append(field);
    field.select();
    // Old, but the only one that pages from a disk and frames may use.
    const done = document.execCommand("copy");
    field.remove();
    if (!done) return "This browser does not let the page copy: copy the address of the page itself.";
  }
  const disk = entries.value.filter((entry) => entry.origin === "disk").map((entry) => entry.label);
  return disk.length ? `The link is copied. Whoever opens it drops ${disk.join(" and ")} onto the page.` : "The link is copied.";
}

