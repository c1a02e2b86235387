import { useMemo } from "preact/hooks";
import type { Run, Sample } from "../../model/api";
import { choose } from "../../state";
import { sampleTitle } from "../../words";
import { boundsOf, markOf, roomFor } from "./marks";
import type { Plane } from "./paths";

const WIDTH = 720;
const HEIGHT = 520;
const MARGIN = 34;
const THUMB = 34;

export interface DrawingProps {
  readonly run: Run;
  readonly plane: Plane;
  readonly column: number;
  readonly focus: Sample | undefined;
  /** Finished images as data addresses, by the samples' order; undefined where there is none. */
  readonly thumbs: readonly (string | undefined)[];
  readonly label: string;
}

const percent = (share: number) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

/** Places of points on the drawing; both axes have one scale, so that distances are true. */
function useScale(plane: Plane) {
  return useMemo(() => {
    const { x, y, wide, tall } = boundsOf(plane.points);
    const scale = Math.min((WIDTH - 2 * MARGIN - THUMB) / wide, (HEIGHT - 2 * MARGIN - THUMB) / tall);
    const place = (path: Float64Array, at: number): readonly [number, number] =>
      [WIDTH / 2 + scale * ((path[2 * at] ?? 0) - x), HEIGHT / 2 - scale * ((path[2 * at + 1] ?? 0) - y)];
    const lines = plane.points.map((path) => Array.from({ length: path.length / 2 }, (_, at) => place(path, at)));
    return lines;
  }, [plane]);
}

/** A path, and how much of its text is drawn up to each column. */
function pathOf(line: readonly (readonly [number, number])[]): { readonly d: string; readonly ends: readonly number[] } {
  const ends: number[] = [];
  let d = "";
  for (const [x, y] of line) {
    d += `${d ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    ends.push(d.length);
  }
  return { d, ends };
}

/** Paths through the plane: what is past is drawn strongly, the current state has its class's mark, the end its image. */
export function Drawing({ run, plane, column, focus, thumbs, label }: DrawingProps) {
  const lines = useScale(plane);
  const paths = useMemo(() => lines.map(pathOf), [lines]);
  const labels = useMemo(() => [...new Set(plane.samples.map((sample) => sample.label))].sort((one, two) => one - two), [plane]);
  const ends = lines.map((line) => line.at(-1) ?? ([0, 0] as const));
  const order = plane.samples.map((_, at) => at).sort((one, two) => Number(plane.samples[two]?.id === focus?.id) - Number(plane.samples[one]?.id === focus?.id));
  const room = useMemo(() => {
    const free = roomFor(order.map((at) => ends[at] ?? [0, 0]), THUMB + 2);
    return plane.samples.map((_, at) => free[order.indexOf(at)] ?? false);
  }, [lines, focus?.id]);
  const drawn = [...order].reverse();
  return (
    <svg class="plane" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={label} font-family="system-ui, sans-serif" font-size="13">
      <text x={WIDTH / 2} y={HEIGHT - 8} text-anchor="middle" fill="var(--soft)">first component, {percent(plane.explained[0])} of the variance</text>
      <text x={14} y={HEIGHT / 2} text-anchor="middle" fill="var(--soft)" transform={`rotate(-90 14 ${HEIGHT / 2})`}>second component, {percent(plane.explained[1])}</text>
      {drawn.map((at) => {
        const sample = plane.samples[at] as Sample;
        const line = lines[at] ?? [];
        const { shape, colour } = markOf(labels.indexOf(sample.label));
        const [x, y] = line[Math.min(column, line.length - 1)] ?? [0, 0];
        const strong = sample.id === focus?.id;
        const thumb = room[at] ? thumbs[at] : undefined;
        const [endX, endY] = line.at(-1) ?? [0, 0];
        return (
          <g key={sample.id} class="plane-path" onClick={() => choose(sample.id, false)}>
            <title>{sampleTitle(sample)}</title>
            <path d={paths[at]?.d} fill="none" stroke={colour} stroke-width={strong ? 2 : 1} opacity={strong ? 0.5 : 0.22} />
            <path d={paths[at]?.d.slice(0, paths[at]?.ends[Math.min(column, line.length - 1)])} fill="none" stroke={colour} stroke-width={strong ? 2.5 : 1.25} opacity={strong ? 1 : 0.7} />
            {thumb && <image href={thumb} x={endX - THUMB / 2} y={endY - THUMB / 2} width={THUMB} height={THUMB} style={{ imageRendering: "pixelated" }} opacity={strong ? 1 : 0.85} />}
            {thumb && strong && <rect x={endX - THUMB / 2} y={endY - THUMB / 2} width={THUMB} height={THUMB} fill="none" stroke={colour} stroke-width="2" />}
            <path d={shape} transform={`translate(${x.toFixed(1)} ${y.toFixed(1)}) scale(${strong ? 7 : 5})`} fill={colour} stroke="var(--paper)" stroke-width="0.25" />
          </g>
        );
      })}
      <g class="plane-legend">
        {labels.slice(0, 12).map((one, place) => {
          const { shape, colour } = markOf(place);
          return (
            <g key={one} transform={`translate(${MARGIN + 6} ${16 + 21 * place})`}>
              <path d={shape} transform="scale(5)" fill={colour} />
              <text x="12" y="4.5" fill="var(--ink)">{run.classes[one] ?? String(one)}</text>
            </g>
          );
        })}
      </g>
    </svg>
  );
}
