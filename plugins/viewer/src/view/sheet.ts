// One picture of all frames of a page: read ahead, coloured, and laid out in rows, ready to be put on canvases.
import { effect, useSignal, type ReadonlySignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { rangeOf } from "../draw/colours";
import { coloursOf } from "../draw/latents";
import { montage, montageSize, pictureSize, type Montage } from "../draw/montage";
import { Film } from "../film";
import type { Field, Picture, Run, Sample } from "../model/api";
import { lineOf } from "../opening";
import { column, field, playing, problem } from "../state";

/** Rows and columns of one frame as it is drawn. */
export function frameSize(opened: Run, shown: Field): readonly [number, number] {
  if (shown === "image" && opened.imageShape) return [opened.imageShape[0], opened.imageShape[1]];
  const { height, width } = pictureSize(opened.shape);
  return [height, width];
}

/** Empty pixels between frames of a row. */
export function gapOf(width: number): number {
  return Math.max(1, Math.round(width / 14));
}

export interface Sheet {
  /** Of one frame. */
  readonly size: readonly [number, number];
  readonly gap: number;
  /** Rises whenever there is more to draw. */
  readonly version: ReadonlySignal<number>;
  /** The picture at a column of the slider; valid until the next call. */
  readonly draw: (column: number) => ImageData | undefined;
}

function report(opened: Run) {
  return (error: unknown) => {
    problem.value = lineOf(error, opened.name);
  };
}

/** Decoded images, which no step changes, in the montage's layout. */
function tiled(pictures: readonly (Picture | undefined)[], [rows, columns]: readonly [number, number], across: number, gap: number): ImageData {
  const lines = Math.ceil(pictures.length / across);
  const sheet = new ImageData(across * columns + (across - 1) * gap, lines * rows + (lines - 1) * gap);
  pictures.forEach((picture, i) => {
    const [left, top] = [(i % across) * (columns + gap), Math.floor(i / across) * (rows + gap)];
    for (let row = 0; picture && row < Math.min(rows, picture.height); row += 1) {
      const line = picture.rgba.subarray(row * picture.width * 4, (row * picture.width + Math.min(columns, picture.width)) * 4);
      sheet.data.set(line, ((top + row) * sheet.width + left) * 4);
    }
  });
  return sheet;
}

type Scale = Pick<Montage, "range" | "signed" | "colours">;

/** What colours mean: the same at all steps. Values that are added or predicted are signed, about zero. */
function useScale(opened: Run, shown: Field, positions: readonly number[], changed: () => void): () => Scale {
  const signed = shown !== "x" && shown !== "x0";
  const scale = useRef<Scale>({ range: [-1, 1], signed });
  useEffect(() => {
    let current = true;
    const find = async () => {
      const range = await rangeOf(shown, opened);
      const colours = signed || (await opened.pictures()) === "pictures" ? undefined : await coloursOf(opened, range[1]);
      if (!current) return;
      scale.current = colours ? { range, signed, colours } : { range, signed };
      changed();
    };
    scale.current = { ...scale.current, signed };
    if (shown !== "image" && positions.length) find().catch(report(opened));
    return () => {
      current = false;
    };
  }, [opened, shown, positions]);
  return () => (scale.current.signed === signed ? scale.current : { range: [-1, 1], signed });
}

/** The frames of some samples at any column, as one picture that is drawn anew without allocating. */
export function useSheet(opened: Run, those: readonly Sample[], across: number): Sheet {
  const version = useSignal(0);
  const changed = () => {
    version.value += 1;
  };
  const shown = field.value;
  const full = frameSize(opened, shown);
  const gap = gapOf(full[1]);
  const into = useRef<ImageData>(undefined);
  const positions = useMemo(() => those.map((sample) => sample.position), [those]);
  const film = useMemo(() => (shown === "image" ? undefined : new Film(opened, shown, positions, changed)), [opened, shown, positions]);
  const pictures = useMemo<(Picture | undefined)[]>(() => positions.map(() => undefined), [opened, shown, positions]);
  const scale = useScale(opened, shown, positions, changed);
  useEffect(() => {
    if (film) film.load(column.peek()).catch(report(opened));
    else {
      const read = async (position: number, i: number) => {
        pictures[i] = await opened.image(position);
        changed();
      };
      Promise.all(positions.map(read)).catch(report(opened));
    }
    return () => film?.stop();
  }, [film, pictures]);
  // An effect of signals, not of the component: the slider draws frames without drawing the panel anew.
  useEffect(() => effect(() => {
    film?.show(column.value, playing.peek() ? 1 : 0).catch(report(opened));
  }), [film]);
  const cell = montageSize(those.length, opened.shape, { columns: across, gap }).cell;
  const size: readonly [number, number] = film ? [cell[1], cell[0]] : full;
  const draw = (to: number) => {
    if (!those.length) return undefined;
    if (!film) return tiled(pictures, size, across, gap);
    const states = positions.map((_, i) => film.frame(i, to));
    into.current = montage(states, opened.shape, { columns: across, gap, ...scale() }, into.current);
    return into.current;
  };
  return { size, gap, version, draw };
}
