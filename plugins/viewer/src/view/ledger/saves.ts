import type { Run, Sample } from "../../model/api";
import { canvasPng, csvOf, svgOf } from "../../save";
import type { Save } from "../Panel";
import { fileName, stepFacts } from "../../words";
import type { Account } from "./account";

/** Pictures of one row, side by side, each with its name below: what a paper shows of a step. */
async function sheet(section: ParentNode): Promise<Blob> {
  const cards = [...section.querySelectorAll<HTMLElement>(".term")].filter((card) => card.querySelector("canvas.picture"));
  const side = 160;
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, cards.length) * (side + 16) + 16;
  canvas.height = side + 56;
  const context = canvas.getContext("2d");
  if (!context) throw new Error("the browser gives no canvas to draw on");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  context.fillStyle = "black";
  context.font = "13px system-ui, sans-serif";
  cards.forEach((card, at) => {
    const picture = card.querySelector<HTMLCanvasElement>("canvas.picture");
    const left = 16 + at * (side + 16);
    if (picture) context.drawImage(picture, left, 16, side, (side * picture.height) / picture.width);
    context.fillText((card.querySelector("h3")?.textContent ?? "").trim(), left, side + 38, side);
  });
  return canvasPng(canvas);
}

function table(run: Run, account: Account): Blob {
  const terms = [...account.norms.keys()];
  const head = ["step_index", ...terms.flatMap((term) => [`${term.kind} ${term.key} l2`, `${term.kind} ${term.key} share`, `${term.kind} ${term.key} weight`])];
  const rows = run.kept.map((step, column) => [
    step,
    ...terms.flatMap((term) => [account.norms.get(term)?.[column], account.shares.get(term)?.[column], term.weight?.[step]]),
  ]);
  return csvOf([head, ...rows]);
}

/** Files of the ledger: this step's pictures, the shares, and all numbers. */
export function ledgerSaves(run: Run, sample: Sample, column: number, account: Account | undefined, section: () => ParentNode | null): Save[] {
  const step = stepFacts(run, column).title.replaceAll(" ", "-");
  const saves: Save[] = [{
    name: fileName(run, "ledger", `sample-${sample.id}`, step, ".png"),
    make: () => sheet(section() ?? document),
  }];
  if (!account) return saves;
  saves.push({ name: fileName(run, "ledger", `sample-${sample.id}`, ".csv"), make: () => table(run, account) });
  const drawn = () => section()?.querySelector<SVGSVGElement>(".shares-bars");
  if (drawn() !== undefined) saves.push({
    name: fileName(run, "shares", `sample-${sample.id}`, ".svg"),
    make: () => {
      const element = drawn();
      if (!element) throw new Error("the shares are not drawn; the file may keep no prediction");
      return svgOf(element);
    },
  });
  return saves;
}
