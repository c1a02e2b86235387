import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Metric, Run } from "../model/api";
import { focus, runs } from "../state";
import { bytes, count, fileName, number } from "../words";
import { LIBRARIES, MIT, VERSION, versionOf } from "../licences";
import { metricsOf } from "../model/metrics";
import { Glossary } from "./Glossary";
import { Panel, type Save } from "./Panel";

/** What is in the file, how the run was made, and what the page's words mean. */
export function About() {
  const two = runs.value.length > 1;
  return (
    <div class="about stack">
      {runs.value.map((opened, i) => <Facts key={i} opened={opened} which={two ? ` of ${"AB"[i]}` : ""} />)}
      <Words />
      <Licences />
    </div>
  );
}

function Facts({ opened, which }: { opened: Run; which: string }) {
  const { schedule, samples, dtype, shape, kept } = opened;
  // Sources count while panels read: the numbers are taken anew while somebody looks at them.
  const now = useSignal(0);
  useEffect(() => {
    const timer = setInterval(() => (now.value += 1), 1000);
    return () => clearInterval(timer);
  }, []);
  void now.value;
  const { requests, received } = opened.source;
  const share = (100 * received) / Math.max(1, opened.bytes);
  const part = share < 99.5 ? `, ${share < 10 ? number(share, 2) : share.toFixed(0)} % of the file` : "";
  const rows: readonly (readonly [string, string])[] = [
    ["File", opened.source.name],
    ["Size", bytes(opened.bytes)],
    ["Written by", `${opened.creator}, format ${opened.version.join(".")}`],
    ["Samples", `${samples.filter((sample) => sample.done).length} of ${samples.length} finished, ${count(new Set(samples.map((sample) => sample.label)).size, "class", "classes")}`],
    ["Steps", `${schedule.steps}, states of ${kept.length} are kept`],
    ["State", `${shape.join(" × ")}${dtype ? `, ${dtype}` : ", none kept"}`],
    ["Process", `${opened.forwardProcess}, the prediction is ${opened.predictionType}`],
    ["Read so far", `${bytes(received)} in ${count(requests, "request")}${part}`],
    ["Configuration's SHA-256", opened.configHash],
  ];
  const json = (name: string, value: unknown): Save =>
    ({ name: fileName(opened, name, ".json"), make: () => new Blob([JSON.stringify(value, null, 2), "\n"], { type: "application/json" }) });
  return (
    <div class="about-run">
      <div class="stack">
        <Panel title={`File${which}`} says="What the file holds, and how much of it this page has read.">
          <table class="facts-table num">
            <tbody>{rows.map(([name, value]) => <tr key={name}><th scope="row">{name}</th><td>{value}</td></tr>)}</tbody>
          </table>
        </Panel>
        <Panel title={`Environment${which}`} says="Where the run was made: versions, device, threads, checkpoint, plugins."
          saves={[json("environment", opened.environment)]}>
          <Table value={opened.environment} />
        </Panel>
      </div>
      <Panel title={`Configuration${which}`} says="Everything that decides what the samples are: the same configuration gives the same samples."
        saves={[json("config", opened.config)]}>
        <Table value={opened.config} />
      </Panel>
    </div>
  );
}

const isTable = (value: unknown): value is Readonly<Record<string, unknown>> | readonly unknown[] =>
  typeof value === "object" && value !== null && Object.keys(value).length > 0;

function plain(value: unknown): string {
  if (value === null || value === undefined) return "none";
  if (typeof value === "object") return "none";
  return typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
}

/** A short list of numbers or names is one line. */
function line(value: unknown): string | undefined {
  if (!Array.isArray(value) || value.length === 0 || value.some((one) => typeof one === "object" && one !== null)) return undefined;
  const text = value.slice(0, 40).map(plain).join(", ");
  return value.length > 40 ? `${text}, … ${value.length} in all` : text;
}

interface Row { readonly depth: number; readonly key: string; readonly value: string | undefined }

/** Settings as they nest, a row each; those that hold others have no value of their own. */
function rowsOf(value: Readonly<Record<string, unknown>> | readonly unknown[], depth = 0): Row[] {
  return Object.entries(value).slice(0, 500).flatMap(([key, one]): Row[] => {
    const short = line(one);
    if (short !== undefined || !isTable(one) || depth > 8) return [{ depth, key, value: short ?? plain(one) }];
    return [{ depth, key, value: undefined }, ...rowsOf(one, depth + 1)];
  });
}

function Table({ value }: { value: Readonly<Record<string, unknown>> }) {
  return (
    <table class="facts-table num">
      <tbody>
        {rowsOf(value).map(({ depth, key, value: text }, i) => (
          <tr key={i} class={depth ? "inner" : ""}>
            <th scope="row" style={{ paddingLeft: `${depth * 1.1}rem` }}>{key}</th>
            <td>{text}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Words() {
  const metrics = useSignal<readonly Metric[]>([]);
  const [opened, sample] = [runs.value[0], focus.value];
  useEffect(() => {
    if (opened && sample) metricsOf(opened, sample.position).then((found) => (metrics.value = found), () => undefined);
  }, [opened, sample]);
  return (
    <Panel title="Glossary" says="What the metrics and the words of this page mean.">
      <Glossary metrics={metrics.value} />
    </Panel>
  );
}

function Licences() {
  return (
    <Panel title="Software" says={`emnist-diff viewer ${VERSION}, under the MIT licence, with these libraries in it, under the same licence.`}>
      <table class="facts-table num">
        <tbody>
          {LIBRARIES.map(({ name, does, copyright }) => (
            <tr key={name}><th scope="row">{name} {versionOf(name)}</th><td>{does}. <span class="muted">{copyright}</span></td></tr>
          ))}
        </tbody>
      </table>
      <details class="licence">
        <summary>The MIT licence</summary>
        {MIT.split("\n\n").map((part) => <p key={part}>{part}</p>)}
      </details>
    </Panel>
  );
}
