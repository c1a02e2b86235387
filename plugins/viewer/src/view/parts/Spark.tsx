import { useMemo } from "preact/hooks";
import { seek } from "../../state";
import { number } from "../../words";

export interface SparkProps {
  readonly title: string;
  /** A number for each column; NaN is a gap. */
  readonly values: Float64Array;
  readonly colour: string;
  /** The top of the axis; its foot is 0, or the lowest value where that is below. */
  readonly top: number;
  readonly column: number;
  /** Columns that the values belong to, where they are not all: the curve then joins what there is, and marks it with dots. */
  readonly columns?: readonly number[];
  /** How many columns there are. */
  readonly count?: number;
  /** Names a column for people: "step 3". */
  readonly stepName: (column: number) => string;
}

const WIDTH = 200;
const HEIGHT = 36;

/** The lines of a curve: one for each run of numbers without a gap. */
export function segments(values: ArrayLike<number>, x: (at: number) => number, y: (value: number) => number): string {
  let path = "";
  let open = false;
  for (let at = 0; at < values.length; at += 1) {
    const value = values[at] ?? Number.NaN;
    if (Number.isFinite(value)) path += `${open ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    open = Number.isFinite(value);
  }
  return path;
}

function largestAt(values: Float64Array): number {
  let best = 0;
  values.forEach((value, at) => {
    if (value > (values[best] ?? Number.NEGATIVE_INFINITY) || Number.isNaN(values[best])) best = at;
  });
  return best;
}

/** A small curve over the steps with a guide at the current one; a click moves the slider. */
export function Spark({ title, values, colour, top, column, columns, count = values.length, stepName }: SparkProps) {
  const foot = Math.min(0, ...values.filter(Number.isFinite));
  const last = Math.max(1, count - 1);
  const place = (at: number) => columns?.[at] ?? at;
  const x = (at: number) => (WIDTH * place(at)) / last;
  const y = (value: number) => HEIGHT - 2 - ((HEIGHT - 4) * (value - foot)) / (top - foot || 1);
  const path = useMemo(() => segments(values, x, y), [values, top, columns, count]);
  const peak = largestAt(values);
  const now = values[columns ? columns.indexOf(column) : column] ?? Number.NaN;
  const label = `${title}: ${number(now, 3)} at ${stepName(Math.min(column, last))}, largest ${number(values[peak] ?? Number.NaN, 3)} at ${stepName(place(peak))}`;
  return (
    <div class="spark">
      <div class="spark-head">
        <span class="muted">{title}</span>
        <span class="num">{number(now, 3)}</span>
      </div>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={label}
        onClick={(event) => {
          const box = event.currentTarget.getBoundingClientRect();
          seek((last * (event.clientX - box.left)) / box.width);
        }}>
        <line x1="0" x2={WIDTH} y1={y(0)} y2={y(0)} stroke="var(--soft)" stroke-width="0.75" vector-effect="non-scaling-stroke" />
        {column <= last && <line x1={(WIDTH * column) / last} x2={(WIDTH * column) / last} y1="0" y2={HEIGHT} stroke="var(--ink)" stroke-width="1" vector-effect="non-scaling-stroke" />}
        {columns && Array.from(values, (value, at) => Number.isFinite(value) && (
          <line key={at} x1={x(at)} x2={x(at) + 0.01} y1={y(value)} y2={y(value)} stroke={colour} stroke-width="5" stroke-linecap="round" vector-effect="non-scaling-stroke" />
        ))}
        <path d={path} fill="none" stroke={colour} stroke-width="1.75" vector-effect="non-scaling-stroke" />
      </svg>
    </div>
  );
}
