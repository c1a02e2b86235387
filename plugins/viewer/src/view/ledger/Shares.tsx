import { useMemo } from "preact/hooks";
import type { Run, Term } from "../../model/api";
import { seek } from "../../state";
import { percent, stepFacts } from "../../words";

const WIDTH = 600;
const HEIGHT = 150;

interface Bar { readonly term: Term; readonly column: number; readonly from: number; readonly to: number }

/** Bars of each step: what is positive is stacked upward from zero, what is negative downward. */
export function stacked(shares: ReadonlyMap<Term, Float64Array>): { readonly bars: readonly Bar[]; readonly low: number; readonly high: number } {
  const bars: Bar[] = [];
  let [low, high] = [0, 1];
  const columns = [...shares.values()][0]?.length ?? 0;
  for (let column = 0; column < columns; column += 1) {
    let [up, down] = [0, 0];
    for (const [term, values] of shares) {
      const value = values[column] ?? Number.NaN;
      if (!Number.isFinite(value)) continue;
      const from = value >= 0 ? up : down;
      if (value >= 0) up += value;
      else down += value;
      bars.push({ term, column, from, to: from + value });
    }
    [low, high] = [Math.min(low, down), Math.max(high, up)];
  }
  return { bars, low, high };
}

export const termName = (term: Term) => (term.kind === "base" ? "base" : term.name);

interface SharesProps {
  readonly run: Run;
  readonly shares: ReadonlyMap<Term, Float64Array>;
  readonly column: number;
  readonly colourOf: (term: Term) => string;
}

/** A stacked view of what part of the prediction each term is, over the steps. */
export function Shares({ run, shares, column, colourOf }: SharesProps) {
  const { bars, low, high } = useMemo(() => stacked(shares), [shares]);
  const columns = run.kept.length;
  const y = (value: number) => (HEIGHT * (high - value)) / (high - low);
  const width = WIDTH / Math.max(1, columns);
  const shown = Math.min(column, columns - 1);
  const draw = (bar: Bar) => (
    <rect key={`${bar.column} ${bar.term.kind} ${bar.term.key}`} x={bar.column * width} width={Math.max(0.5, width - 1)}
      y={Math.min(y(bar.from), y(bar.to))} height={Math.abs(y(bar.from) - y(bar.to))} fill={colourOf(bar.term)} />
  );
  const now = [...shares].map(([term, values]) => `${termName(term)} ${percent(values[shown] ?? Number.NaN)}`).join(", ");
  return (
    <figure class="shares">
      <figcaption>
        Shares of the prediction: f·p / ‖p‖², together 100 %; below zero is what works against the rest.
      </figcaption>
      <div class="shares-plot">
        <div class="shares-axis num muted" aria-hidden="true">
          <span style={{ top: 0 }}>{percent(high)}</span>
          <span style={{ top: `${(100 * high) / (high - low)}%` }}>0</span>
          {/* Nearer to 0 the two would stand on one another. */}
          {low < -0.15 * (high - low) && <span style={{ top: "100%" }}>{percent(low)}</span>}
        </div>
        <svg class="shares-bars" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`At ${stepFacts(run, shown).title}: ${now}`}
          onClick={(event) => {
            const box = event.currentTarget.getBoundingClientRect();
            seek(Math.floor((columns * (event.clientX - box.left)) / box.width));
          }}>
          <g opacity="0.55">{useMemo(() => bars.map(draw), [bars, width])}</g>
          {bars.filter((bar) => bar.column === shown).map(draw)}
          <line x1="0" x2={WIDTH} y1={y(0)} y2={y(0)} stroke="var(--soft)" stroke-width="0.75" vector-effect="non-scaling-stroke" />
          <line x1="0" x2={WIDTH} y1={y(1)} y2={y(1)} stroke="var(--line)" stroke-dasharray="3 3" />
        </svg>
      </div>
      <ul class="shares-now num">
        {[...shares].map(([term, values]) => (
          <li key={`${term.kind} ${term.key}`}>
            <span class="term-dot" style={{ background: colourOf(term) }} aria-hidden="true" />
            {termName(term)} {percent(values[shown] ?? Number.NaN)}
          </li>
        ))}
      </ul>
    </figure>
  );
}
