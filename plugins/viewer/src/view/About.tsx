import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Metric, Run } from "../model/api";
import { focus, runs } from "../state";
import { bytes, count } from "../words";
import { LIBRARIES, MIT, VERSION, versionOf } from "../licences";
import { metricsOf } from "../model/metrics";
import { Glossary } from "./Glossary";
import { Panel } from "./Panel";

/** What is in the file, how the run was made, and what the page's words mean. */
export function About() {
  return (
    <div class="about stack">
      {runs.value.map((opened, i) => <Facts key={i} opened={opened} which={runs.value.length > 1 ? " of " + "AB"[i] : ""} />)}
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
  const rows: readonly (readonly [string, string])[] = [
    ["File", opened.source.name],
    ["Size", bytes(opened.bytes)],
    ["Written by", `${opened.creator}, format ${opened.version.join(".")}`],
    ["Samples", `${samples.filter((sample) => sample.done).length} of ${samples.length} finished, ${count(new Set(samples.map((sample) => sample.label)).size, "class", "classes")}`],
    ["Steps", `${schedule.steps}, states of ${kept.length} are kept`],
    ["State", `${shape.join(" × ")}${dtype ? `, ${dtype}` : ", none kept"}`],
    ["Process", `${opened.forwardProcess}, the prediction is ${opened.predictionType}`],
    ["Read so far", `${bytes(received)} in ${count(requests, "request")}: ${(100 * received / Math.max(1, opened.bytes)).toPrecision(2)} % of the file`],
    ["Configuration's SHA-256", opened.configHash],
  ];
  return (
    <>
      <Panel title={`File${which}`} says="What the file holds, and how much of it this page has read.">
        <table class="facts-table num"><tbody>{rows.map(([name, value]) => <tr key={name}><th scope="row">{name}</th><td>{value}</td></tr>)}</tbody></table>
      </Panel>
      <Panel title={`Configuration${which}`} says="Everything that decides what the samples are. The same configuration gives the same samples.">
        <Table value={opened.config} />
      </Panel>
      <Panel title={`Environment${which}`} says="Where the run was made: versions, device, threads, checkpoint, plugins.">
        <Table value={opened.environment} />
      </Panel>
    </>
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

/** Settings as they nest, a row each. */
function Table({ value, depth = 0 }: { value: unknown; depth?: number }) {
  if (!isTable(value) || depth > 8) return <p class="muted">{plain(value)}</p>;
  const items = Object.entries(value).slice(0, 500);
  return (
    <table class={depth ? "facts-table nested num" : "facts-table num"}>
      <tbody>
        {items.map(([key, one]) => (
          <tr key={key}>
            <th scope="row">{Array.isArray(value) ? Number(key) + 1 : key}</th>
            <td>{line(one) ?? (isTable(one) ? <Table value={one} depth={depth + 1} /> : plain(one))}</td>
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
