import { effect, useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Sample } from "../model/api";
import { choose, colourOf, column, enlarged, picked } from "../state";
import { sampleTitle } from "../words";
import type { Sheet } from "./sheet";

interface Props { readonly sheet: Sheet; readonly those: readonly Sample[]; readonly across: number; /** In pixels. */ readonly width: number }

/** Frames in rows: a canvas a row, its pixels those of the states and enlarged by the browser, with a place to click over each. */
export function Tiles({ sheet, those, across, width: space }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const reached = useSignal(0);
  const [height, width] = sheet.size;
  const rows = Array.from({ length: Math.ceil(those.length / across) }, (_, row) => those.slice(row * across, (row + 1) * across));
  const whole = across * width + (across - 1) * sheet.gap;
  useLayoutEffect(() => effect(() => {
    void sheet.version.value;
    const picture = sheet.draw(column.value);
    if (!picture) return;
    place.current?.querySelectorAll("canvas").forEach((canvas, row) => {
      const top = row * (height + sheet.gap);
      canvas.getContext("2d")?.putImageData(picture, 0, -top, 0, top, whole, height);
    });
  }));
  const current = Math.min(reached.value, those.length - 1);
  const keys = (event: KeyboardEvent) => {
    const to = { ArrowLeft: current - 1, ArrowRight: current + 1, ArrowUp: current - across, ArrowDown: current + across,
      Home: 0, End: those.length - 1 }[event.key];
    const sample = those[current];
    if (to !== undefined) {
      reached.value = Math.max(0, Math.min(those.length - 1, to));
      place.current?.querySelectorAll<HTMLElement>("[role=option]")[reached.value]?.focus();
    } else if ((event.key === "Enter" || event.key === " ") && sample) choose(sample.id, event.ctrlKey || event.metaKey || event.shiftKey);
    else if (event.key.toLowerCase() === "l" && sample) (choose(sample.id, false), (enlarged.value = true));
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const chosenIds = new Set(picked.value.map((sample) => sample.id));
  return (
    <div class={space / across < 40 ? "tiles tiles-small" : "tiles"} ref={place} role="listbox" aria-label="Samples" aria-multiselectable="true" onKeyDown={keys}
      style={{ maxWidth: `${space}px`, "--across": across, "--gap": `${(100 * sheet.gap) / whole}%`, "--ratio": `${width} / ${height}` }}>
      {rows.map((row, r) => (
        <div class="tile-row" key={r} role="presentation">
          <canvas width={whole} height={height} aria-hidden="true" />
          <div class="cells" role="presentation">
            {row.map((sample, c) => (
              <Tile key={sample.id} sample={sample} on={chosenIds.has(sample.id)} marked={chosenIds.has(sample.id) && those.length > 1} reachable={r * across + c === current}
                focus={() => (reached.value = r * across + c)} />
            ))}
          </div>
        </div>
      ))}
    </div>
  );
}

interface TileProps { readonly sample: Sample; readonly on: boolean; readonly marked: boolean; readonly reachable: boolean; readonly focus: () => void }

function Tile({ sample, on, marked, reachable, focus }: TileProps) {
  return (
    <div class="tile" role="option" aria-selected={on} tabIndex={reachable ? 0 : -1} onFocus={focus}
      title={`${sampleTitle(sample)}, seed ${sample.seed}`}
      style={marked ? { "--mark": colourOf(sample.id) } : { "--mark": "transparent" }}
      onClick={(event) => choose(sample.id, event.ctrlKey || event.metaKey || event.shiftKey)}
      onDblClick={() => (choose(sample.id, false), (enlarged.value = !enlarged.peek()))}>
      <span class="shot" />
      <span class="caption num"><b>{sample.className}</b><span class="hidden">, sample</span> <span class="id">{sample.id}</span></span>
    </div>
  );
}
