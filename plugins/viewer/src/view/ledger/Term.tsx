import type { Run, Term } from "../../model/api";
import { number, stepFacts } from "../../words";
import { broken } from "../parts/broken";
import { Picture } from "../parts/Picture";
import { Spark } from "../parts/Spark";
import type { Account } from "./account";
import { doesWords, settingsWords } from "./words";

export interface TermProps {
  readonly run: Run;
  readonly term: Term;
  /** What stands before its name: "+" of a force. */
  readonly sign: string;
  readonly colour: string;
  readonly state: Float32Array | undefined;
  readonly account: Account | undefined;
  /** The colours' largest value. */
  readonly scale: number;
  /** Whether that is the term's own, and is therefore stated beside it. */
  readonly own: boolean;
  /** The top of the curves of norms, one for all terms of a kind. */
  readonly top: number;
  readonly column: number;
}

/** The weights at the kept steps. */
function weightsOf(run: Run, term: Term): Float64Array | undefined {
  const { weight } = term;
  return weight && Float64Array.from(run.kept, (step) => weight[step] ?? Number.NaN);
}

/** One term: its picture at this step, what it does in words, its norm and its weight over the steps. */
export function TermCard({ run, term, sign, colour, state, account, scale, own, top, column }: TermProps) {
  const stepName = (at: number) => stepFacts(run, at).title;
  const norms = account?.norms.get(term);
  const weights = weightsOf(run, term);
  // What the base's settings are is in its words already.
  const settings = term.kind === "base" ? "" : settingsWords(term.settings);
  const name = term.kind === "base" ? "base" : term.name;
  return (
    <li class="term" data-scale={number(scale, 2)}>
      <h3>
        {sign && <span class="term-sign">{sign}</span>}
        <span class="term-dot" style={{ background: colour }} aria-hidden="true" />
        <span>{broken(name)}</span>
      </h3>
      {term.field ? (
        <Picture state={state} shape={run.shape} range={[-scale, scale]} signed label={`${name} at ${stepName(column)}`} />
      ) : run.terms.some((one) => one.field) && (
        <p class="empty">Its values were not recorded; add {term.kind === "drift" ? "drifts" : "forces"} to the fields of the sink hdf5.</p>
      )}
      <p class="term-does">
        {own && term.field && <span class="num own-scale">±{number(scale, 2)} </span>}
        {doesWords(term)}
        {settings && <span class="muted"> · {settings}</span>}
      </p>
      {norms && <Spark title="norm" values={norms} colour={colour} top={top} column={column} stepName={stepName} />}
      {weights && <Spark title="weight" values={weights} colour={colour} top={topOfWeights(weights)} column={column} stepName={stepName} />}
    </li>
  );
}

function topOfWeights(weights: Float64Array): number {
  return Math.max(1e-9, ...weights.filter(Number.isFinite));
}
