// Colours of numbers: fixed maps, told apart with any colour vision, and the ranges that they cover.
import type { Field, Run } from "../model/api";

/** 256 colours, red, green and blue each, from the lowest value to the highest. */
export type ColourMap = Uint8Array;

/** Black to white: what a picture's [-1, 1] is. */
export const GREY: ColourMap = between("000000 ffffff");
/** Blue, white, orange (after Okabe and Ito): signed values, with zero in the middle. */
export const DIVERGING: ColourMap = between("04335c 0072b2 7ab6da f7f7f7 f3b27c d55e00 6e2c00");
/** The "inferno" of matplotlib, which the plots of attention have too: lightness rises evenly. */
export const SEQUENTIAL: ColourMap = between(
  "000004 0b0724 210c4a 3d0965 57106e 71196e 8a226a a32c61 bc3754 d04545 e35933 f1711f f98c0a fcaa0f f9c932 f2e865 fcffa4",
);

/** The map that goes evenly through these colours. */
function between(hex: string): ColourMap {
  const stops = hex.split(" ").map((each) => [0, 2, 4].map((from) => parseInt(each.slice(from, from + 2), 16)));
  return Uint8Array.from({ length: 768 }, (_, entry) => {
    const place = (Math.floor(entry / 3) / 255) * (stops.length - 1);
    const from = Math.min(stops.length - 2, Math.floor(place));
    const [a, b] = [stops[from]![entry % 3]!, stops[from + 1]![entry % 3]!];
    return Math.round(a + (b - a) * (place - from));
  });
}

/** A map as little-endian pixels, which a canvas takes four bytes at a time. */
export function pixelsOf(map: ColourMap): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, entry) =>
    ((255 << 24) | (map[3 * entry + 2]! << 16) | (map[3 * entry + 1]! << 8) | map[3 * entry]!) >>> 0,
  );
}

/** The colour of a share of the range, 0 … 1, for CSS and SVG. */
export function css(map: ColourMap, share: number): string {
  const entry = 3 * Math.round(255 * Math.min(1, Math.max(0, share || 0)));
  return `rgb(${map[entry]}, ${map[entry + 1]}, ${map[entry + 2]})`;
}

/** What stands beside a colour bar: values at even distances, the lowest first, and their colours. */
export function legend(map: ColourMap, range: readonly [number, number], count = 5): { value: number; colour: string }[] {
  return Array.from({ length: count }, (_, place) => {
    const share = count > 1 ? place / (count - 1) : 0;
    return { value: range[0] + share * (range[1] - range[0]), colour: css(map, share) };
  });
}

/** Numbers that are sorted at most. */
const MOST_SORTED = 1 << 16;

/** The value in sorted order at a share of all, of sizes |values| that are finite; 0 where there are none. Of many numbers
 *  every n-th is looked at. */
export function quantile(values: Float32Array, share: number): number {
  const every = Math.ceil(values.length / MOST_SORTED) || 1;
  const some = Float32Array.from({ length: Math.ceil(values.length / every) }, (_, place) => Math.abs(values[place * every]!));
  const sizes = some.filter(Number.isFinite).sort();
  return sizes[Math.min(sizes.length - 1, Math.floor(share * sizes.length))] ?? 0;
}

/** Samples that a range is taken from. */
const MOST_SAMPLES = 4;
const known = new WeakMap<Run, Map<string, Promise<readonly [number, number]>>>();

/** The range of a field's colours, the same at all steps so that scrubbing does not flicker: [-1, 1] of states and
 *  estimates that are pictures; of all else ±the size that one number of 500 passes, in the first samples' whole paths.
 *
 *  positions: of samples that are looked at; left out, the first that there are. */
export function rangeOf(field: Field, run: Run, positions?: readonly number[]): Promise<readonly [number, number]> {
  const there = run.samples.filter((each) => each.done && each.row !== undefined).map((each) => each.position);
  const some = (positions ?? there).slice(0, MOST_SAMPLES);
  const held = known.get(run) ?? new Map<string, Promise<readonly [number, number]>>();
  known.set(run, held);
  const key = `${field} ${some.join(" ")}`;
  const found = held.get(key) ?? measured(field, run, some);
  held.set(key, found);
  found.catch(() => held.delete(key));
  return found;
}

async function measured(field: Field, run: Run, positions: readonly number[]): Promise<readonly [number, number]> {
  if ((field === "x" || field === "x0") && (await run.pictures()) === "pictures") return [-1, 1];
  const paths = await Promise.all(positions.map((position) => run.path(field, position)));
  const largest = Math.max(0, ...paths.map((path) => quantile(path, 0.998)));
  return largest > 0 ? [-largest, largest] : [-1, 1];
}
