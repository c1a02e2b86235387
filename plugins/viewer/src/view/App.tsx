import { useEffect } from "preact/hooks";
import { followKeys } from "../keys";
import { notice, other, run, runs, view, type View } from "../state";
import { count } from "../words";
import { Scrubber } from "./Scrubber";
import { ThemeButton, useTheme } from "./Theme";

const TITLES: Readonly<Record<View, string>> = { look: "Look", compare: "Compare", story: "Story", about: "About" };

/** The page: what is opened, the views of it, and the slider that all of them share. */
export function App() {
  useTheme();
  useEffect(() => followKeys(window), []);
  return (
    <>
      <Header />
      <main class={`view view-${view.value}`} id="main">
        {run.value && <Look />}
      </main>
      <Scrubber />
      <p class="hidden" role="status">{notice.value}</p>
    </>
  );
}

function Header() {
  return (
    <header class="top">
      <div class="brand">
        <h1>emnist-diff</h1>
        <Opened />
      </div>
      <nav class="views" aria-label="Views">
        {(Object.keys(TITLES) as View[]).map((one) => (
          <button key={one} type="button" aria-current={view.value === one ? "page" : undefined} onClick={() => (view.value = one)}>
            {TITLES[one]}
          </button>
        ))}
      </nav>
      <div class="actions">
        <ThemeButton />
      </div>
    </header>
  );
}

/** Names of what is open: A in blue, B in orange, as in every comparison. */
function Opened() {
  const [a] = runs.value;
  if (!a) return null;
  const b = other.value;
  return (
    <p class="opened">
      {b && <b class="mark mark-a">A</b>}
      <span class="file">{a.name}</span>
      {b ? (
        <><b class="mark mark-b">B</b><span class="file">{b.name}</span></>
      ) : (
        <span class="muted num">{count(a.samples.length, "sample")}, {count(a.schedule.steps, "step")}</span>
      )}
    </p>
  );
}

function Look() {
  return <div class="columns" />;
}
