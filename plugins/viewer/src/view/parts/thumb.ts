import type { Run } from "../../model/api";
import { pixelsOf } from "./frame";

const known = new WeakMap<Run, Map<number, Promise<string | undefined>>>();

/** The finished image as a data address, at most 64 pixels a side; undefined where the file has none. */
export function thumbOf(run: Run, position: number): Promise<string | undefined> {
  const held = known.get(run) ?? new Map<number, Promise<string | undefined>>();
  known.set(run, held);
  const found = held.get(position) ?? thumbnail(run, position);
  held.set(position, found);
  found.catch(() => held.delete(position));
  return found;
}

async function thumbnail(run: Run, position: number): Promise<string | undefined> {
  const picture = await run.image(position);
  if (!picture) return undefined;
  const whole = document.createElement("canvas");
  [whole.width, whole.height] = [picture.width, picture.height];
  whole.getContext("2d")?.putImageData(pixelsOf(picture), 0, 0);
  const scale = Math.min(1, 64 / Math.max(picture.width, picture.height));
  if (scale === 1) return whole.toDataURL();
  const small = document.createElement("canvas");
  [small.width, small.height] = [Math.round(picture.width * scale), Math.round(picture.height * scale)];
  small.getContext("2d")?.drawImage(whole, 0, 0, small.width, small.height);
  return small.toDataURL();
}
