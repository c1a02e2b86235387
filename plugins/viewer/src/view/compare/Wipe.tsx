import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { Frame } from "../parts/Frame";

/** A left of the divider, B right of it. The divider is dragged, or moved by the arrows once it has the focus. */
export function Wipe({ a, b, label }: { a: ImageData | undefined; b: ImageData | undefined; label: string }) {
  const share = useSignal(50);
  const place = useRef<HTMLDivElement>(null);
  const to = (value: number) => (share.value = Math.max(0, Math.min(100, value)));
  const drag = (event: PointerEvent) => {
    const box = place.current?.getBoundingClientRect();
    if (box) to((100 * (event.clientX - box.left)) / box.width);
  };
  const keys = (event: KeyboardEvent) => {
    const moves: Readonly<Record<string, number>> = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10, Home: -100, End: 100 };
    const move = moves[event.key];
    if (move === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    to(share.value + move);
    event.preventDefault();
  };
  return (
    <div class="wipe" ref={place}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        drag(event);
      }}
      onPointerMove={(event) => event.currentTarget.hasPointerCapture(event.pointerId) && drag(event)}>
      <Frame data={b} label={`B, ${label}`} />
      <div class="wipe-a" style={{ clipPath: `inset(0 ${100 - share.value}% 0 0)` }}><Frame data={a} label={`A, ${label}`} /></div>
      <div class="wipe-divider" style={{ left: `${share.value}%` }} role="slider" tabIndex={0} data-keys aria-label="Divider between A and B"
        aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(share.value)} aria-valuetext={`A up to ${Math.round(share.value)} percent of the width`} onKeyDown={keys} />
    </div>
  );
}
