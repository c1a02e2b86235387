import { useComputed, useSignal } from "@preact/signals";
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { pathOf, scaleOf, ticks, type Chart, type Frame } from "../curves";
import { column, playing, run, seek } from "../state";
import { number } from "../words";

/** Colours of samples in saved files, which are on white whatever the page is on. */
const ON_WHITE = ["#0072b2", "#d55e00", "#008a65", "#b65a92", "#a06f00", "#3a92c8", "#4d4d4d"];

/** "var(--series-1)" as the colour that it stands for: a canvas knows no variables. */
export function plainColour(element: Element, colour: string): string {
  const name = /^var\((--[\w-]+)\)$/.exec(colour)?.[1];
  return name ? getComputedStyle(element).getPropertyValue(name).trim() || "#888" : colour;
}

/** The same for files. */
export function savedColour(colour: string): string {
  const at = /^var\(--series-(\d)\)$/.exec(colour)?.[1];
  return at === undefined ? colour : (ON_WHITE[Number(at)] ?? "#666");
}

/** What stands under a column: the step's number, or that it is the final state. */
export function stepName(kept: readonly number[], at: number): string {
  return at < kept.length ? String(kept[at] ?? at) : "final";
}

const valueTicks = (low: number, high: number, height: number) => ticks(low, high, height / 30);

/** Room for the longest label of the axis, at some 6.5 pixels a letter. */
function labelSpace(series: Chart["series"], height: number): number {
  const { low, high } = scaleOf(series, { width: 0, height, left: 0, top: 0, right: 0, bottom: 0 });
  const longest = Math.max(...valueTicks(low, high, height).map((value) => number(value, 3).length), 2);
  return Math.max(46, Math.ceil(longest * 6.5) + 10);
}

/** Curves over the kept steps, with gaps where there is no value and a guide line at the slider. */
export function Curves({ title, unit, series, height = 120 }: Chart & { readonly height?: number }) {
  const place = useRef<HTMLDivElement>(null);
  const width = useSignal(0);
  useLayoutEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    const watch = new ResizeObserver(() => (width.value = element.clientWidth));
    watch.observe(element);
    width.value = element.clientWidth;
    return () => watch.disconnect();
  }, []);
  const left = useMemo(() => labelSpace(series, height), [series, height]);
  const frame: Frame = { width: width.value, height, left, top: 6, right: 8, bottom: 20 };
  const scale = useMemo(() => scaleOf(series, frame), [series, width.value, height]);
  const drawn = useMemo(() => <Drawn series={series} frame={frame} />, [series, width.value, height]);
  const to = (event: PointerEvent) => {
    const share = (event.clientX - (place.current?.getBoundingClientRect().left ?? 0) - frame.left) / Math.max(1, frame.width - frame.left - frame.right);
    playing.value = false;
    seek(share * scale.last);
  };
  // A signal as an attribute: the slider moves the line without drawing the curves anew.
  const shown = useSignal(scale);
  shown.value = scale;
  const guide = useComputed(() => `translate(${shown.value.x(Math.min(column.value, shown.value.last)).toFixed(1)} 0)`);
  return (
    <div class="curves" ref={place} style={{ height: `${height}px` }}
      onPointerDown={(event) => (event.currentTarget.setPointerCapture(event.pointerId), to(event))}
      onPointerMove={(event) => event.currentTarget.hasPointerCapture(event.pointerId) && to(event)}>
      {width.value > 0 && (
        <svg width={width.value} height={height} role="img" aria-label={`${title}${unit ? `, ${unit}` : ""}: curves over the steps`}>
          {drawn}
          <path class="guide" d={`M0 ${frame.top}V${height - frame.bottom}`} transform={guide} />
        </svg>
      )}
    </div>
  );
}

/** What does not move with the slider. */
function Drawn({ series, frame }: { series: Chart["series"]; frame: Frame }) {
  const scale = scaleOf(series, frame);
  const kept = run.peek()?.kept ?? [];
  const steps = ticks(0, scale.last, Math.max(2, frame.width / 70)).filter(Number.isInteger);
  return (
    <>
      {valueTicks(scale.low, scale.high, frame.height).map((value) => (
        <g key={value}>
          <path class="rule" d={`M${frame.left} ${Math.round(scale.y(value)) + 0.5}H${frame.width - frame.right}`} />
          <text x={frame.left - 6} y={scale.y(value)} dy="0.32em" text-anchor="end">{number(value, 3)}</text>
        </g>
      ))}
      {steps.map((at) => <text key={`step ${at}`} x={scale.x(at)} y={frame.height - 4} text-anchor="middle">{stepName(kept, at)}</text>)}
      {series.map((one) => <path key={one.label} class="curve" d={pathOf(one.values, scale)} style={{ stroke: one.colour }} />)}
    </>
  );
}
