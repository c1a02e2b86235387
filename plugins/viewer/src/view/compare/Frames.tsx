import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import { DIVERGING } from "../../draw/colours";
import type { Match } from "../../model/align";
import type { Field, Run } from "../../model/api";
import { canvasesPng } from "../../save";
import { column } from "../../state";
import { fieldTitle, fileName, sampleTitle, stepFacts, stepWord } from "../../words";
import { Panel } from "../Panel";
import { Frame } from "../parts/Frame";
import { useLoaded } from "../parts/load";
import { Picture } from "../parts/Picture";
import { Scale } from "../parts/Scale";
import { spread } from "../parts/states";
import { Toggle } from "../parts/Toggle";
import { columnsAt, commonFields, pairAt, scaleOf } from "./pairs";
import { Wipe } from "./Wipe";

const shownField = signal<Field | undefined>(undefined);
const wiping = signal(false);

interface FramesProps {
  readonly a: Run;
  readonly b: Run;
  readonly match: Match;
  readonly columns: Int32Array;
  readonly controls: ComponentChildren;
  readonly before: ComponentChildren;
}

/** A and B at steps that belong together, and A − B. */
export function Frames({ a, b, match, columns, controls, before }: FramesProps) {
  const place = useRef<HTMLDivElement>(null);
  const fields = commonFields(a, b);
  const field = shownField.value !== undefined && fields.includes(shownField.value) ? shownField.value : fields[0];
  if (field === undefined) {
    return <Panel title="Compare" says="Two runs side by side." controls={controls}><p class="empty">The two files keep no field in common.</p></Panel>;
  }
  const at = columnsAt(a, b, field, columns, column.value);
  const says = `${fieldTitle(field)} of A at ${stepFacts(a, at[0]).title} and of B at ${stepFacts(b, at[1]).title}, and A − B: blue where A is lower, orange where it is higher.`;
  return (
    <Panel title="Compare" says={says} controls={controls}
      saves={[{ name: fileName(a, "and", b.name.replace(/\.h5$/, ""), stepWord(a, at[0]), ".png"), make: () => canvasesPng([...(place.current?.querySelectorAll("canvas") ?? [])], 8, 2) }]}>
      <div ref={place}>
        <div class="compare-controls">
          <label>
            <span class="muted">Frames </span>
            <select value={field} onChange={(event) => (shownField.value = event.currentTarget.value)}>
              {fields.map((one) => <option key={one} value={one}>{fieldTitle(one)}</option>)}
            </select>
          </label>
          <Toggle label="Layout" value={wiping.value ? "wipe" : "beside"} choices={[["beside", "side by side"], ["wipe", "wipe"]]} onChange={(to) => (wiping.value = to === "wipe")} />
        </div>
        {before}
        <Row a={a} b={b} match={match} columns={columns} field={field} at={at} />
      </div>
    </Panel>
  );
}

interface RowProps { readonly a: Run; readonly b: Run; readonly match: Match; readonly columns: Int32Array; readonly field: Field; readonly at: readonly [number, number] }

function Row({ a, b, match, columns, field, at }: RowProps) {
  const scope = [a, b, match.a.position, match.b.position, field] as const;
  const pair = useLoaded(() => pairAt(a, b, match, field, at), scope, at.join());
  const whole = useLoaded(() => scaleOf(a, b, match, field, columns), [...scope, columns]);
  const scale = whole ?? (pair?.apart ? spread([pair.apart], 0.998) : 0);
  const titles = [`${a.name}, ${sampleTitle(match.a)}`, `${b.name}, ${sampleTitle(match.b)}`] as const;
  return (
    <div class={wiping.value ? "compare-row wiping" : "compare-row"}>
      {wiping.value ? (
        <figure>
          <Wipe a={pair?.a} b={pair?.b} label={fieldTitle(field)} />
          <figcaption><b class="mark-a">A</b> left of the divider, <b class="mark-b">B</b> right of it. Drag it, or reach it with Tab and use the arrows.</figcaption>
        </figure>
      ) : (
        <>
          <figure><Frame data={pair?.a} label={`A, ${titles[0]}`} /><figcaption><b class="mark-a">A</b> {titles[0]}<br /><span class="muted num">{stepFacts(a, at[0]).title}, σ {stepFacts(a, at[0]).sigma}</span></figcaption></figure>
          <figure><Frame data={pair?.b} label={`B, ${titles[1]}`} /><figcaption><b class="mark-b">B</b> {titles[1]}<br /><span class="muted num">{stepFacts(b, at[1]).title}, σ {stepFacts(b, at[1]).sigma}</span></figcaption></figure>
        </>
      )}
      <figure>
        {pair && !pair.apart ? (
          <p class="empty">States of A are {a.shape.join("×")} and those of B {b.shape.join("×")}: they have no difference.</p>
        ) : (
          <>
            <Picture state={pair?.apart} shape={a.shape} range={[-(scale || 1), scale || 1]} signed label="A minus B" />
            <figcaption>
              <b>A − B</b>{" "}
              {pair?.apart?.every((value) => value === 0) ? <span class="muted">is zero everywhere: the two are the same, to the bit.</span> : <Scale map={DIVERGING} low={-scale} high={scale} unit={whole === undefined ? "" : "one scale for all steps"} />}
            </figcaption>
          </>
        )}
      </figure>
    </div>
  );
}
