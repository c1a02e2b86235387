// Many states as one picture: a canvas takes it in one call, whatever the number of samples.
import { DIVERGING, GREY, pixelsOf } from "./colours";

export interface Montage {
  readonly columns: number;
  /** Transparent pixels between states. */
  readonly gap: number;
  readonly range: readonly [number, number];
  /** Signed values are drawn from blue to orange; others from black to white, or as colours. */
  readonly signed: boolean;
  /** Of latents: what red, green and blue are of, see `principalColours`. Left out, the first three channels. */
  readonly colours?: Float32Array;
}

/** Pixels of a montage, beyond which states are drawn smaller. */
const MOST_PIXELS = 1 << 22;
/** Numbers of a vector in one row. */
const STRIP = 64;
const FAINT = 0x28808080;
const LOOKUPS = { grey: pixelsOf(GREY), signed: pixelsOf(DIVERGING) };

/** How a state is drawn: (channels, rows, columns) as it is, a vector as a strip, or as a square where it is long. */
export function pictureSize(shape: readonly number[]): { channels: number; height: number; width: number } {
  const width = shape.at(-1) ?? 1;
  if (shape.length > 1) {
    const height = shape.at(-2) ?? 1;
    return { channels: shape.slice(0, -2).reduce((all, side) => all * side, 1), height, width };
  }
  const side = width > STRIP ? Math.ceil(Math.sqrt(width)) : width;
  return { channels: 1, height: Math.ceil(width / Math.max(1, side)), width: side };
}

/** What the pictures of states show, for the sentence of a panel. */
export function pictureWords(shape: readonly number[], signed: boolean, pictures: boolean): string {
  const { channels } = pictureSize(shape);
  if (shape.length === 1) return `a square for each of the state's ${shape[0]} numbers`;
  if (signed) return channels > 1 ? `the mean of the state's ${channels} channels` : "the state's values";
  if (pictures) return "pixels from −1, black, to 1, white";
  return channels > 2 ? `a latent state of ${channels} channels, whose three main components are red, green and blue` : "a latent state";
}

interface Size {
  /** States in a row, and rows. */
  readonly across: number;
  readonly down: number;
  /** A pixel is the mean of so many by so many. */
  readonly shrink: number;
  /** Width and height of a state's picture, and of the whole. */
  readonly cell: readonly [number, number];
  readonly width: number;
  readonly height: number;
}

export function montageSize(count: number, shape: readonly number[], { columns, gap }: Pick<Montage, "columns" | "gap">): Size {
  const size = pictureSize(shape);
  const across = Math.max(1, Math.min(columns, count));
  const down = Math.max(1, Math.ceil(count / across));
  const shrink = Math.max(1, Math.ceil(Math.sqrt((across * size.width * down * size.height) / MOST_PIXELS)));
  const [width, height] = [Math.ceil(size.width / shrink), Math.ceil(size.height / shrink)];
  return { across, down, shrink, cell: [width, height], width: across * (width + gap) - gap, height: down * (height + gap) - gap };
}

/** States of one shape in rows of `columns`, the first at the top left. What is undefined is a faint cell.
 *
 *  into: the picture of before, which is used again where its size fits. */
export function montage(states: readonly (Float32Array | undefined)[], shape: readonly number[], options: Montage, into?: ImageData): ImageData {
  const size = montageSize(states.length, shape, options);
  const fits = into?.width === size.width && into.height === size.height;
  const image = fits ? into : new ImageData(Math.max(1, size.width), Math.max(1, size.height));
  const pixels = new Uint32Array(image.data.buffer);
  const [width, height] = size.cell;
  const draw = painter(shape, options, size.shrink);
  states.forEach((state, place) => {
    const [column, row] = [place % size.across, Math.floor(place / size.across)];
    const at = row * (height + options.gap) * image.width + column * (width + options.gap);
    if (state !== undefined) draw(state, pixels, at, image.width);
    else for (let y = 0; y < height; y += 1) pixels.fill(FAINT, at + y * image.width, at + y * image.width + width);
  });
  return image;
}

type Draw = (state: Float32Array, into: Uint32Array, at: number, stride: number) => void;

function painter(shape: readonly number[], options: Montage, shrink: number): Draw {
  const { channels, height, width } = pictureSize(shape);
  const [low, high] = options.range;
  const scale = high > low ? 255 / (high - low) : 0;
  const plain = channels === 1 || options.signed || (channels < 3 && options.colours === undefined);
  const lookup = options.signed ? LOOKUPS.signed : LOOKUPS.grey;
  if (channels === 1 && shrink === 1) {
    return (state, into, at, stride) => paint(state, width, lookup, low, scale, into, at, stride);
  }
  const small = Math.ceil(width / shrink);
  const planes = plain ? 1 : 3;
  const scratch = new Float32Array(planes * Math.ceil(height / shrink) * small);
  const factors = plain ? meanOf(channels, options.signed) : (options.colours ?? firstThree(channels));
  return (state, into, at, stride) => {
    mix(state, factors, planes, [height, width, shrink], scratch);
    if (plain) paint(scratch, small, lookup, low, scale, into, at, stride);
    else paintColours(scratch, small, low, scale, into, at, stride);
  };
}

/** Cells of one number each; what is no number stays transparent. */
function paint(values: Float32Array, width: number, lookup: Uint32Array, low: number, scale: number, into: Uint32Array, at: number, stride: number): void {
  for (let place = 0, y = 0; place < values.length; y += 1) {
    const end = Math.min(values.length, place + width);
    for (let pixel = at + y * stride; place < end; place += 1, pixel += 1) {
      const level = (values[place]! - low) * scale + 0.5;
      into[pixel] = level !== level ? 0 : lookup[level < 0 ? 0 : level > 255 ? 255 : level | 0]!;
    }
  }
}

function paintColours(values: Float32Array, width: number, low: number, scale: number, into: Uint32Array, at: number, stride: number): void {
  const count = values.length / 3;
  const level = (place: number): number => {
    const found = (values[place]! - low) * scale + 0.5;
    return found > 255 ? 255 : found > 0 ? found | 0 : 0;
  };
  for (let place = 0; place < count; place += 1) {
    const pixel = at + Math.floor(place / width) * stride + (place % width);
    into[pixel] = ((255 << 24) | (level(2 * count + place) << 16) | (level(count + place) << 8) | level(place)) >>> 0;
  }
}

/** Planes that are sums of channels, by (planes, channels) factors, each pixel the mean of shrink × shrink. */
function mix(state: Float32Array, factors: Float32Array, planes: number, [height, width, shrink]: readonly [number, number, number], out: Float32Array): void {
  const channels = factors.length / planes;
  const [rows, columns] = [Math.ceil(height / shrink), Math.ceil(width / shrink)];
  out.fill(0);
  for (let entry = 0; entry < planes * channels; entry += 1) {
    const factor = factors[entry]!;
    if (factor === 0) continue;
    const [plane, channel] = [Math.floor(entry / channels), entry % channels];
    for (let y = 0; y < height; y += 1) {
      const top = Math.floor(y / shrink);
      const tall = Math.min(shrink, height - top * shrink);
      for (let x = 0; x < width; x += 1) {
        const left = Math.floor(x / shrink);
        const weight = factor / (tall * Math.min(shrink, width - left * shrink));
        out[(plane * rows + top) * columns + left]! += weight * state[(channel * height + y) * width + x]!;
      }
    }
  }
}

/** The mean of the channels; of two that are no signed values, the first. */
function meanOf(channels: number, signed: boolean): Float32Array {
  const factors = new Float32Array(channels);
  return signed ? factors.fill(1 / channels) : factors.fill(1, 0, 1);
}

function firstThree(channels: number): Float32Array {
  const factors = new Float32Array(3 * channels);
  for (let plane = 0; plane < 3; plane += 1) factors[plane * channels + Math.min(plane, channels - 1)] = 1;
  return factors;
}
