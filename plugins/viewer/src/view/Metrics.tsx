import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { curvesSvg, extent, type Chart } from "../curves";
import type { Metric, Run, Sample } from "../model/api";
import { metricsOf } from "../model/metrics";
import { lineOf } from "../opening";
import { type Cell, csvOf } from "../save";
import { colourOf, column, focus, picked, problem, run } from "../state";
import { fileName, number, sampleTitle, stepFacts } from "../words";
import { Curves, savedColour } from "./Curves";
import { Panel, type Save } from "./Panel";
import { broken } from "./parts/broken";

interface Measured { readonly sample: Sample; readonly metrics: readonly Metric[] }

/** Metrics of the samples that have curves, each computed once a run. */
export function useMetrics(opened: Run, those: readonly Sample[]): readonly Measured[] {
  const cache = useMemo(() => new Map<number, Promise<readonly Metric[]>>(), [opened]);
  const found = useSignal<readonly Measured[]>([]);
  useEffect(() => {
    let current = true;
    const measure = async (sample: Sample): Promise<Measured> => {
      const metrics = cache.get(sample.position) ?? metricsOf(opened, sample.position);
      cache.set(sample.position, metrics);
      return { sample, metrics: await metrics };
    };
    Promise.all(those.map(measure)).then(
      (all) => current && (found.value = all),
      (error: unknown) => {
        cache.clear();
        if (current) problem.value = lineOf(error, opened.name);
      },
    );
    return () => {
      current = false;
    };
  }, [opened, those]);
  return found.value;
}

/** A chart a metric, of every chosen sample. A metric that a sample lacks, or that has no value at all, is not drawn. */
function chartsOf(measured: readonly Measured[]): readonly (Chart & { readonly metric: Metric })[] {
  const names = [...new Set(measured.flatMap(({ metrics }) => metrics.map((metric) => metric.name)))];
  return names.flatMap((name) => {
    const series = measured.flatMap(({ sample, metrics }) => {
      const metric = metrics.find((one) => one.name === name);
      return metric ? [{ metric, label: sampleTitle(sample), colour: colourOf(sample.id), values: metric.values }] : [];
    });
    const first = series.find((one) => extent(one.values))?.metric;
    return first ? [{ title: first.title, unit: first.unit, metric: first, series }] : [];
  });
}

function csv(opened: Run, measured: readonly Measured[]): Blob {
  const names = measured[0]?.metrics.map((metric) => metric.name) ?? [];
  const rows: Cell[][] = [["sample", "class", "seed", "step_index", "timestep", ...names]];
  for (const { sample, metrics } of measured) {
    const length = Math.max(0, ...metrics.map((metric) => metric.values.length));
    for (let at = 0; at < length; at += 1) {
      const step = opened.kept[at];
      const time = step === undefined ? undefined : opened.schedule.timestep[step];
      rows.push([sample.id, sample.className, sample.seed, step, time, ...names.map((name) => metrics.find((one) => one.name === name)?.values[at])]);
    }
  }
  return csvOf(rows);
}

/** Curves of the chosen samples, a small one for each metric, under the one slider. */
export function Metrics() {
  const opened = run.value;
  return opened && (opened.fields.length || opened.attention) ? <Grid opened={opened} /> : null;
}

function Grid({ opened }: { opened: Run }) {
  const measured = useMetrics(opened, picked.value);
  const charts = useMemo(() => chartsOf(measured), [measured]);
  const groups = [...new Set(charts.map((chart) => chart.metric.group))];
  const svg = () => {
    const plain = charts.map((chart) => ({ ...chart, series: chart.series.map((one) => ({ ...one, colour: savedColour(one.colour) })) }));
    return new Blob([curvesSvg(plain, column.value, { value: (value) => number(value, 3), column: (at) => stepFacts(opened, at).title })], { type: "image/svg+xml" });
  };
  const saves: Save[] = charts.length
    ? [{ name: fileName(opened, "metrics", ".svg"), make: svg }, { name: fileName(opened, "metrics", ".csv"), make: () => csv(opened, measured) }]
    : [];
  return (
    <Panel title="Metrics" says="Numbers of each step, of the chosen samples. Click a curve, or stroke along it, to move the slider; a gap is a step without a value."
      saves={saves}>
      {charts.length > 0 ? <Legend /> : <p class="muted">{measured.length ? "The file has no numbers for them." : "…"}</p>}
      {groups.map((group, i) => <Group key={group} title={group} first={i === 0} charts={charts.filter((chart) => chart.metric.group === group)} />)}
    </Panel>
  );
}

/** The first group's cards are always there, those of the others on demand. */
function Group({ title, first, charts }: { title: string; first: boolean; charts: ReturnType<typeof chartsOf> }) {
  const open = useSignal(false);
  const cards = () => <div class="cards">{charts.map((chart) => <Card key={chart.metric.name} chart={chart} />)}</div>;
  if (first) return cards();
  return (
    <details class="group" onToggle={(event) => (open.value = event.currentTarget.open)}>
      <summary>{title} <span class="muted num">{charts.length}</span></summary>
      {open.value && cards()}
    </details>
  );
}

/** Which colour is which sample; in focus is the one that cards and other panels state. */
export function Legend() {
  return (
    <ul class="legend" aria-label="Chosen samples">
      {picked.value.map((sample) => (
        <li key={sample.id} style={{ "--mark": colourOf(sample.id) }}>
          {sampleTitle(sample)}
        </li>
      ))}
    </ul>
  );
}

function Card({ chart }: { chart: ReturnType<typeof chartsOf>[number] }) {
  const label = focus.value && sampleTitle(focus.value);
  const values = (chart.series.find((one) => one.label === label) ?? chart.series[0])?.values ?? [];
  const range = extent(values);
  return (
    <section class="card" aria-label={chart.title}>
      <h3 title={chart.metric.meaning}>{chart.title}</h3>
      {chart.metric.name !== chart.title && <p class="name"><code>{broken(chart.metric.name)}</code></p>}
      <p class="now num"><Now values={values} />{chart.unit && <span class="unit"> {chart.unit}</span>}</p>
      <p class="range num">{range ? `${number(range[0], 3)} … ${number(range[1], 3)}` : "no value"}</p>
      <Curves title={chart.title} unit={chart.unit} series={chart.series} height={110} />
    </section>
  );
}

/** The value at the slider, alone in a component, so that nothing else is drawn anew with it. */
function Now({ values }: { values: ArrayLike<number> }) {
  return <>{number(values[Math.min(column.value, values.length - 1)] ?? Number.NaN)}</>;
}
