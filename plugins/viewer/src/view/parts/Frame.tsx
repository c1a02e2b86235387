import { useLayoutEffect, useRef } from "preact/hooks";

/** Pixels on a canvas, a pixel each, enlarged by CSS without smoothing. Until they come, a faint square. */
export function Frame({ data, label, class: name = "picture" }: { data: ImageData | undefined; label: string; class?: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const element = canvas.current;
    if (!element || !data) return;
    if (element.width !== data.width) element.width = data.width;
    if (element.height !== data.height) element.height = data.height;
    element.getContext("2d")?.putImageData(data, 0, 0);
  }, [data]);
  return <canvas ref={canvas} class={name} role="img" aria-label={label} width={data?.width ?? 1} height={data?.height ?? 1} />;
}
