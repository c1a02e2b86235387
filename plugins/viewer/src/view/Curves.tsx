import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Chart } from "../curves";
import { column, dark, playing, run, seek } from "../state";
import { number } from "../words";

/** "var(--series-1)" as the colour that it stands for: a canvas knows no variables. */
export function plainColour(element: Element, colour: string): string {
  const name = /^var\((--[\w-]+)\)$/.exec(colour)?.[1];
  return name ? getComputedStyle(element).getPropertyValue(name).trim() || "#888" : colour;
}

function options(element: HTMLElement, chart: Chart, height: number): uPlot.Options {
  const [soft, line] = [plainColour(element, "var(--soft)"), plainColour(element, "var(--line)")];
  const font = "11px system-ui, sans-serif";
  const kept = run.peek()?.kept ?? [];
  const step = (at: number) => (at < kept.length ? String((kept[at] ?? at) + 1) : "end");
  const axis = { stroke: soft, font, grid: { show: false }, ticks: { show: false } };
  return {
    width: Math.max(80, element.clientWidth), height, legend: { show: false }, padding: [6, 6, 0, 0],
    cursor: { x: false, y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: { x: { time: false, range: (_, low, high) => [low, Math.max(high, low + 1)] } },
    axes: [
      { ...axis, size: 20, gap: 2, space: 60, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000], values: (_, at) => at.map(step) },
      { ...axis, size: 46, gap: 4, space: 34, grid: { show: true, stroke: line, width: 1 }, values: (_, at) => at.map((one) => number(one, 3)) },
    ],
    series: [{}, ...chart.series.map((series) => ({
      label: series.label, stroke: plainColour(element, series.colour), width: 1.6, spanGaps: false, points: { show: false },
    }))],
  };
}

function dataOf(chart: Chart): uPlot.AlignedData {
  const length = Math.max(0, ...chart.series.map((series) => series.values.length));
  const gaps = chart.series.map((series) => Array.from(series.values, (value) => (Number.isFinite(value) ? value : null)));
  return [Array.from({ length }, (_, i) => i), ...gaps];
}

/** A click or a stroke over the curves moves the slider. */
function scrubOver(plot: uPlot): void {
  const to = (event: PointerEvent) => {
    playing.value = false;
    seek(plot.posToVal(event.clientX - plot.over.getBoundingClientRect().left, "x"));
  };
  plot.over.addEventListener("pointerdown", (event) => {
    plot.over.setPointerCapture(event.pointerId);
    to(event);
  });
  plot.over.addEventListener("pointermove", (event) => {
    if (plot.over.hasPointerCapture(event.pointerId)) to(event);
  });
}

/** Curves over the kept steps, with gaps where there is no value and a guide line at the slider. */
export function Curves({ height = 120, ...chart }: Chart & { readonly height?: number }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const guide = useRef<HTMLDivElement>(null);
  const night = dark.value;
  const at = column.value;
  const follow = () => {
    const [line, drawn] = [guide.current, plot.current];
    if (!line || !drawn) return;
    const last = (drawn.data[0].length || 1) - 1;
    line.style.transform = `translateX(${drawn.over.offsetLeft + drawn.valToPos(Math.min(column.peek(), last), "x")}px)`;
  };
  useEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    const drawn = new uPlot(options(element, chart, height), dataOf(chart), element);
    plot.current = drawn;
    scrubOver(drawn);
    follow();
    const watch = new ResizeObserver(() => {
      if (element.clientWidth && element.clientWidth !== drawn.width) drawn.setSize({ width: element.clientWidth, height });
      follow();
    });
    watch.observe(element);
    return () => {
      watch.disconnect();
      drawn.destroy();
    };
  }, [chart.series, night, height]);
  useEffect(follow, [at]);
  return (
    <div class="curves" ref={place} role="img" aria-label={`${chart.title}${chart.unit ? `, ${chart.unit}` : ""}: curves over the steps`}>
      <div class="guide" ref={guide} aria-hidden="true" />
    </div>
  );
}
