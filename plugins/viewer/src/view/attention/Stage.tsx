import type { RefObject } from "preact";
import { useLayoutEffect } from "preact/hooks";
import { heat, smooth } from "../../draw/overlay";
import { drawOver } from "../parts/frame";

export interface StageProps {
  readonly canvas: RefObject<HTMLCanvasElement | null>;
  /** The frame below. */
  readonly base: ImageData | undefined;
  /** Values of the grid's places, or undefined where this step has none. */
  readonly map: Float32Array | undefined;
  readonly largest: number;
  readonly grid: readonly [number, number];
  /** Whether the map has no edges between places, as the plots draw it. */
  readonly smoothed: boolean;
  /** The place in view, counted row by row. */
  readonly place: number | undefined;
  readonly onPlace: (place: number | undefined, keep: boolean) => void;
  readonly label: string;
}

/** A smooth map has a value for every so many pixels a side: finer is not seen, and takes time while the slider moves. */
const FINE = 3;

/** Pixels a side: a whole multiple of small frames, so that each of their pixels is as large as the others. */
function enlarged(side: number): number {
  return side < 480 ? side * Math.ceil(480 / side) : Math.min(side, 768);
}

function ring(context: CanvasRenderingContext2D, grid: readonly [number, number], place: number): void {
  const [width, height] = [context.canvas.width / grid[1], context.canvas.height / grid[0]];
  const [left, top] = [(place % grid[1]) * width, Math.floor(place / grid[1]) * height];
  for (const [colour, line] of [["black", 5], ["white", 2]] as const) {
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.strokeRect(left + 2, top + 2, width - 4, height - 4);
  }
}

/** A frame with attention over it. A place is chosen by pointing, and by the arrows once the picture has the focus. */
export function Stage({ canvas, base, map, largest, grid, smoothed, place, onPlace, label }: StageProps) {
  useLayoutEffect(() => {
    const element = canvas.current;
    const context = element?.getContext("2d");
    if (!element || !context || !base) return;
    const scale = enlarged(Math.max(base.width, base.height)) / Math.max(base.width, base.height);
    const [width, height] = [Math.round(base.width * scale), Math.round(base.height * scale)];
    if (element.width !== width || element.height !== height) {
      element.width = width;
      element.height = height;
    }
    drawOver(context, base);
    if (map && smoothed) {
      const [tall, wide] = [Math.max(grid[0], Math.ceil(height / FINE)), Math.max(grid[1], Math.ceil(width / FINE))];
      drawOver(context, heat(smooth(map, grid[0], grid[1], tall, wide), tall, wide, largest));
    } else if (map) drawOver(context, heat(map, grid[0], grid[1], largest));
    if (place !== undefined && map) ring(context, grid, place);
  });
  const under = (event: PointerEvent & { currentTarget: HTMLElement }) => {
    const box = event.currentTarget.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    const [column, row] = [Math.floor(x * grid[1]), Math.floor(y * grid[0])];
    return Math.min(grid[0] - 1, Math.max(0, row)) * grid[1] + Math.min(grid[1] - 1, Math.max(0, column));
  };
  const keys = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const moves: Readonly<Record<string, readonly [number, number]>> = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const move = moves[event.key];
    if (event.key === "Escape") onPlace(undefined, true);
    else if (move) {
      const from = place ?? Math.floor(grid[0] / 2) * grid[1] + Math.floor(grid[1] / 2);
      const row = Math.floor(from / grid[1]) + (place === undefined ? 0 : move[0]);
      const column = (from % grid[1]) + (place === undefined ? 0 : move[1]);
      onPlace(Math.min(grid[0] - 1, Math.max(0, row)) * grid[1] + Math.min(grid[1] - 1, Math.max(0, column)), true);
    } else return;
    event.preventDefault();
  };
  return (
    <div class="stage" tabIndex={0} role="application" aria-label={label} data-keys onKeyDown={keys}
      onPointerMove={(event) => event.pointerType !== "touch" && onPlace(under(event), false)}
      onPointerLeave={() => onPlace(undefined, false)}
      onClick={(event) => onPlace(under(event as unknown as PointerEvent & { currentTarget: HTMLElement }), true)}>
      <canvas ref={canvas} width={480} height={480} aria-hidden="true" />
    </div>
  );
}
