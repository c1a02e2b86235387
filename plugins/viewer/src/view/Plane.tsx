import { signal, useSignal } from "@preact/signals";
import { useMemo, useRef } from "preact/hooks";
import "./parts/parts.css";
import "./plane/plane.css";
import type { Run } from "../model/api";
import { csvOf } from "../save";
import { focus, picked, run, samples as known } from "../state";
import { bytes, count, fileName, stepFacts } from "../words";
import { Panel } from "./Panel";
import { useColumn } from "./parts/column";
import { useLoaded } from "./parts/load";
import { paperSvg } from "./parts/paper";
import { thumbOf } from "./parts/thumb";
import { Toggle } from "./parts/Toggle";
import { Drawing } from "./plane/Drawing";
import { pathBytes, planeOfRun, samplesOf, type Plane as Points } from "./plane/paths";

/** Whether states of every step are scaled to unit variance. */
const unit = signal(false);
const WAITS = 96e6;
const TITLE = "Paths in the plane";

/** The paths of samples in the plane of their first two principal components. */
export function Plane() {
  const opened = run.value;
  if (!opened) return null;
  if (!opened.fields.includes("x") || !focus.value) {
    return (
      <Panel title={TITLE} says="How samples move from noise to image, in the two directions in which their states differ most.">
        <p class="empty">{focus.value ? <>The file keeps no states x; record them with <code>--sink hdf5:fields=["x"]</code>.</> : "No sample is finished yet."}</p>
      </Panel>
    );
  }
  return <Paths key={opened.name} run={opened} />;
}

function table(run: Run, plane: Points): Blob {
  const rows = plane.samples.flatMap((sample, at) => {
    const path = plane.points[at] ?? new Float64Array(0);
    return Array.from({ length: path.length / 2 }, (_, each) => [sample.id, sample.className, run.kept[each] ?? run.schedule.steps, path[2 * each], path[2 * each + 1]]);
  });
  return csvOf([["sample", "class", "step_index", "first component", "second component"], ...rows]);
}

function Paths({ run: opened }: { run: Run }) {
  const begun = useSignal(pathBytes(opened) <= WAITS);
  const place = useRef<HTMLDivElement>(null);
  const at = useColumn(place);
  const samples = useMemo(() => samplesOf(opened, picked.value), [opened, known.value, picked.value]);
  const ids = samples.map((sample) => sample.id).join();
  const plane = useLoaded(() => (begun.value ? planeOfRun(opened, samples, unit.value) : Promise.resolve(undefined)), [opened, ids, unit.value, begun.value]);
  const thumbs = useLoaded(() => Promise.all(samples.map((sample) => thumbOf(opened, sample.position))), [opened, ids]);
  const chosen = picked.value.length > 1;
  const says = `The paths of ${count(samples.length, chosen ? "chosen sample" : "sample")} from noise to image, in the two directions in which their states ${unit.value ? "of unit variance a step " : ""}differ most (principal components).`;
  const label = `Paths of ${count(samples.length, "sample")}, the mark at ${stepFacts(opened, at).title}`;
  const saves = plane ? [
    { name: fileName(opened, "plane", ".svg"), make: () => paperSvg(new XMLSerializer().serializeToString(place.current?.querySelector("svg.plane") as SVGSVGElement)) },
    { name: fileName(opened, "plane", ".csv"), make: () => table(opened, plane) },
  ] : [];
  return (
    <Panel title={TITLE} says={says} saves={saves}
      controls={<Toggle label="States" value={unit.value ? "unit" : "x"} choices={[["x", "x"], ["unit", "x at unit variance"]]} onChange={(to) => (unit.value = to === "unit")} />}>
      <div ref={place}>
        {!begun.value && <p class="empty">The path of one sample is {bytes(pathBytes(opened))} of states. <button type="button" class="quiet" onClick={() => (begun.value = true)}>Read it</button></p>}
        {begun.value && (plane
          ? <Drawing run={opened} plane={plane} column={at} focus={focus.value} thumbs={thumbs ?? []} label={label} />
          : <p class="muted plane-waits">The components are being computed.</p>)}
        {!chosen && samples.length > 1 && <p class="muted">Choose two or more samples in the frames to see only theirs.</p>}
      </div>
    </Panel>
  );
}
