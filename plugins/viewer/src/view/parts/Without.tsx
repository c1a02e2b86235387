import type { Run, Sample } from "../../model/api";
import { choose } from "../../state";
import { sampleTitle } from "../../words";

/** The sample in focus lacks what a panel shows: it says so, and leads to samples that have it. */
export function Without({ run, sample, what, has }: { run: Run; sample: Sample; what: string; has: (sample: Sample) => boolean }) {
  const having = run.samples.filter((one) => one.done && has(one)).slice(0, 8);
  return (
    <p class="empty">
      The file keeps no {what} of {sampleTitle(sample)}{having.length ? ". It does of " : ", nor of any other."}
      {having.map((one) => <button key={one.id} type="button" class="quiet" onClick={() => choose(one.id, false)}>{sampleTitle(one)}</button>)}
    </p>
  );
}
