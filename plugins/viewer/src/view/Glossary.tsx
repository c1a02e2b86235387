import type { Metric } from "../model/api";
import { TERMS } from "../terms";
import { broken } from "./parts/broken";

/** What every metric and every word of the page means, with its unit and formula. */
export function Glossary({ metrics }: { metrics: readonly Metric[] }) {
  return (
    <div class="glossary">
      <h3>Words</h3>
      <dl>
        {TERMS.map(({ term, meaning, formula }) => (
          <div key={term}>
            <dt>{term}</dt>
            <dd>{meaning} {formula && <span class="formula">{formula}</span>}</dd>
          </div>
        ))}
      </dl>
      {metrics.length > 0 && <h3>Metrics</h3>}
      <dl>
        {metrics.map((metric) => (
          <div key={metric.name}>
            <dt>{metric.title} {metric.unit && <span class="unit">{metric.unit}</span>}</dt>
            <dd>{metric.meaning} <span class="muted">In files it is called <code>{broken(metric.name)}</code>.</span></dd>
          </div>
        ))}
      </dl>
    </div>
  );
}
