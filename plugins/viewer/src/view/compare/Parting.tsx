import { partingOf, type Match, type Parting as Found } from "../../model/align";
import type { Run } from "../../model/api";
import { column, seek } from "../../state";
import { fileName, number, stepFacts } from "../../words";
import { Panel } from "../Panel";
import { useLoaded } from "../parts/load";
import { Spark } from "../parts/Spark";
import { csvOf } from "../../save";

/** Relative distance beyond which two states are called apart. */
const APART = 0.01;

/** When the two samples part, in one sentence. */
export function partingWords(found: Found, name: (column: number) => string, same: boolean): string {
  if (found.first === undefined) return "The states of both are the same at every step, to the bit.";
  const begin = found.first === 0 ? (same ? "Their noise is the same, but their first states differ" : "They begin in different states") : `They are the same, to the bit, until ${name(found.first - 1)}; the first that differs is the state at ${name(found.first)}`;
  if (found.apart === undefined) return `${begin}, and never by more than ${100 * APART} % of A's size.`;
  if (found.apart === found.first) return `${begin}, at once by ${number(100 * (found.relative[found.first] ?? 0), 2)} % of A's size.`;
  return `${begin}; they are more than ${100 * APART} % apart from ${name(found.apart)} on.`;
}

/** From which step on the two samples differ, and by how much. */
export function Parting({ a, b, match, columns }: { a: Run; b: Run; match: Match; columns: Int32Array }) {
  const found = useLoaded(async () => (await partingOf(a, b, match, columns, "x", APART)) ?? "none", [a, b, match.a.position, match.b.position, columns]);
  const name = (at: number) => stepFacts(a, at).title;
  if (!found) return null;
  const says = "How far the states of A and B are apart, ‖A − B‖ / ‖A‖, in percent of A's size.";
  if (found === "none") return <Panel title="Where they part" says={says}><p class="empty">Both files must keep states x of one shape for this.</p></Panel>;
  const percent = found.relative.map((value) => 100 * value);
  const top = Math.max(1e-9, ...percent.filter(Number.isFinite));
  const table = () => csvOf([["step_index", "distance", "relative distance"], ...Array.from(found.distance, (value, at) => [a.kept[at] ?? a.schedule.steps, value, found.relative[at]])]);
  return (
    <Panel title="Where they part" says={says} saves={[{ name: fileName(a, "and", b.name.replace(/\.h5$/, ""), "distance", ".csv"), make: table }]}>
      <p>
        {partingWords(found, name, match.a.seed === match.b.seed && match.a.id === match.b.id)}{" "}
        {found.first !== undefined && <button type="button" class="quiet" onClick={() => seek(found.first ?? 0)}>Go to {name(found.first)}</button>}
        {found.apart !== undefined && found.apart !== found.first && <button type="button" class="quiet" onClick={() => seek(found.apart ?? 0)}>Go to {name(found.apart)}</button>}
      </p>
      <div class="parting"><Spark title="distance, % of A's size" values={percent} colour="var(--ink)" top={top} column={column.value} stepName={name} /></div>
    </Panel>
  );
}
