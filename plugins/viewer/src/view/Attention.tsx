import { signal, useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useMemo, useRef } from "preact/hooks";
import "./parts/parts.css";
import "./attention/attention.css";
import { css, SEQUENTIAL } from "../draw/colours";
import { density, fromPlace, heatShare, toPlaces, toTokens } from "../draw/overlay";
import type { Layer, Sample } from "../model/api";
import { canvasPng, csvOf } from "../save";
import { focus, run, seek } from "../state";
import { capital, fileName, number, sampleTitle, stepFacts, stepWord } from "../words";
import { Panel, type Save } from "./Panel";
import { Chooser } from "./attention/Chooser";
import { Readout, spoken } from "./attention/Readout";
import { headCurve } from "./attention/slices";
import { Stage } from "./attention/Stage";
import { choice, conditionWords, momentOf, neighbours, type Choice, type Moment } from "./attention/choice";
import { frameOf, pixelsOf } from "./parts/frame";
import { useColumn } from "./parts/column";
import { useLoaded } from "./parts/load";
import { Spark } from "./parts/Spark";
import { Without } from "./parts/Without";
import { Toggle } from "./parts/Toggle";

type Under = "x0" | "x" | "image";
/** What lies below the map, where the reader has chosen. */
const under = signal<Under | undefined>(undefined);
/** Whether maps are drawn without edges between their places. */
const smoothed = signal(false);
/** Numbers of all steps of a layer up to which they are read at once, so that its colours mean the same at every step. */
const ALL_STEPS = 4e6;
const TITLE = "Attention";
const SAYS = "Where the network's places look while it predicts: at other places (self) or at the words of the text (cross).";

/** What the network attends to, over the frame of the sample in focus. */
export function Attention() {
  const [opened, sample] = [run.value, focus.value];
  if (!opened || !sample) return null;
  if (!opened.attention) {
    return (
      <Panel title={TITLE} says={SAYS}>
        <p class="empty">
          No attention was recorded.{" "}
          {opened.fields.includes("x")
            ? <><code>emnist-diff attend {opened.source.name}</code> adds it without making the run again; then open the new file beside this one.</>
            : <>It can be added afterwards only to a file that keeps the states x, or recorded by <code>emnist-diff run --record-attention</code>.</>}
        </p>
      </Panel>
    );
  }
  const shown = choice.value;
  if (shown) return <Maps choice={shown} sample={sample} />;
  const { positions } = opened.attention;
  return <Panel title={TITLE} says={SAYS}><Without run={opened} sample={sample} what="attention" has={(one) => positions.includes(one.position)} /></Panel>;
}

/** What the picture shows of a layer's maps: of places multiples of an even share, of tokens shares. */
function viewOf({ layer, head, token }: Choice, map: Float32Array, place: number | undefined): Float32Array {
  if (layer.kind === "cross") return toTokens(map, layer.heads, layer.grid, [token], head);
  if (place === undefined) return density(toPlaces(map, layer.heads, layer.grid, head));
  return density(fromPlace(map, layer.heads, layer.grid, Math.floor(place / layer.grid[1]), place % layer.grid[1], head));
}

/** Maps of all captured steps, where they are small; the largest value over all steps is then the end of the colours. */
function useTop(shown: Choice, place: number | undefined): number | undefined {
  const { maps, layer, position, condition, run: opened } = shown;
  const places = layer.grid[0] * layer.grid[1];
  const numbers = maps.columns.length * layer.heads * places * (layer.tokens ?? places);
  const all = useLoaded(
    () => (numbers > ALL_STEPS ? Promise.resolve(undefined) : Promise.all(maps.columns.map((column) => maps.map(layer, position, column, condition)))),
    [opened, layer, position, condition],
  );
  return useMemo(() => {
    if (!all) return undefined;
    let top = 0;
    for (const map of all) if (map) for (const value of viewOf(shown, map, place)) if (value > top) top = value;
    return top || undefined;
  }, [all, shown.head, shown.token, place]);
}

function useBase(shown: Moment): { readonly data: ImageData | undefined; readonly kinds: readonly Under[]; readonly kind: Under } {
  const { run: opened, position, column } = shown;
  const pictures = useLoaded(() => opened.pictures(), [opened]);
  const kinds = (["x0", "x", "image"] as const).filter((one) => (one === "image" ? opened.imageShape : opened.fields.includes(one)));
  const usual = pictures === "latents" && kinds.includes("image") ? "image" : kinds[0] ?? "image";
  const kind = under.value && kinds.includes(under.value) ? under.value : usual;
  const data = useLoaded(
    async () => {
      if (kind !== "image") return frameOf(opened, kind, position, column);
      const picture = await opened.image(position);
      return picture && pixelsOf(picture);
    },
    [opened, position, kind, pictures], kind === "image" ? 0 : column,
  );
  return { data, kinds, kind };
}

const UNDER: Readonly<Record<Under, string>> = { x0: "x₀", x: "x", image: "image" };

const unitOf = (layer: Layer) => (layer.kind === "cross" ? "of a place's attention" : "times an even share");

/** The layer's map at the slider's step, what of it is shown, and the end of its colours. */
function useView(shown: Moment, captured: boolean, cell: number | undefined) {
  const { run: opened, maps, layer, condition, position, column } = shown;
  const map = useLoaded(() => (captured ? maps.map(layer, position, column, condition) : Promise.resolve(undefined)), [opened, layer, position, condition], column);
  const view = useMemo(() => (captured && map ? viewOf(shown, map, cell) : undefined), [captured, map, shown.head, shown.token, cell]);
  const common = useTop(shown, cell);
  const top = common ?? (view ?? new Float32Array(0)).reduce((most, value) => Math.max(most, value), 1e-9);
  return { map, view, common, top };
}

/** Files of the picture and of its numbers. */
function savesOf({ run: opened, layer, column }: Moment, sample: Sample, view: Float32Array, canvas: RefObject<HTMLCanvasElement | null>): Save[] {
  const stem = ["attention", layer.path, layer.kind, `sample-${sample.id}`, stepWord(opened, column)];
  const rows = () => Array.from(view, (value, each) => [Math.floor(each / layer.grid[1]), each % layer.grid[1], value]);
  return [
    { name: fileName(opened, ...stem, ".png"), make: () => (canvas.current ? canvasPng(canvas.current) : Promise.reject(new Error("the picture is not drawn"))) },
    { name: fileName(opened, ...stem, ".csv"), make: () => csvOf([["row", "column", unitOf(layer)], ...rows()]) },
  ];
}

function Maps({ choice: picked, sample }: { choice: Choice; sample: Sample }) {
  const place = useRef<HTMLDivElement>(null);
  const slider = useColumn(place);
  const shown = momentOf(picked, slider);
  const { maps, layer, condition, column } = shown;
  const pinned = useSignal<number | undefined>(undefined);
  const hovered = useSignal<number | undefined>(undefined);
  const canvas = useRef<HTMLCanvasElement>(null);
  const places = layer.grid[0] * layer.grid[1];
  const at = hovered.value ?? pinned.value;
  const cell = at !== undefined && at < places ? at : undefined;
  const final = slider > column;
  const captured = maps.columns.includes(column) && maps.evaluated(column, condition);
  const base = useBase(shown);
  const { map, view, top, common } = useView(shown, captured, cell);
  const onPlace = (to: number | undefined, keep: boolean) => {
    if (keep) pinned.value = to === pinned.value ? undefined : to;
    hovered.value = keep ? undefined : to;
  };
  return (
    <Panel title={TITLE} says={`${SAYS} ${sampleTitle(sample)}, evaluated for ${conditionWords(condition, sample.className)}.`} saves={view ? savesOf(shown, sample, view, canvas) : []}
      controls={
        <>
          <Toggle label="Map" value={smoothed.value ? "smooth" : "places"} choices={[["places", "places"], ["smooth", "smooth"]]} onChange={(to) => (smoothed.value = to === "smooth")} />
          <Toggle label="Below the map" value={base.kind} choices={base.kinds.map((one) => [one, UNDER[one]])} onChange={(to) => (under.value = to)} />
        </>
      }>
      <Chooser choice={shown} />
      <div class="attention" ref={place}>
        <div>
          <Stage canvas={canvas} base={base.data} map={view} largest={top} grid={layer.grid} smoothed={smoothed.value} place={cell} onPlace={onPlace}
            label={`Attention of ${layer.path} over the picture, ${layer.grid.join(" by ")} places. Arrows choose a place, Escape leaves it.`} />
          {view && <Heat top={top} unit={unitOf(layer)} all={common !== undefined} cross={layer.kind === "cross"} />}
        </div>
        <div class="attention-side">
          {final && captured && <p class="note">The final state has no attention of its own: this is the last step's.</p>}
          {captured ? <Readout choice={shown} map={map} place={cell} /> : <Gap choice={shown} />}
          <p class="hidden" aria-live="polite">{pinned.value !== undefined ? spoken(shown, captured ? map : undefined, cell) : ""}</p>
          <Entropy choice={shown} />
        </div>
      </div>
    </Panel>
  );
}

/** The legend of the map. */
function Heat({ top, unit, all, cross }: { top: number; unit: string; all: boolean; cross: boolean }) {
  const stops = Array.from({ length: 7 }, (_, at) => css(SEQUENTIAL, heatShare(at / 6))).join(", ");
  return (
    <p class="scale num heat-scale">
      <span>0</span>
      <span class="scale-bar" style={{ background: `linear-gradient(to right, ${stops})` }} aria-hidden="true" />
      <span>{cross ? `${(100 * top).toFixed(1)} %` : number(top, 2)}</span>
      <span class="muted">{unit}{all ? ", one scale for all steps" : ""}</span>
    </p>
  );
}

/** This step has no maps: it says why, and leads to those that have. */
function Gap({ choice: shown }: { choice: Moment }) {
  const { maps, column, condition, run: opened } = shown;
  const usable = maps.columns.filter((one) => maps.evaluated(one, condition));
  const { before, after } = neighbours(usable, column);
  const why = maps.columns.includes(column) ? `does not evaluate the network for ${condition}` : "has no recorded attention";
  return (
    <p class="empty">
      {capital(stepFacts(opened, column).title)} {why}.{" "}
      {[before, after].map((one) => one !== undefined && (
        <button key={one} type="button" class="quiet" onClick={() => seek(one)}>Go to {stepFacts(opened, one).title}</button>
      ))}
    </p>
  );
}

/** How spread attention is over the steps, at most the logarithm of what there is to attend to. */
function Entropy({ choice: shown }: { choice: Moment }) {
  const { run: opened, maps, layer, position, condition, head, column } = shown;
  const values = useLoaded(() => maps.entropy(layer, position, condition), [opened, layer, position, condition]);
  const curve = useMemo(() => values && headCurve(values, layer.heads, head), [values, head]);
  if (!curve) return null;
  const most = layer.keys ? Math.log(layer.keys) : undefined;
  const finite = curve.filter(Number.isFinite);
  return (
    <div class="entropy">
      <Spark title="entropy, mean over places, in nats" values={curve} colour="var(--accent)" top={most ?? Math.max(1e-9, ...finite)} column={column}
        columns={maps.columns} count={opened.kept.length} stepName={(one) => stepFacts(opened, one).title} />
      <p class="muted num">
        0 is attention to one {layer.kind === "cross" ? "token" : "place"}
        {most !== undefined && `, ${number(most, 3)} (ln ${layer.keys}), the top, an even spread`}.
      </p>
    </div>
  );
}
