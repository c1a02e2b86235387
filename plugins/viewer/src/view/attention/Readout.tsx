import type { Layer } from "../../model/api";
import type { Choice } from "./choice";
import { entropyOf, largest, tokensAt } from "./slices";
import { density, fromPlace } from "../../draw/overlay";
import { number } from "../../words";
import { tokenWords } from "../tokens/words";

interface Line { readonly name: string; readonly share: number; readonly text: string }

const placeWords = (place: number, columns: number) => `row ${Math.floor(place / columns)}, column ${place % columns}`;
const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

/** What one place attends to: the first few places or tokens, with their shares. */
function attended(choice: Choice, map: Float32Array, place: number): { readonly lines: Line[]; readonly entropy: number } {
  const { layer, head, tokens } = choice;
  const [rows, columns] = layer.grid;
  if (layer.kind === "cross") {
    const shares = tokensAt(map, layer.heads, rows * columns, place, head);
    // A joint layer attends to places too: what its tokens get together is less than all.
    const total = layer.joint ? shares.reduce((sum, share) => sum + share, 0) : 1;
    if (total > 0 && layer.joint) shares.forEach((share, at) => (shares[at] = share / total));
    const lines = largest(shares, 5).map((at) => ({ name: tokenWords(tokens[at]), share: shares[at] ?? 0, text: percent(shares[at] ?? 0) }));
    return { lines, entropy: entropyOf(shares) };
  }
  const shares = fromPlace(map, layer.heads, layer.grid, Math.floor(place / columns), place % columns, head);
  const times = density(shares);
  const lines = largest(shares, 5).map((at) => ({ name: placeWords(at, columns), share: shares[at] ?? 0, text: `${number(times[at] ?? 0, 2)}×` }));
  return { lines, entropy: entropyOf(shares) };
}

/** Whether several places or tokens of the network are one of the map. */
const pooled = (layer: Layer) => layer.kind === "self" && layer.keys !== undefined && layer.keys !== layer.grid[0] * layer.grid[1];

/** In words and bars: what the place in view attends to, or how a place is chosen. */
export function Readout({ choice, map, place }: { choice: Choice; map: Float32Array | undefined; place: number | undefined }) {
  const { layer } = choice;
  const columns = layer.grid[1];
  if (!map) return null;
  if (place === undefined) {
    const shown = layer.kind === "cross"
      ? `How much each place attends to “${tokenWords(choice.tokens[choice.token])}”.`
      : "What each place gets from all places.";
    return <p class="readout-hint">{shown} <span class="muted">Point at a place to see what it attends to; with the keyboard, reach the picture with Tab and use the arrows.</span></p>;
  }
  const { lines, entropy } = attended(choice, map, place);
  const most = Math.max(1e-9, ...lines.map((line) => line.share));
  return (
    <div class="readout">
      <p>The place in {placeWords(place, columns)} attends to{layer.joint && layer.kind === "cross" ? ", of what the text gets" : ""}</p>
      <ul class="bars num">
        {lines.map((line) => (
          <li key={line.name}>
            <span class="bar-name">{line.name}</span>
            <span class="bar" aria-hidden="true"><span style={{ width: `${(100 * line.share) / most}%` }} /></span>
            <span class="bar-value">{line.text}</span>
          </li>
        ))}
      </ul>
      <p class="muted num">The entropy of this {pooled(layer) ? "pooled map" : "place"} is {number(entropy, 3)} nats.</p>
    </div>
  );
}

/** The same in one sentence, for those who hear the page. */
export function spoken(choice: Choice, map: Float32Array | undefined, place: number | undefined): string {
  if (!map || place === undefined) return "";
  const [first] = attended(choice, map, place).lines;
  return first ? `${placeWords(place, choice.layer.grid[1])}: most to ${first.name}, ${first.text.replace("×", " times an even share")}` : "";
}
