import { condition, focus, head, layer } from "../../state";
import { conditionWords, layerKey, type Choice } from "./choice";

const PLACES: Readonly<Record<string, string>> = { down: "down blocks", mid: "middle block", up: "up blocks", double: "double blocks", single: "single blocks" };

/** Choice of the layer, with its kind and grid, of the head and of what the network was evaluated for. */
export function Chooser({ choice }: { choice: Choice }) {
  const { maps, layer: shown } = choice;
  const blocks = [...new Set(maps.layers.map((one) => one.block))];
  const name = focus.value?.className ?? "";
  return (
    <div class="chooser">
      <label>
        <span class="muted">Layer</span>
        <select value={layerKey(shown)} onChange={(event) => (layer.value = event.currentTarget.value)}>
          {blocks.map((block) => (
            <optgroup key={block} label={PLACES[block] ?? (block || "layers")}>
              {maps.layers.filter((one) => one.block === block).map((one) => (
                <option key={layerKey(one)} value={layerKey(one)}>
                  {one.path} · {one.kind}{one.joint ? ", joint" : ""} · {one.grid.join("×")}
                </option>
              ))}
            </optgroup>
          ))}
        </select>
      </label>
      {maps.conditions.length > 1 && (
        <label>
          <span class="muted">Evaluated for</span>
          <select value={choice.condition} onChange={(event) => (condition.value = event.currentTarget.value)}>
            {maps.conditions.map((one) => <option key={one} value={one}>{conditionWords(one, name)}</option>)}
          </select>
        </label>
      )}
      <label>
        <span class="muted">Head</span>
        <select value={String(choice.head)} disabled={shown.heads === 1}
          onChange={(event) => (head.value = event.currentTarget.value === "mean" ? "mean" : Number(event.currentTarget.value))}>
          <option value="mean">mean{shown.networkHeads ? ` of ${shown.networkHeads}` : ""}</option>
          {shown.heads > 1 && Array.from({ length: shown.heads }, (_, at) => <option key={at} value={String(at)}>{at}</option>)}
        </select>
      </label>
    </div>
  );
}
