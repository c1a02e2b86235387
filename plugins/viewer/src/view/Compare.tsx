import { useMemo } from "preact/hooks";
import "./parts/parts.css";
import "./compare/compare.css";
import { alignments, matchSamples, pairColumns, type Match } from "../model/align";
import type { Run } from "../model/api";
import { alignment, choose, entries, focus, other, run, swap } from "../state";
import { Panel } from "./Panel";
import { Both } from "./compare/Both";
import { Frames } from "./compare/Frames";
import { Parting } from "./compare/Parting";
import { Settings } from "./compare/Settings";
import { Toggle } from "./parts/Toggle";

const BY = { step: "step", progress: "progress", sigma: "noise level σ" } as const;
/** How many pairs are offered as buttons; of more a list is. */
const MOST = 12;

/** Two runs under one slider. */
export function Compare() {
  const [a, b] = [run.value, other.value];
  if (!a) return null;
  return b ? <Two key={`${a.name} ${b.name}`} a={a} b={b} /> : <Alone run={a} />;
}

function Alone({ run: opened }: { run: Run }) {
  const example = entries.value[0]?.origin === "example";
  return (
    <Panel title="Compare" says="Two runs side by side under one slider: their frames, what differs in them, and from which step on.">
      <div class="alone">
        <p>{example ? "The example is open. Two runs of your own are compared by any of these:" : `One run is open, ${opened.source.name}. A second one is added by any of these:`}</p>
        <ul>
          <li>{example ? "drop both files on this page together;" : "drop its file on the right half of this page: the run that is open stays A, and the new one becomes B;"}</li>
          <li>choose both with “Open files…”;</li>
          <li>give both to the command: <code>emnist-diff view {example ? "one.h5" : opened.source.name} other.h5</code>.</li>
        </ul>
        <p class="muted">
          Runs of the same seed begin in the same noise, so that what differs in them comes from their settings:{" "}
          <code>emnist-diff run … --seed {String(opened.config["seed"] ?? 1000)}</code> with one setting changed is a good second run.
        </p>
      </div>
    </Panel>
  );
}

function Two({ a, b }: { a: Run; b: Run }) {
  const matches = useMemo(() => matchSamples(a, b), [a, b, a.samples, b.samples]);
  const columns = useMemo(() => pairColumns(a, b, alignment.value), [a, b, alignment.value]);
  const match = matches.find((one) => one.a.id === focus.value?.id) ?? matches[0];
  const why = alignments(a, b).find((one) => one.by === alignment.value)?.why;
  const swapping = <button type="button" class="quiet" onClick={swap}>Swap A and B</button>;
  if (!match) {
    return (
      <div class="stack">
        <Panel title="Compare" says="Two runs side by side under one slider." controls={swapping}>
          <p class="empty">No sample of {a.name} has a partner in {b.name}: both files must keep the states of finished samples.</p>
        </Panel>
        <Panel title="Settings" says="The settings of the two configurations that differ."><Settings a={a} b={b} /></Panel>
      </div>
    );
  }
  return (
    <div class="stack">
      <Frames a={a} b={b} match={match} columns={columns} controls={
        <>
          <Toggle label="Steps that belong together" value={alignment.value} choices={(["step", "progress", "sigma"] as const).map((by) => [by, BY[by]])} onChange={(to) => (alignment.value = to)} />
          {swapping}
        </>
      } before={<Choice matches={matches} match={match} why={`${match.why} ${why ?? ""}`} />} />
      <Parting a={a} b={b} match={match} columns={columns} />
      <Both a={a} b={b} match={match} columns={columns} />
      <Panel title="Settings" says="The settings of the two configurations that differ; all others are the same."><Settings a={a} b={b} /></Panel>
    </div>
  );
}

/** Which pair of samples is shown, and why they belong together. */
function Choice({ matches, match, why }: { matches: readonly Match[]; match: Match; why: string }) {
  const name = (one: Match) => `${one.a.id}${one.b.id === one.a.id ? "" : ` and ${one.b.id}`} (${one.a.className})`;
  return (
    <div class="pairs">
      {matches.length <= MOST ? (
        <span class="pair-buttons" role="group" aria-label="Pair of samples">
          <span class="muted">Samples</span>
          {matches.map((one) => (
            <button key={one.a.id} type="button" class="quiet" aria-pressed={one === match} onClick={() => choose(one.a.id, false)}>{name(one)}</button>
          ))}
        </span>
      ) : (
        <label>
          <span class="muted">Samples </span>
          <select value={match.a.id} onChange={(event) => choose(Number(event.currentTarget.value), false)}>
            {matches.map((one) => <option key={one.a.id} value={one.a.id}>{name(one)}</option>)}
          </select>
        </label>
      )}
      <p class="muted">{why}</p>
    </div>
  );
}
