import { signal } from "@preact/signals";
import { useMemo, useRef } from "preact/hooks";
import "./parts/parts.css";
import "./tokens/tokens.css";
import type { Layer, Sample } from "../model/api";
import { csvOf } from "../save";
import { focus, layer as chosenLayer, token as chosenToken } from "../state";
import { capital, fileName, sampleTitle, stepFacts } from "../words";
import { Panel } from "./Panel";
import { choice, layerKey, momentOf, type Choice } from "./attention/choice";
import { useColumn } from "./parts/column";
import { useLoaded } from "./parts/load";
import { Toggle } from "./parts/Toggle";
import { entriesOf, meanOf, sharesAt, sharesOf, type Entry } from "./tokens/groups";
import { tokenWords } from "./tokens/words";

/** Whether special tokens are left out. */
const masked = signal(true);
/** Bars that are shown; a text of more tokens has its largest. */
const MOST = 16;
const percent = (share: number) => (Number.isFinite(share) ? `${(100 * share).toFixed(1)} %` : "–");

/** Which words the network looks at; nothing where the file has no texts. */
export function Tokens() {
  const [shown, sample] = [choice.value, focus.value];
  if (!shown || !sample) return null;
  const cross = shown.layer.kind === "cross" ? shown.layer : shown.maps.layers.find((one) => one.kind === "cross");
  return cross ? <Text choice={shown} layer={cross} sample={sample} /> : null;
}

interface TextProps { readonly choice: Choice; readonly layer: Layer; readonly sample: Sample }

function Text({ choice: shown, layer, sample }: TextProps) {
  const place = useRef<HTMLDivElement>(null);
  const { run: opened, maps, position, condition, head, column } = momentOf(shown, useColumn(place));
  const tokens = useMemo(() => maps.tokens(position, condition), [maps, position, condition]);
  const values = useLoaded(() => maps.activation(layer, position, condition), [opened, layer, position, condition]);
  const entries = useMemo(() => entriesOf(tokens, masked.value), [tokens, masked.value]);
  const count = layer.tokens ?? tokens.length;
  const row = maps.columns.indexOf(column);
  const at = (each: number) => sharesOf(entries, values && each >= 0 ? sharesAt(values, layer.heads, count, head, each) : new Float64Array(count).fill(Number.NaN), masked.value);
  const now = useMemo(() => at(row), [values, entries, row, head]);
  const mean = useMemo(() => meanOf(maps.columns.map((_, each) => at(each)), entries.length), [values, entries, head]);
  const pick = (entry: Entry) => {
    // A token's map is one of cross attention: the panel of maps follows.
    if (shown.layer !== layer) chosenLayer.value = layerKey(layer);
    chosenToken.value = entry.at;
  };
  const table = () => csvOf([["token", "text", "special", "tokens", "share at this step", "mean share"], ...entries.map((entry, at) => [entry.at, entry.token.text, Number(entry.token.special), entry.count, now[at], mean[at]])]);
  const says = `What each token of the text gets of all attention, in percent${masked.value ? " of what the words get together" : ""}: at this step, and on average over the recorded steps.`;
  return (
    <Panel title="Tokens" says={says} saves={[{ name: fileName(opened, "tokens", `sample-${sample.id}`, ".csv"), make: table }]}
      controls={<Toggle label="Tokens" value={masked.value ? "words" : "all"} choices={[["words", "words"], ["all", "with special tokens"]]} onChange={(to) => (masked.value = to === "words")} />}>
      {entries.length === 0 ? (
        <p class="empty">{condition === "null" ? "The null condition has no words" : "This text has no words"}: show it with special tokens.</p>
      ) : (
        <div ref={place}>
          <Strip entries={entries} now={now} mean={mean} current={shown.token} onPick={pick} />
          {row < 0 && <p class="note">{capital(stepFacts(opened, column).title)} has no recorded attention; the mean over the recorded steps is shown.</p>}
          <Bars entries={entries} now={now} mean={mean} current={shown.token} onPick={pick} />
          <p class="muted token-layer">Layer {layer.path}, {head === "mean" ? "mean of the heads" : `head ${head}`}, {sampleTitle(sample)}.</p>
        </div>
      )}
    </Panel>
  );
}

interface ListProps { readonly entries: readonly Entry[]; readonly now: readonly number[]; readonly mean: readonly number[]; readonly current: number; readonly onPick: (entry: Entry) => void }

const entryWords = (entry: Entry) => (entry.count > 1 ? `${tokenWords(entry.token)} × ${entry.count}` : tokenWords(entry.token));

/** The text itself: the more a token gets, the stronger its tint. */
function Strip({ entries, now, mean, current, onPick }: ListProps) {
  const shares = entries.map((_, at) => (Number.isFinite(now[at]) ? now[at] : mean[at]) ?? 0);
  const top = Math.max(1e-9, ...shares);
  return (
    <div class="strip-tokens" role="group" aria-label="Tokens of the text">
      {entries.map((entry, at) => (
        <button key={entry.at} type="button" aria-pressed={entry.at === current} class={`token${entry.token.special ? " special" : ""}${entry.joined ? " joined" : ""}`}
          style={{ "--tint": `${Math.round((45 * (shares[at] ?? 0)) / top)}%` }} title={`${entry.token.encoder}, id ${entry.token.id}`}
          aria-label={`${entryWords(entry)}, ${percent(shares[at] ?? Number.NaN)}`} onClick={() => onPick(entry)}>
          {entryWords(entry)}
        </button>
      ))}
    </div>
  );
}

/** The tokens that get most on average: a bar for this step, and a mark for the mean. */
function Bars({ entries, now, mean, current, onPick }: ListProps) {
  const order = entries.map((_, at) => at).sort((one, two) => (mean[two] ?? 0) - (mean[one] ?? 0)).slice(0, MOST);
  const top = Math.max(1e-9, ...order.flatMap((at) => [now[at] ?? 0, mean[at] ?? 0]).filter(Number.isFinite));
  return (
    <>
      <ol class="token-bars num">
        {order.map((at) => {
          const entry = entries[at] as Entry;
          return (
            <li key={entry.at} class={entry.at === current ? "current" : ""}>
              <button type="button" class="quiet" onClick={() => onPick(entry)}>{entryWords(entry)}</button>
              <span class="bar" aria-hidden="true">
                <span style={{ width: `${(100 * (Number.isFinite(now[at]) ? now[at] ?? 0 : 0)) / top}%` }} />
                <i style={{ left: `${(100 * (mean[at] ?? 0)) / top}%` }} />
              </span>
              <span class="bar-value"><span class="hidden">at this step </span>{percent(now[at] ?? Number.NaN)}</span>
              <span class="bar-value muted"><span class="hidden">on average </span>{percent(mean[at] ?? Number.NaN)}</span>
            </li>
          );
        })}
      </ol>
      <p class="muted token-key"><span class="key-bar" aria-hidden="true" /> this step <i class="key-mark" aria-hidden="true" /> mean over the recorded steps
        {entries.length > MOST && `; ${MOST} of ${entries.length} tokens, those with the largest mean`}</p>
    </>
  );
}
