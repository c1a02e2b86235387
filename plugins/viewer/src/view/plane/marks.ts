// Marks of classes in the plane: a colour and a shape each, so that neither is needed to tell them apart.

/** Outlines within a circle of radius 1. */
const SHAPES = [
  "M1 0A1 1 0 1 1-1 0A1 1 0 1 1 1 0Z",
  "M-.85-.85H.85V.85H-.85Z",
  "M0-1.1L1.05.75H-1.05Z",
  "M0-1.2L1.1 0L0 1.2L-1.1 0Z",
  "M-1.05-.75H1.05L0 1.1Z",
  "M-.35-1.1H.35V-.35H1.1V.35H.35V1.1H-.35V.35H-1.1V-.35H-.35Z",
  "M0-1.2L.32-.4L1.15-.37L.5.17L.7.97L0 .5L-.7.97L-.5.17L-1.15-.37L-.32-.4Z",
] as const;

export interface Mark { readonly shape: string; readonly colour: string }

/** The mark of the class that is at this place among those shown; after 49 they repeat. */
export function markOf(place: number): Mark {
  return { shape: SHAPES[(place + Math.floor(place / 7)) % SHAPES.length] ?? SHAPES[0], colour: `var(--series-${place % 7})` };
}

/** The rectangle that holds all points, as its middle and half its longer side: both axes have one scale. */
export function boundsOf(points: readonly Float64Array[]): { readonly x: number; readonly y: number; readonly wide: number; readonly tall: number } {
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const path of points) {
    for (let at = 0; at + 1 < path.length; at += 2) {
      const [x, y] = [path[at] ?? Number.NaN, path[at + 1] ?? Number.NaN];
      if (!Number.isFinite(x) || !Number.isFinite(y)) continue;
      [left, right, low, high] = [Math.min(left, x), Math.max(right, x), Math.min(low, y), Math.max(high, y)];
    }
  }
  if (left > right) return { x: 0, y: 0, wide: 1, tall: 1 };
  return { x: (left + right) / 2, y: (low + high) / 2, wide: right - left || 1, tall: high - low || 1 };
}

/** Which of these places can have a picture of this side without covering an earlier one's. */
export function roomFor(places: readonly (readonly [number, number])[], side: number): boolean[] {
  const taken: (readonly [number, number])[] = [];
  return places.map(([x, y]) => {
    const free = taken.every(([left, top]) => Math.abs(left - x) > side || Math.abs(top - y) > side);
    if (free) taken.push([x, y]);
    return free;
  });
}
