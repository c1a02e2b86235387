import { css } from "../../draw/colours";
import { number } from "../../words";

/** A legend of colours: what the ends of the map stand for. */
export function Scale({ map, low, high, unit }: { map: Uint8Array; low: number; high: number; unit: string }) {
  const stops = Array.from({ length: 9 }, (_, at) => css(map, at / 8)).join(", ");
  return (
    <span class="scale num">
      <span class="scale-range">
        <span>{number(low, 2)}</span>
        <span class="scale-bar" style={{ background: `linear-gradient(to right, ${stops})` }} aria-hidden="true" />
        <span>{number(high, 2)}</span>
      </span>
      {unit && <span class="muted">{unit}</span>}
    </span>
  );
}
