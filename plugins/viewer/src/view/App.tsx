import { useEffect } from "preact/hooks";
import { followKeys } from "../keys";
import { notice, run, view, type View } from "../state";
import { About } from "./About";
import { Attention } from "./Attention";
import { Compare } from "./Compare";
import { Frames } from "./Frames";
import { Ledger } from "./Ledger";
import { Metrics } from "./Metrics";
import { DropZone, Hint, LinkButton, Messages, Nothing, OpenButton, Opened } from "./Open";
import { Plane } from "./Plane";
import { KeyList, Scrubber } from "./Scrubber";
import { Story } from "./Story";
import { ThemeButton, useTheme } from "./Theme";
import { Tokens } from "./Tokens";

const TITLES: Readonly<Record<View, string>> = { look: "Look", compare: "Compare", story: "Story", about: "About" };

/** The page: what is opened, the views of it, and the slider that all of them share. */
export function App() {
  useTheme();
  useEffect(() => followKeys(window), []);
  return (
    <>
      <Header />
      <main class={`view view-${view.value}`} id="main">
        <Messages />
        {!run.value && <Nothing />}
        {run.value && view.value === "look" && <Look />}
        {run.value && view.value === "compare" && <Compare />}
        {run.value && view.value === "story" && <Story />}
        {run.value && view.value === "about" && <About />}
      </main>
      <KeyList />
      <Scrubber />
      <p class="hidden" role="status">{notice.value}</p>
      <DropZone />
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
        <OpenButton />
        <LinkButton />
        <ThemeButton />
      </div>
    </header>
  );
}

/** The montage stays in sight while one reads what the others say. */
function Look() {
  return (
    <>
      <Hint />
      <div class="columns">
        <div class="stay"><Frames /></div>
        <div class="stack">
          <Ledger />
          <Attention />
          <Tokens />
          <Metrics />
          <Plane />
        </div>
      </div>
    </>
  );
}
