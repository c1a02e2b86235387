import type { Metric } from "../model/api";
import { TERMS } from "../terms";

/** What every metric and every word of the page means, with its unit and formula. */
export function Glossary({ metrics }: { metrics: readonly Metric[] }) {
  return (
    <div class="glossary">
      <dl>
        {metrics.map((metric) => (
          <div key={metric.name}>
            <dt>{metric.title} {metric.unit && <span class="unit">{metric.unit}</span>}</dt>
            <dd>{metric.meaning} <span class="muted">In files it is called <code>{metric.name}</code>.</span></dd>
          </div>
        ))}
        {TERMS.map(({ term, meaning, formula }) => (
          <div key={term}>
            <dt>{term}</dt>
            <dd>{meaning} {formula && <span class="formula">{formula}</span>}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}
