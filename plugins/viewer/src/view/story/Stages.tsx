import { useMemo } from "preact/hooks";
import { DIVERGING, rangeOf } from "../../draw/colours";
import { density, heat, toPlaces, toTokens } from "../../draw/overlay";
import type { Field, Run, Sample, Term } from "../../model/api";
import { column } from "../../state";
import { number, stepFacts } from "../../words";
import { drawOver, frameOf, framed, pixelsOf } from "../parts/frame";
import { Frame } from "../parts/Frame";
import { useLoaded } from "../parts/load";
import { Picture } from "../parts/Picture";
import { Scale } from "../parts/Scale";
import { stateAt } from "../parts/states";
import { thumbOf } from "../parts/thumb";
import { Drawing } from "../plane/Drawing";
import { planeOfRun, samplesOf } from "../plane/paths";
import { accountOf } from "../ledger/account";
import type { Chapter } from "./chapters";
import { withAndWithout, type Attended, type Facts } from "./facts";
import type { Lean } from "./lean";

interface FrameProps { readonly run: Run; readonly sample: Sample; readonly field: Field; readonly words: string }

/** One field's frame at the slider's step. */
function Shown({ run, sample, field, words }: FrameProps) {
  const at = field === "x" ? column.value : Math.min(column.value, run.kept.length - 1);
  const data = useLoaded(() => frameOf(run, field, sample.position, at), [run, sample.position, field], at);
  return <figure><Frame data={data} label={`${words} at ${stepFacts(run, at).title}`} /><figcaption>{words}</figcaption></figure>;
}

/** A term at the slider's step, in colours whose scale is that of all steps. */
function Signed({ run, sample, term, words }: { run: Run; sample: Sample; term: Term; words: string }) {
  const at = Math.min(column.value, run.kept.length - 1);
  const state = useLoaded(async () => (term.field ? stateAt(run, term.field, sample.position, at) : undefined), [run, sample.position, term], at);
  const account = useLoaded(() => accountOf(run, sample.position), [run, sample.position]);
  const scale = account?.scales.get(term) || 1;
  return (
    <figure>
      <Picture state={state} shape={run.shape} range={[-scale, scale]} signed label={`${words} at ${stepFacts(run, at).title}`} />
      <figcaption>{words} <Scale map={DIVERGING} low={-scale} high={scale} unit="" /></figcaption>
    </figure>
  );
}

/** What a force added, and the image that the prediction means without and with it. */
function Force({ run, sample, term }: { run: Run; sample: Sample; term: Term }) {
  const at = Math.min(column.value, run.kept.length - 1);
  const both = useLoaded(async () => {
    const found = await withAndWithout(run, sample, term, at);
    if (!found) return undefined;
    const range = await rangeOf(run.fields.includes("x0") ? "x0" : "x", run);
    return Promise.all([framed(run, "x0", found[1], range), framed(run, "x0", found[0], range)]);
  }, [run, sample.position, term], at);
  return (
    <div class="stage-row">
      {both && <figure><Frame data={both[0]} label={`without ${term.name}`} /><figcaption>without {term.name}</figcaption></figure>}
      {both && <figure><Frame data={both[1]} label={`with ${term.name}`} /><figcaption>with it</figcaption></figure>}
      <Signed run={run} sample={sample} term={term} words="what it added" />
    </div>
  );
}

/** Attention over the frame, at the captured step next to the slider's. */
function Attending({ run, sample, attended }: { run: Run; sample: Sample; attended: Attended }) {
  const { layer, condition, columns, tokens } = attended;
  const near = columns.reduce((best, one) => (Math.abs(one - column.value) < Math.abs(best - column.value) ? one : best), columns[0] ?? 0);
  const token = tokens?.maskedDominance.ranking[0] ?? 0;
  const data = useLoaded(async () => {
    const field = run.fields.includes("x0") ? "x0" : "x";
    const usesImage = (await run.pictures()) === "latents" || !run.fields.includes(field);
    const picture = usesImage ? await run.image(sample.position) : undefined;
    const base = picture ? pixelsOf(picture) : await frameOf(run, field, sample.position, near);
    const map = await run.attention?.map(layer, sample.position, near, condition);
    if (!map) return base;
    const shown = layer.kind === "cross" ? toTokens(map, layer.heads, layer.grid, [token], "mean") : density(toPlaces(map, layer.heads, layer.grid, "mean"));
    return overlaid(base, heat(shown, layer.grid[0], layer.grid[1], Math.max(...shown)));
  }, [run, sample.position, layer, condition], near);
  return <figure><Frame data={data} label={`Attention at ${stepFacts(run, near).title}`} /><figcaption>{layer.path}, {stepFacts(run, near).title}: the lighter, the more attention</figcaption></figure>;
}

/** A map over a frame, as pixels of one canvas. */
function overlaid(base: ImageData, map: ImageData): ImageData {
  const canvas = document.createElement("canvas");
  const scale = Math.max(1, Math.ceil(224 / Math.max(base.width, base.height)));
  [canvas.width, canvas.height] = [base.width * scale, base.height * scale];
  const context = canvas.getContext("2d");
  if (!context) return base;
  drawOver(context, base);
  drawOver(context, map);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

function Together({ run, sample }: { run: Run; sample: Sample }) {
  const samples = useMemo(() => samplesOf(run, [sample]), [run, sample.position]);
  const plane = useLoaded(() => planeOfRun(run, samples, false), [run, samples]);
  const thumbs = useLoaded(() => Promise.all(samples.map((one) => thumbOf(run, one.position))), [run, samples]);
  if (!plane) return <p class="muted">The components are being computed.</p>;
  return <Drawing run={run} plane={plane} column={column.value} focus={sample} thumbs={thumbs ?? []} label={`Paths of samples, the mark at ${stepFacts(run, column.value).title}`} />;
}

/** How far the estimate leans to each class at the slider's step, at most eight of them. */
function Leaning({ run, leans }: { run: Run; leans: readonly Lean[] }) {
  const at = Math.min(column.value, run.kept.length - 1);
  const last = run.kept.length - 1;
  const shown = [...leans].sort((one, two) => (two.values[last] ?? -2) - (one.values[last] ?? -2)).slice(0, 8);
  return (
    <ul class="leans num">
      {shown.map((lean) => {
        const value = lean.values[at] ?? Number.NaN;
        return (
          <li key={lean.label}>
            <span class="bar-name">{lean.name}</span>
            <span class="lean-bar" aria-hidden="true"><span style={value >= 0 ? { left: "50%", width: `${50 * value}%` } : { right: "50%", width: `${-50 * value}%` }} /></span>
            <span class="bar-value">{number(value, 2)}</span>
          </li>
        );
      })}
    </ul>
  );
}

function Finished({ run, sample }: { run: Run; sample: Sample }) {
  const data = useLoaded(async () => {
    const picture = await run.image(sample.position);
    return picture && pixelsOf(picture);
  }, [run, sample.position]);
  return <figure><Frame data={data} label="The finished picture" /></figure>;
}

/** The picture beside the chapter that is read. */
export function StageOf({ facts, chapter }: { facts: Facts; chapter: Chapter }) {
  const { run, sample } = facts;
  const { stage } = chapter;
  const estimate = run.fields.includes("x0") ? "x0" : run.fields.includes("x") ? "x" : undefined;
  // A file of images alone has one picture for all chapters.
  const alone = run.imageShape && !estimate ? <Finished run={run} sample={sample} /> : null;
  const word = estimate === "x0" ? "estimate x₀" : "state x";
  switch (stage.kind) {
    case "force": return <Force run={run} sample={sample} term={stage.term} />;
    case "drift": return <div class="stage-row two"><Signed run={run} sample={sample} term={stage.term} words={`what ${stage.term.name} changed`} />{run.fields.includes("x") && <Shown run={run} sample={sample} field="x" words="the state x" />}</div>;
    case "attention": return facts.attention ? <Attending run={run} sample={sample} attended={facts.attention} /> : null;
    case "plane": return <Together run={run} sample={sample} />;
    case "class": return <div class="stage-row two">{estimate && <Shown run={run} sample={sample} field={estimate} words={word} />}<Leaning run={run} leans={facts.leans} /></div>;
    case "image": return column.value < run.kept.length && estimate ? <Shown run={run} sample={sample} field={estimate} words={word} /> : <Finished run={run} sample={sample} />;
    case "both": return <div class="stage-row two"><Shown run={run} sample={sample} field="x" words="state x" /><Shown run={run} sample={sample} field="x0" words="estimate x₀" /></div>;
    case "state": return run.fields.includes("x") ? <Shown run={run} sample={sample} field="x" words="state x" /> : alone;
    case "estimate": return estimate ? <Shown run={run} sample={sample} field={estimate} words={word} /> : alone;
  }
}
