import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import "./parts/parts.css";
import "./ledger/ledger.css";
import { DIVERGING } from "../draw/colours";
import { balanceOf } from "../model/ledger";
import type { Balance, Field, Run, Sample, Term } from "../model/api";
import { focus, run } from "../state";
import { bytes, count, number, sampleTitle, stepFacts } from "../words";
import { Panel } from "./Panel";
import { accountBytes, accountOf, topOf, type Account } from "./ledger/account";
import { ledgerSaves } from "./ledger/saves";
import { Shares } from "./ledger/Shares";
import { TermCard } from "./ledger/Term";
import { predictionUnit } from "./ledger/words";
import { useColumn } from "./parts/column";
import { useLoaded, useStates } from "./parts/load";
import { Picture } from "./parts/Picture";
import { Scale } from "./parts/Scale";
import { Without } from "./parts/Without";
import { Toggle } from "./parts/Toggle";
import { spread } from "./parts/states";

/** An account that reads more than this waits for a click. */
const WAITS = 128e6;

/** Colours of terms: the base is grey, forces and drifts take the series in order. */
export function termColour(terms: readonly Term[], term: Term): string {
  if (term.kind === "base") return "var(--soft)";
  return `var(--series-${terms.filter((one) => one.kind !== "base").indexOf(term) % 7})`;
}

/** What the page says of base + Σ = prediction at one step. */
export function balanceWords(balance: Balance, forces: number): string {
  const sum = forces === 0 ? "base = prediction" : forces === 1 ? "base + 1 contribution = prediction" : `base + ${forces} contributions = prediction`;
  if (balance.holds && balance.largest === 0) return `${sum}, to the bit`;
  if (balance.holds) return `${sum} to within ${number(balance.largest, 2)}; rounding to float16 allows ${number(balance.allowed, 2)}`;
  return `${sum} misses by ${number(balance.largest, 2)}, and rounding allows ${number(balance.allowed, 2)}: the file is damaged, or was not written by emnist-diff`;
}

/** Forces and drifts of the sample in focus. */
export function Ledger() {
  const opened = run.value;
  const sample = focus.value;
  if (!opened || !sample) return null;
  if (sample.row === undefined) {
    return (
      <Panel title="Forces and drifts" says="What each term added to the prediction of a step, and what each drift changed of the state.">
        <Without run={opened} sample={sample} what="states" has={(one) => one.row !== undefined} />
      </Panel>
    );
  }
  return <Book key={opened.name} run={opened} sample={sample} />;
}

function Book({ run: opened, sample }: { run: Run; sample: Sample }) {
  const own = useSignal(false);
  const begun = useSignal(accountBytes(opened) <= WAITS);
  const place = useRef<HTMLDivElement>(null);
  const now = useColumn(place);
  const at = Math.min(now, opened.kept.length - 1);
  const account = useLoaded(() => (begun.value ? accountOf(opened, sample.position) : Promise.resolve(undefined)), [opened, sample.position, begun.value]);
  const section = () => place.current;
  const recorded = opened.terms.some((term) => term.field);
  const pictures = recorded || opened.fields.includes("prediction");
  return (
    <Panel title="Forces and drifts" saves={pictures ? ledgerSaves(opened, sample, at, account, section, (term) => termColour(opened.terms, term)) : []}
      says={`What each term added to the prediction of ${sampleTitle(sample)} at this step, in ${predictionUnit(opened)}, and what drifts changed of its state.`}
      controls={recorded && <Toggle label="Colours" value={own.value ? "own" : "one"} choices={[["one", "one scale"], ["own", "own scales"]]} onChange={(to) => (own.value = to === "own")} />}>
      <div ref={place}>
        {!recorded && opened.terms.length > 0 && (
          <p class="empty">No values of terms were recorded. A run keeps them with <code>--sink 'hdf5:fields=["x","x0","prediction","base","forces","drifts"]'</code>, or with no fields named.</p>
        )}
        {now > at && <p class="note">The final state has no terms of its own: these are of the last step.</p>}
        <Equation run={opened} sample={sample} column={at} account={account} own={own.value} />
        {!begun.value && (
          <p class="empty">
            Curves and shares need all steps of all terms, {bytes(accountBytes(opened))} of this sample.{" "}
            <button type="button" onClick={() => (begun.value = true)}>Read them</button>
          </p>
        )}
        {account && account.shares.size > 1 && opened.fields.includes("prediction") && (
          <Shares run={opened} shares={account.shares} column={at} colourOf={(term) => termColour(opened.terms, term)} />
        )}
        <Drifts run={opened} sample={sample} column={at} account={account} own={own.value} />
      </div>
    </Panel>
  );
}

interface PartProps { readonly run: Run; readonly sample: Sample; readonly column: number; readonly account: Account | undefined; readonly own: boolean }

/** States of terms at a column, in their order, and scales of their colours until the account of all steps is there. */
function useTerms({ run: opened, sample, column: at }: PartProps, terms: readonly Term[], more: readonly Field[] = []) {
  const fields = [...terms.map((term) => term.field), ...more];
  const states = useStates(opened, fields, sample.position, at);
  const scale = (term: Term, account: Account | undefined, index: number) => account?.scales.get(term) ?? spread([states?.[index] ?? new Float32Array(0)], 0.998);
  return { states, scale };
}

/** base + forces = prediction, as pictures. */
function Equation(props: PartProps) {
  const { run: opened, sample, column: at, account, own } = props;
  const terms = opened.terms.filter((term) => term.kind !== "drift");
  const whole = opened.fields.includes("prediction");
  const { states, scale } = useTerms(props, terms, whole ? ["prediction"] : []);
  const scales = terms.map((term, index) => scale(term, account, index));
  const common = Math.max(0, ...scales) || spread([states?.[terms.length] ?? new Float32Array(0)], 0.998) || 1;
  const top = account ? topOf(terms.map((term) => account.norms.get(term) ?? new Float64Array(0))) : 1;
  const forces = terms.filter((term) => term.kind === "force").length;
  const recorded = terms.some((term) => term.field);
  return (
    <>
      <ul class="terms">
        {terms.map((term, index) => (
          <TermCard key={`${term.kind} ${term.key}`} run={opened} term={term} sign={term.kind === "force" ? "+" : ""} colour={termColour(opened.terms, term)}
            state={states?.[index]} account={account} scale={own ? scales[index] || 1 : common} own={own} top={top} column={at} />
        ))}
        {whole && (
          <li class="term term-sum" data-scale={number(common, 2)}>
            <h3><span class="term-sign">=</span>prediction</h3>
            <Picture state={states?.[terms.length]} shape={opened.shape} range={[-common, common]} signed label={`prediction at ${stepFacts(opened, at).title}`} />
            <p class="term-does">what the scheduler saw</p>
          </li>
        )}
      </ul>
      <p class="ledger-line">
        {!own && (recorded || whole) && <Scale map={DIVERGING} low={-common} high={common} unit="" />}
        {recorded && <Check run={opened} sample={sample} column={at} forces={forces} />}
      </p>
      {forces === 0 && <p class="empty">No force took part in this run. A force is added by <code>emnist-diff run --force "attract_class:target=A"</code>.</p>}
    </>
  );
}

/** The sum, computed in the page from the numbers of the file. */
function Check({ run: opened, sample, column: at, forces }: { run: Run; sample: Sample; column: number; forces: number }) {
  const balance = useLoaded(async () => (await balanceOf(opened, sample.position, at)) ?? "missing", [opened, sample.position], at);
  if (balance === "missing") return <span class="muted">The sum is not checked: the file does not keep base, prediction and every force.</span>;
  if (!balance) return null;
  return (
    <span class={balance.holds ? "balance holds" : "balance misses"}>
      <span aria-hidden="true">{balance.holds ? "✓" : "✗"}</span> {balanceWords(balance, forces)}.
    </span>
  );
}

/** Drifts act on the state, not on the prediction: they stand apart, on a scale of their own. */
function Drifts(props: PartProps) {
  const { run: opened, column: at, account, own } = props;
  const terms = opened.terms.filter((term) => term.kind === "drift");
  const { states, scale } = useTerms(props, terms);
  if (!terms.length) return null;
  const scales = terms.map((term, index) => scale(term, account, index));
  const common = Math.max(0, ...scales) || 1;
  const top = account ? topOf(terms.map((term) => account.norms.get(term) ?? new Float64Array(0))) : 1;
  return (
    <div class="drifts">
      <h3 class="part-title">{count(terms.length, "drift")}, after the scheduler's step</h3>
      <p class="says">What each changed of the state.</p>
      <ul class="terms">
        {terms.map((term, index) => (
          <TermCard key={term.key} run={opened} term={term} sign="Δ" colour={termColour(opened.terms, term)} state={states?.[index]}
            account={account} scale={own ? scales[index] || 1 : common} own={own} top={top} column={at} />
        ))}
      </ul>
      {!own && terms.some((term) => term.field) && <p class="ledger-line"><Scale map={DIVERGING} low={-common} high={common} unit="state" /></p>}
    </div>
  );
}
