// A frame of a sample as pixels: a state in the colours that all frames of the page have, or the finished image.
import { coloursOf } from "../../draw/latents";
import { montage } from "../../draw/montage";
import { rangeOf } from "../../draw/colours";
import type { Field, Picture, Run } from "../../model/api";
import { stateAt } from "./states";

/** Fields that look like the image; others are signed values. */
export const looksLikeImage = (field: Field) => field === "x" || field === "x0";

export function pixelsOf(picture: Picture): ImageData {
  const data = new ImageData(picture.width, picture.height);
  data.data.set(picture.rgba);
  return data;
}

/** One state as pixels. */
export async function frameOf(run: Run, field: Field, position: number, column: number): Promise<ImageData> {
  const [state, range] = await Promise.all([stateAt(run, field, position, column), rangeOf(field, run)]);
  return framed(run, field, state, range);
}

/** Pixels of numbers of a field's kind that stand in no file, such as an estimate without a force.
 *
 *  like: the run whose colours latents have; of two that are compared both have those of one. */
export async function framed(run: Run, field: Field, state: Float32Array, range: readonly [number, number], like: Run = run): Promise<ImageData> {
  const colours = looksLikeImage(field) ? await coloursOf(like, range[1]) : undefined;
  return montage([state], run.shape, { columns: 1, gap: 0, range, signed: !looksLikeImage(field), ...(colours && { colours }) });
}

/** Draws pixels over a whole canvas, enlarged without smoothing. */
export function drawOver(context: CanvasRenderingContext2D, data: ImageData): void {
  const small = document.createElement("canvas");
  small.width = data.width;
  small.height = data.height;
  small.getContext("2d")?.putImageData(data, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, context.canvas.width, context.canvas.height);
}
