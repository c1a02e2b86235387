// Maps of attention over a picture: a coarse picture of their own, whose cover grows with the value.
import { SEQUENTIAL } from "./colours";

/** The darkest part of the colours stays away: over a dark picture it would be seen as nothing. */
const DARKEST = 0.25;
const MOST_COVER = 0.85;

/** A map of (rows, columns) as a picture of as many pixels, which a canvas enlarges: with `imageSmoothingEnabled`, or
 *  without it to see each cell. Colour and cover grow with the value as in the plots of `emnist-diff plot`; `largest`
 *  has the lightest colour. */
export function heat(map: Float32Array, rows: number, columns: number, largest: number, into?: ImageData): ImageData {
  const fits = into?.width === columns && into.height === rows;
  const image = fits ? into : new ImageData(columns, rows);
  for (let place = 0; place < rows * columns; place += 1) {
    const level = Math.min(1, Math.max(0, (map[place] || 0) / Math.max(largest, 1e-12)));
    const entry = 3 * Math.round(255 * heatShare(level));
    image.data.set(SEQUENTIAL.subarray(entry, entry + 3), 4 * place);
    image.data[4 * place + 3] = Math.round(255 * MOST_COVER * Math.sqrt(level));
  }
  return image;
}

/** Which part of the colours `heat` uses, for its legend: of level 0, the lowest value, to 1, the largest. */
export function heatShare(level: number): number {
  return DARKEST + (1 - DARKEST) * level;
}

type Head = number | "mean";
type Grid = readonly [number, number];

/** Of self attention (heads, fy, fx, ky, kx): where the place in row y and column x attends to, (ky, kx), the mean of
 *  the heads or one of them. Its sum is one. */
export function fromPlace(map: Float32Array, heads: number, grid: Grid, y: number, x: number, head: Head): Float32Array {
  const places = grid[0] * grid[1];
  return ofHeads(map, heads, head, (y * grid[1] + x) * places, places);
}

/** Of self attention: what each place gets from all, (ky, kx), the mean over the places that attend. Its sum is one. */
export function toPlaces(map: Float32Array, heads: number, grid: Grid, head: Head): Float32Array {
  const places = grid[0] * grid[1];
  const out = new Float32Array(places);
  for (let from = 0; from < places; from += 1) {
    const one = ofHeads(map, heads, head, from * places, places);
    for (let to = 0; to < places; to += 1) out[to]! += one[to]! / places;
  }
  return out;
}

/** Of cross attention (heads, tokens, fy, fx): how much each place attends to these tokens, (fy, fx): the mean over the
 *  tokens, and over the heads or of one of them. */
export function toTokens(map: Float32Array, heads: number, grid: Grid, tokens: readonly number[], head: Head): Float32Array {
  const places = grid[0] * grid[1];
  const out = new Float32Array(places);
  for (const token of tokens) {
    const one = ofHeads(map, heads, head, token * places, places);
    for (let place = 0; place < places; place += 1) out[place]! += one[place]! / tokens.length;
  }
  return out;
}

/** As multiples of what each place would get if all got alike: 1 is even. */
export function density(map: Float32Array): Float32Array {
  return map.map((share) => share * map.length);
}

/** A map of (rows, columns) at the size of a picture, (height, width), without edges between cells: bicubically, what
 *  falls below zero being zero, as the plots of tokens are drawn after DAAM (arXiv:2210.04885). */
export function smooth(map: Float32Array, rows: number, columns: number, height: number, width: number): Float32Array {
  const [down, across] = [places(rows, height), places(columns, width)];
  const wide = new Float64Array(rows * width);
  for (let y = 0; y < rows; y += 1) {
    across.forEach((taken, x) => taken.forEach(([from, weight]) => (wide[y * width + x]! += weight * map[y * columns + from]!)));
  }
  const out = new Float32Array(height * width);
  down.forEach((taken, y) => {
    for (let x = 0; x < width; x += 1) {
      out[y * width + x] = Math.max(0, taken.reduce((sum, [from, weight]) => sum + weight * wide[from * width + x]!, 0));
    }
  });
  return out;
}

/** Of each of `to` pixels, which of `from` cells it is made of, and with which weights: Keys' cubic with a = −0.75. */
function places(from: number, to: number): readonly (readonly (readonly [number, number])[])[] {
  const a = -0.75;
  const near = (d: number): number => ((a + 2) * d - (a + 3)) * d * d + 1;
  const far = (d: number): number => ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  return Array.from({ length: to }, (_, pixel) => {
    const centre = ((pixel + 0.5) * from) / to - 0.5;
    const first = Math.floor(centre);
    const rest = centre - first;
    const weights = [far(rest + 1), near(rest), near(1 - rest), far(2 - rest)];
    return weights.map((weight, step) => [Math.min(from - 1, Math.max(0, first - 1 + step)), weight] as const);
  });
}

/** `count` numbers from `from` on within each head's part of a map. */
function ofHeads(map: Float32Array, heads: number, head: Head, from: number, count: number): Float32Array {
  const stride = map.length / heads;
  if (head !== "mean") {
    const start = Math.min(head, heads - 1) * stride + from;
    return map.slice(start, start + count);
  }
  const out = new Float32Array(count);
  for (let each = 0; each < heads; each += 1) {
    for (let place = 0; place < count; place += 1) out[place]! += map[each * stride + from + place]! / heads;
  }
  return out;
}
