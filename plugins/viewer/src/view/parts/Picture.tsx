import { useLayoutEffect, useRef } from "preact/hooks";
import { montage } from "../../draw/montage";

export interface PictureProps {
  readonly state: Float32Array | undefined;
  readonly shape: readonly number[];
  readonly range: readonly [number, number];
  /** Whether colours diverge from zero; otherwise values are brightness. */
  readonly signed: boolean;
  /** For those who hear the page. */
  readonly label: string;
}

/** One state on a canvas, a number a pixel, enlarged by CSS without smoothing. */
export function Picture({ state, shape, range, signed, label }: PictureProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const drawn = useRef<ImageData | undefined>(undefined);
  useLayoutEffect(() => {
    const element = canvas.current;
    if (!element || !state) return;
    const data = montage([state], shape, { columns: 1, gap: 0, range, signed }, drawn.current);
    drawn.current = data;
    if (element.width !== data.width || element.height !== data.height) {
      element.width = data.width;
      element.height = data.height;
    }
    element.getContext("2d")?.putImageData(data, 0, 0);
  });
  return <canvas ref={canvas} class="picture" role="img" aria-label={label} width={1} height={1} />;
}
