import { useMemo } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { curvesSvg, extent, type Chart } from "../../curves";
import type { Match } from "../../model/align";
import type { Metric, Run } from "../../model/api";
import { metricsOf } from "../../model/metrics";
import { column } from "../../state";
import { fileName, number, stepFacts } from "../../words";
import { Curves } from "../Curves";
import { Panel } from "../Panel";
import { broken } from "../parts/broken";
import { useLoaded } from "../parts/load";
import { csvOf } from "../../save";

interface BothProps { readonly a: Run; readonly b: Run; readonly match: Match; readonly columns: Int32Array }

/** B's values at the columns that belong to A's. */
export function resampled(values: Float64Array, columns: Int32Array, count: number): Float64Array {
  return Float64Array.from({ length: count }, (_, column) => values[Math.min(columns[column] ?? 0, values.length - 1)] ?? Number.NaN);
}

function chartsOf(metrics: readonly (readonly Metric[])[], columns: Int32Array, count: number): (Chart & { readonly metric: Metric })[] {
  const [one = [], two = []] = metrics;
  return one.flatMap((metric) => {
    const other = two.find((each) => each.name === metric.name);
    if (!other || !extent(metric.values) || !extent(other.values)) return [];
    return [{ metric, title: metric.title, unit: metric.unit, series: [
      { label: "A", colour: "var(--a)", values: metric.values },
      { label: "B", colour: "var(--b)", values: resampled(other.values, columns, count) },
    ] }];
  });
}

/** Metrics of both samples in one plot each. */
export function Both({ a, b, match, columns }: BothProps) {
  const group = useSignal<string | undefined>(undefined);
  const metrics = useLoaded(() => Promise.all([metricsOf(a, match.a.position), metricsOf(b, match.b.position)]), [a, b, match.a.position, match.b.position]);
  const charts = useMemo(() => (metrics ? chartsOf(metrics, columns, a.kept.length) : []), [metrics, columns, a]);
  const groups = [...new Set(charts.map((chart) => chart.metric.group))];
  const shown = group.value !== undefined && groups.includes(group.value) ? group.value : groups[0];
  const drawn = charts.filter((chart) => chart.metric.group === shown);
  const table = () => csvOf([
    ["step_index", ...charts.flatMap(({ metric }) => [`A ${metric.name}`, `B ${metric.name}`])],
    ...a.kept.map((step, at) => [step, ...charts.flatMap(({ series }) => series.map((each) => each.values[at]))]),
  ]);
  const colours: Readonly<Record<string, string>> = { A: "#0072b2", B: "#b75400" };
  const plain = () => drawn.map((chart) => ({ ...chart, series: chart.series.map((each) => ({ ...each, colour: colours[each.label] ?? "#000" })) }));
  return (
    <Panel title="Metrics of both" says="The metrics that both files have numbers for, A in blue and B in orange, over A's steps and in the units that each title names."
      saves={charts.length ? [
        { name: fileName(a, "and", b.name.replace(/\.h5$/, ""), "metrics", ".svg"), make: () => new Blob([curvesSvg(plain(), column.peek(), { value: (value) => number(value, 3), column: (at) => stepFacts(a, at).title })], { type: "image/svg+xml" }) },
        { name: fileName(a, "and", b.name.replace(/\.h5$/, ""), "metrics", ".csv"), make: table },
      ] : []}
      controls={groups.length > 1 && (
        <select aria-label="Group of metrics" value={shown} onChange={(event) => (group.value = event.currentTarget.value)}>
          {groups.map((one) => <option key={one} value={one}>{one}</option>)}
        </select>
      )}>
      {metrics && !charts.length && <p class="empty">The two files have no metric in common: record x and x0 in both.</p>}
      <div class="both">
        {drawn.map((chart) => <One key={chart.metric.name} chart={chart} />)}
      </div>
    </Panel>
  );
}

function One({ chart }: { chart: Chart & { readonly metric: Metric } }) {
  const at = column.value;
  const now = chart.series.map((each) => number(each.values[Math.min(at, each.values.length - 1)] ?? Number.NaN, 3));
  return (
    <figure>
      <figcaption>
        <b title={chart.metric.meaning}>{chart.title}</b> <span class="muted">{chart.unit}</span>
        <code class="both-name">{broken(chart.metric.name)}</code>
        <span class="num both-now"><span class="mark-a">A {now[0]}</span> <span class="mark-b">B {now[1]}</span></span>
      </figcaption>
      <Curves title={`${chart.title} of A and B`} unit={chart.unit} series={chart.series} />
    </figure>
  );
}
